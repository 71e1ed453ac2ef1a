//! `orchestrator reload`: applies the changed `workers.json` to the running supervisor, or shows what would change. A
//! bad file changes nothing: the running configuration stays.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::cli::supervisor::Supervisor;
use crate::control::Verb;
use crate::ui::format::plural;

/// Applying a configuration stops assistants whose worker changed.
const LIMIT: Duration = Duration::from_mins(1);

/// Apply the changed configuration to the running supervisor
#[derive(Debug, Args)]
pub struct Reload {
    /// Show what would change, change nothing
    #[arg(long)]
    dry_run: bool,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The tree's report, as it comes over the control socket.
#[derive(Debug, Deserialize)]
struct Changes {
    added: Vec<String>,
    changed: Vec<(String, String)>,
    removed: Vec<String>,
    unchanged: usize,
    sessions_kept: usize,
}

impl Reload {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let supervisor = Supervisor::find(app)?;
        let verb = Verb::Reload {
            dry_run: self.dry_run,
        };
        let value = supervisor.ask(verb, LIMIT).await?;
        if self.json {
            app.ui
                .json(&json!({"schema": 1, "dry_run": self.dry_run, "changes": value}));
            return Ok(Exit::Ok);
        }
        let changes: Changes = read("reload", value)?;
        if self.dry_run {
            for line in changes.lines() {
                app.ui.line(line);
            }
        } else {
            app.ui.line(format!(
                "reloaded: {} added, {} changed, {} removed; sessions kept: {}",
                changes.added.len(),
                changes.changed.len(),
                changes.removed.len(),
                changes.sessions_kept
            ));
        }
        Ok(Exit::Ok)
    }
}

impl Changes {
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(self.added.iter().map(|name| format!("+ worker {name}")));
        lines.extend(
            self.changed
                .iter()
                .map(|(name, what)| format!("~ worker {name}   {what}")),
        );
        lines.extend(self.removed.iter().map(|name| format!("- worker {name}")));
        lines.push(format!("= {} unchanged", plural(self.unchanged, "worker")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_reads_like_a_diff() {
        let changes = Changes {
            added: vec!["blog".to_owned()],
            changed: vec![(
                "shop".to_owned(),
                "idle_timeout 300s -> 900s (live)".to_owned(),
            )],
            removed: vec!["old".to_owned()],
            unchanged: 1,
            sessions_kept: 0,
        };
        assert_eq!(
            changes.lines(),
            [
                "+ worker blog",
                "~ worker shop   idle_timeout 300s -> 900s (live)",
                "- worker old",
                "= 1 worker unchanged",
            ]
        );
    }
}
