//! `orchestrator reload`: applies the changed configuration to the running supervisor, or shows what would change. A
//! bad file changes nothing: the running configuration stays.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::run::needs_restart;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::control::Verb;
use crate::control::report::{Report, WorkerReport};

/// Applying a configuration stops assistants whose worker changed.
const LIMIT: Duration = Duration::from_mins(1);
/// With --wait.
const SETTLING: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(100);

/// Apply the changed configuration to the running supervisor
#[derive(Debug, Args)]
pub struct Reload {
    /// Show what would change, change nothing
    #[arg(long)]
    dry_run: bool,

    /// Return when every worker serves, waits or has failed; exit 1 if one has failed
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The tree's report, as it comes over the control socket.
#[derive(Debug, Default, Deserialize)]
struct Changes {
    added: Vec<String>,
    changed: Vec<(String, String)>,
    removed: Vec<String>,
    unchanged: usize,
    sessions_kept: usize,
    #[serde(default)]
    directories: BTreeMap<String, String>,
    #[serde(default)]
    needs_restart: Vec<String>,
}

impl Reload {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let supervisor = Supervisor::find(app)?;
        refuse_another_file(app, &supervisor)?;
        let value = reload(&supervisor, self.dry_run).await?;
        if self.json {
            app.ui
                .json(&json!({"schema": 1, "dry_run": self.dry_run, "changes": value}));
        } else {
            let changes: Changes = read("reload", value)?;
            changes.show(app, self.dry_run);
        }
        if self.wait {
            return settle(app, &supervisor).await;
        }
        Ok(Exit::Ok)
    }
}

/// A supervisor reads the file that it was started with.
fn refuse_another_file(app: &App, supervisor: &Supervisor) -> Result<(), Failure> {
    let used = supervisor
        .file
        .as_ref()
        .and_then(|file| file.config.as_ref());
    let (Some(used), Some(_)) = (used, &app.globals.config) else {
        return Ok(());
    };
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let named = &app.paths.workers_file;
    if real(used) == real(named) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the supervisor that runs serves {}, not {}",
        app.paths.shown(used),
        app.paths.shown(named)
    ))
    .hint("leave --config (ORCHESTRATOR_CONFIG) out to reload its own file, or stop it and start it with this one"))
}

/// The one way from a changed file to the running supervisor.
pub(super) async fn reload(supervisor: &Supervisor, dry_run: bool) -> Result<Value, Failure> {
    supervisor.ask(Verb::Reload { dry_run }, LIMIT).await
}

/// `reloaded: 1 added, 1 changed, 0 removed; sessions kept: 1`.
pub(super) fn done(added: usize, changed: usize, removed: usize, kept: usize) -> String {
    format!("reloaded: {added} added, {changed} changed, {removed} removed; sessions kept: {kept}")
}

impl Changes {
    fn show(&self, app: &App, dry_run: bool) {
        if dry_run {
            for line in self.lines() {
                app.ui.line(line);
            }
        } else {
            app.ui.line(done(
                self.added.len(),
                self.changed.len(),
                self.removed.len(),
                self.sessions_kept,
            ));
        }
        for setting in &self.needs_restart {
            app.ui
                .error(&format!("warning: {}", needs_restart(setting)));
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(self.added.iter().map(|name| {
            let directory = self.directories.get(name).map_or("", String::as_str);
            format!("+ worker {name}   {directory}")
                .trim_end()
                .to_owned()
        }));
        lines.extend(
            self.changed
                .iter()
                .map(|(name, what)| format!("~ worker {name}   {what}")),
        );
        lines.extend(self.removed.iter().map(|name| format!("- worker {name}")));
        lines.push(format!("= {} unchanged", self.unchanged));
        lines
    }
}

/// Until every worker stands somewhere.
async fn settle(app: &App, supervisor: &Supervisor) -> Result<Exit, Failure> {
    let deadline = Instant::now() + SETTLING;
    let moving = |worker: &WorkerReport| {
        matches!(
            worker.phase.as_str(),
            "starting" | "stopping" | "restarting"
        )
    };
    loop {
        let report: Report = read("ps", supervisor.ask(Verb::Ps, SHORT).await?)?;
        if report.workers.iter().any(moving) {
            if Instant::now() > deadline {
                let still: Vec<String> = report
                    .workers
                    .iter()
                    .filter(|worker| moving(worker))
                    .map(|worker| format!("worker {}: {}", worker.name, worker.detail))
                    .collect();
                return Err(Failure::new(Exit::TimedOut, "not every worker has settled")
                    .lines(still)
                    .hint("look at orchestrator ps"));
            }
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let down = report
            .workers
            .iter()
            .filter(|worker| !matches!(worker.phase.as_str(), "ready" | "pending" | "paused"));
        let mut exit = Exit::Ok;
        for worker in down {
            exit = Exit::Failed;
            app.ui
                .error(&format!("worker {}: {}", worker.name, worker.detail));
        }
        return Ok(exit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_reads_like_a_diff() {
        let changes = Changes {
            added: vec!["blog".to_owned()],
            directories: BTreeMap::from([("blog".to_owned(), "~/blog".to_owned())]),
            changed: vec![(
                "shop".to_owned(),
                "idle_timeout 300s -> 900s (live)".to_owned(),
            )],
            removed: vec!["old".to_owned()],
            unchanged: 1,
            ..Changes::default()
        };
        assert_eq!(
            changes.lines(),
            [
                "+ worker blog   ~/blog",
                "~ worker shop   idle_timeout 300s -> 900s (live)",
                "- worker old",
                "= 1 unchanged",
            ]
        );
    }
}
