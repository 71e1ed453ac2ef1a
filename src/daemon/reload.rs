//! From one configuration to the next while the supervisor runs. `reload`, SIGHUP and `--watch` take this one path: read
//! again, check, compare, apply per worker; a bad file changes nothing and is remembered for `ps`. Two smaller changes go
//! the same way: a worker is paused or resumed, and one whose directory has gone or come is broken or serves again.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use orchestrator_actors::domain::ids::{WorkerDir, WorkerId};
use orchestrator_actors::machine::{Desired, ReloadReport, WorkerSpec};
use serde::Serialize;
use tracing::{info, warn};

use super::compose::desired;
use super::directories::Look;
use super::manager::Reloading;
use super::notifying::told;
use super::options::Mode;
use super::paused::Paused;
use super::running::Running;
use super::state_file::DaemonFile;
use crate::adapters::clock::wall_ms;
use crate::config::{ConfigError, WorkersConfig};
use crate::control::Refusal;
use crate::control::report::{ConfigurationReport, rfc3339};

/// What reading the configuration and looking at its directories may take.
const READ: Duration = Duration::from_secs(10);

/// What a reload did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Reloaded {
    #[serde(flatten)]
    pub report: ReloadReport,
    /// Of the workers that are added, as people write them.
    pub directories: BTreeMap<String, String>,
    /// What has changed and holds from the next start only.
    pub needs_restart: Vec<String>,
}

impl Running {
    /// Reads the configuration again and applies it. A bad one changes nothing.
    pub async fn reload(&self, dry_run: bool) -> Result<Reloaded, Refusal> {
        let _told = (!dry_run).then(|| Reloading::begin(self));
        let Some(source) = self.options.source.clone() else {
            return Err(Refusal::new(
                "invalid",
                "a --local supervisor has no workers.json to reload",
            )
            .hint("stop it and run it with the directories you want"));
        };
        let _one_at_a_time = self.reloading.lock().await;
        let read = tokio::task::spawn_blocking(move || source.load());
        let loaded = match tokio::time::timeout(READ, read).await {
            Ok(Ok(Ok(loaded))) => loaded,
            Ok(Ok(Err(error))) => return Err(self.not_reloaded(&error)),
            Ok(Err(error)) => return Err(Refusal::new("failed", error.to_string())),
            Err(_) => return Err(nothing_read()),
        };
        // Whatever was wrong with the file is right now, also when nothing is applied.
        self.remember(None);
        let next = self.wanted(&loaded.config)?;
        let report = self.apply(next.clone(), dry_run).await?;
        let needs_restart = self.needs_restart(&loaded.config);
        let directory = |name: &String| {
            let worker = next.workers.iter().find(|worker| worker.name == *name)?;
            let shown = self.options.paths.shown(worker.directory.as_path());
            Some((name.clone(), shown))
        };
        let directories = report.added.iter().filter_map(directory).collect();
        if !dry_run {
            self.told.send_replace(told(&loaded.config));
            let (added, changed, removed) = (
                report.added.len(),
                report.changed.len(),
                report.removed.len(),
            );
            info!(added, changed, removed, "reloaded");
        }
        Ok(Reloaded {
            report,
            directories,
            needs_restart,
        })
    }

    /// Looks at every worker's directory: one that is gone takes its worker down, with the reason; one that has come starts it
    /// again. The file is not read for it.
    pub async fn look_at_directories(&self) -> Result<(), String> {
        let places = self.desired().workers.into_iter();
        let places = places.map(|worker| worker.directory.as_path().to_owned());
        let looks = self.directories.look(places).await;
        let _one_at_a_time = self.reloading.lock().await;
        let mut next = self.desired();
        self.tree.drop_unused_links(&next);
        let mut changed = false;
        for worker in &mut next.workers {
            if let Some(look) = looks.get(worker.directory.as_path()) {
                changed |= has_come_or_gone(worker, look.clone());
            }
        }
        if !changed {
            return Ok(());
        }
        let applied = self.apply(next, false).await;
        applied.map(drop).map_err(|error| error.message)
    }

    /// From now on the worker takes no new turns, or takes them again. False when it was so already.
    pub async fn pause(&self, worker: &WorkerId, paused: bool) -> Result<bool, Refusal> {
        let _one_at_a_time = self.reloading.lock().await;
        let mut kept = self.paused()?;
        if kept.set(worker.as_str(), paused) {
            kept.write(&self.options.paths)
                .map_err(|error| Refusal::new("failed", error))?;
        }
        let mut next = self.desired();
        kept.mark(&mut next);
        let report = self.apply(next, false).await?;
        Ok(!report.changed.is_empty())
    }

    /// A configuration in the tree's words, with what flags and pauses say.
    fn wanted(&self, config: &WorkersConfig) -> Result<Desired, Refusal> {
        let mut next = desired(config, self.options.idle_timeout_ms);
        self.paused()?.mark(&mut next);
        Ok(next)
    }

    fn paused(&self) -> Result<Paused, Refusal> {
        Paused::read_and_log(&self.options.paths).map_err(|error| Refusal::new("failed", error))
    }

    async fn apply(&self, next: Desired, dry_run: bool) -> Result<ReloadReport, Refusal> {
        if !dry_run {
            // Before the tree answers: one that is slow does what it was told all the same, and the next change starts from that.
            *self.desired.lock().unwrap_or_else(PoisonError::into_inner) = next.clone();
        }
        let report = self
            .tree
            .handle
            .reload(next.clone(), dry_run)
            .await
            .map_err(|reason| Refusal::new("failed", reason))?;
        if !dry_run {
            self.tell_the_deployment(&next);
            if let Some(strays) = self.tree.outbox_serves(&next).await {
                info!("{strays}");
            }
        }
        Ok(report)
    }

    /// Other commands look into the state file for the deployment that is meant when none is named.
    fn tell_the_deployment(&self, next: &Desired) {
        let url = DaemonFile::url_of(next);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.url == url {
            return;
        }
        file.url = url;
        if let Err(error) = file.write_or_make_room(&self.options.paths.daemon_file()) {
            warn!(%error, "cannot write the state file");
        }
    }

    fn not_reloaded(&self, error: &ConfigError) -> Refusal {
        let refusal = bad_configuration(error);
        warn!(reason = %refusal, "not reloaded");
        self.remember(Some(&refusal));
        refusal
    }

    fn remember(&self, refusal: Option<&Refusal>) {
        let file = self
            .options
            .source
            .as_ref()
            .map(|source| source.file().clone());
        let report = refusal
            .zip(file)
            .map(|(refusal, path)| ConfigurationReport {
                path: path.display().to_string(),
                since: rfc3339(wall_ms()),
                message: refusal.message.clone(),
                problems: refusal.problems.clone(),
            });
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// What is fixed at the start, and another now.
    fn needs_restart(&self, now: &WorkersConfig) -> Vec<String> {
        let Mode::Workers(started) = &self.options.mode else {
            return Vec::new();
        };
        let then = &started.config;
        let changed = [
            ("machine.name", then.machine_name != now.machine_name),
            (
                "machine.sync_interval",
                then.sync_interval_ms != now.sync_interval_ms,
            ),
            ("logs.level", then.log_level != now.log_level),
            (
                "defaults.env_passthrough",
                then.env_passthrough != now.env_passthrough,
            ),
            (
                "machine.max_assistants, max_starting or max_memory_mb",
                then.limits != now.limits,
            ),
        ];
        let changed = changed.iter().filter(|(_, changed)| *changed);
        changed.map(|(name, _)| (*name).to_owned()).collect()
    }
}

/// Whether the directory has come or gone. What a link on the way to it now means is a reload's to find out.
fn has_come_or_gone(worker: &mut WorkerSpec, look: Look) -> bool {
    match (look, &worker.broken) {
        (Ok(directory), Some(_)) => {
            worker.directory = WorkerDir::canonical(directory);
            worker.broken = None;
        }
        (Err(why), None) => worker.broken = Some(why),
        _ => return false,
    }
    true
}

fn nothing_read() -> Refusal {
    let message = format!(
        "not reloaded: the configuration and its directories could not be read within {} s",
        READ.as_secs()
    );
    Refusal::new("failed", message)
        .hint("a file system that does not answer (a network mount?) holds it up; the running configuration stays")
}

fn bad_configuration(error: &ConfigError) -> Refusal {
    let (message, problems) = match error {
        ConfigError::Invalid { path, problems, .. } => {
            let count = crate::ui::format::plural(problems.len(), "problem");
            let message = format!("not reloaded: {count} in {}", path.display());
            (message, problems.clone())
        }
        other => (format!("not reloaded: {other}"), Vec::new()),
    };
    let refusal = Refusal::new("config", message)
        .hint("the running configuration stays; correct the file, then: orchestrator reload");
    Refusal {
        problems,
        ..refusal
    }
}
