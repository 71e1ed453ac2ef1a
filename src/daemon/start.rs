//! How a supervisor comes up: what the tree stands on (deployment, assistants), the tree, the control socket. Until there
//! is a tree, a start may be given up at any moment. From then on it holds tokens and soon children, so whatever fails,
//! the tree is stopped in order first.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use orchestrator_actors::machine::Desired;
use orchestrator_actors::ports::clock::Clock as _;
use orchestrator_actors::ports::embedded::Embedded as _;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::announce::{Announce, WorkerLine};
use super::assistants::Assistants;
use super::compose::{self, KnownMachine};
use super::control::{Controls, StopRequest};
use super::directories::Directories;
use super::embedded::Embedded;
use super::error::RunError;
use super::instance::Instance;
use super::lines::{broken_lines, missing_lines};
use super::listen;
use super::local::{self, Asked};
use super::notifying::{Told, told};
use super::options::{Mode, RunOptions};
use super::paused::Paused;
use super::running::{Running, Shared};
use super::state_file::DaemonFile;
use crate::adapters::clock::SystemClock;
use crate::config::{Millis, Source};
use crate::control::Server;

/// What the tree stands on.
pub(super) struct Prepared {
    options: RunOptions,
    machine: KnownMachine,
    desired: Desired,
    /// Whose owner is told what.
    told: Vec<Told>,
    embedded: Option<Embedded>,
    assistants: Assistants,
    missing: Vec<WorkerLine>,
}

/// The tree, and who else has to be stopped with it.
pub(super) struct Up {
    pub running: Shared,
    pub control: Server,
    pub assistants: Assistants,
    /// URL and detail of the embedded deployment.
    pub deployment: Option<(String, String)>,
    /// Directories that were asked for and are not there.
    pub missing: Vec<WorkerLine>,
}

impl Up {
    pub fn stop_request(&self) -> StopRequest {
        StopRequest {
            force: false,
            limit: self.running.options.shutdown,
            again: false,
        }
    }
}

/// Everything up to the tree. May be given up: what it has started ends with it.
pub(super) async fn prepare(
    options: RunOptions,
    announce: &dyn Announce,
    file: &DaemonFile,
) -> Result<Prepared, RunError> {
    if let Mode::Workers(loaded) = &options.mode {
        for warning in &loaded.warnings {
            announce.warning(warning);
        }
    }
    let asked = match &options.mode {
        Mode::Local(local) => local::look(&local.directories),
        Mode::Workers(_) => Vec::new(),
    };
    let missing = missing_lines(&asked);
    if !asked.is_empty() && missing.len() == asked.len() {
        return Err(RunError::NoWorker(missing));
    }
    if let Mode::Workers(loaded) = &options.mode {
        let broken = broken_lines(&loaded.config);
        if broken.len() == loaded.config.workers.len() {
            return Err(RunError::NoWorker(broken));
        }
    }
    let machine_name = match &options.mode {
        Mode::Workers(loaded) => loaded.config.machine_name.clone(),
        Mode::Local(_) => None,
    };
    let called = match &options.mode {
        Mode::Workers(loaded) => {
            compose::named_by(loaded.config.workers.iter().map(|entry| &*entry.token))
        }
        Mode::Local(_) => local::machine_of(&options.paths.local()),
    };
    let (mut machine, damage) =
        compose::machine_whatever_happened(&options.paths, machine_name.as_deref(), called)
            .map_err(RunError::Setup)?;
    if let Some(damage) = damage {
        announce.notice(&damage);
    }
    let (mut desired, mut told, embedded) = wanted(&options, &machine, &asked, announce).await?;
    let (paused, damage) = Paused::read(&options.paths).map_err(RunError::Setup)?;
    if let Some(damage) = damage {
        warn!(%damage, "the list of paused workers was damaged");
        announce.notice(&damage);
    }
    let assistants = Assistants::ready(&options, announce, file).await?;
    // An installation takes a minute: a worker's token that was exchanged meanwhile would be refused.
    if let Some(source) = options.source.clone() {
        match as_it_is_now(source, options.idle_timeout_ms).await {
            Ok(now) => (desired, told) = now,
            // As with a reload: a bad one changes nothing.
            Err(error) => announce.notice(&format!(
                "{error}; it was changed while this start was under way: what it said before is used"
            )),
        }
    }
    paused.mark(&mut desired);
    // Ours may be installed outside PATH.
    if !machine.tools.iter().any(|tool| tool == "opencode") {
        machine.tools.insert(0, "opencode".to_owned());
    }
    Ok(Prepared {
        options,
        machine,
        desired,
        told,
        embedded,
        assistants,
        missing,
    })
}

/// The workers of the configuration as it lies there now. What else is in it (the machine's name, limits) is fixed at the
/// start.
async fn as_it_is_now(
    source: Source,
    idle_timeout_ms: Option<Millis>,
) -> Result<(Desired, Vec<Told>), String> {
    let read = tokio::task::spawn_blocking(move || source.load()).await;
    let loaded = read
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let desired = compose::desired(&loaded.config, idle_timeout_ms);
    Ok((desired, told(&loaded.config)))
}

/// The tree and the control socket. Is not given up; when it fails, the tree is taken down first.
pub(super) async fn bring_up(
    prepared: Prepared,
    announce: &dyn Announce,
    instance: &Instance,
    mut file: DaemonFile,
    stops: mpsc::Sender<StopRequest>,
) -> Result<Up, RunError> {
    let Prepared {
        options,
        machine,
        desired,
        told,
        embedded,
        assistants,
        missing,
    } = prepared;
    let port = embedded.as_ref().map(|embedded| {
        let detail = format!("embedded, {}", options.paths.shown(&embedded.database));
        embedded.port(detail)
    });
    let deployment = port
        .as_ref()
        .map(|port| (port.url().to_string(), port.detail()));
    file.url = DaemonFile::url_of(&desired);
    file.page = embedded.as_ref().and_then(|embedded| embedded.page.clone());
    file.owner_key = embedded.as_ref().map(|embedded| embedded.key_path.clone());
    let tree = compose::start_tree(
        &options,
        &machine,
        desired.clone(),
        port.map(|port| port as _),
        &assistants,
    )
    .await?;
    if let Some(damage) = tree.outbox_damage() {
        announce.notice(&damage);
    }
    if let Some(strays) = tree.outbox_serves(&desired).await {
        announce.notice(&strays);
    }
    let running = Arc::new(Running {
        tree,
        options,
        machine,
        holder: instance.holder,
        started_ms: SystemClock.boottime_ms(),
        desired: Mutex::new(desired),
        file: Mutex::new(file),
        told: watch::Sender::new(told),
        embedded: Mutex::new(embedded),
        directories: Directories::default(),
        reloading: tokio::sync::Mutex::default(),
        trouble: Mutex::default(),
        opencode: assistants.opencode(),
    });
    match open_control(&running, stops, announce) {
        Ok(control) => Ok(Up {
            running,
            control,
            assistants,
            deployment,
            missing,
        }),
        Err(error) => {
            let limit = running.options.shutdown;
            running.tree.handle.stop(limit).await;
            take_down(&running, assistants).await;
            Err(error)
        }
    }
}

/// What the tree stood on, in reverse.
pub(super) async fn take_down(running: &Running, assistants: Assistants) {
    assistants.stop().await;
    let embedded = running
        .embedded
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
}

fn open_control(
    running: &Shared,
    stops: mpsc::Sender<StopRequest>,
    announce: &dyn Announce,
) -> Result<Server, RunError> {
    let controls = Controls::new(Shared::clone(running), stops);
    let file = running.file();
    let control = Server::start(&file.socket, Arc::new(controls)).map_err(|error| setup(&error))?;
    if let Err(error) = file.write_or_make_room(&running.options.paths.daemon_file()) {
        warn!(%error, "cannot write the state file");
        announce.notice(&format!(
            "{error}: other commands find this supervisor, but not its deployment without --url"
        ));
    }
    Ok(control)
}

/// The workers to serve, and the deployment that belongs to them.
async fn wanted(
    options: &RunOptions,
    machine: &KnownMachine,
    asked: &[Asked],
    announce: &dyn Announce,
) -> Result<(Desired, Vec<Told>, Option<Embedded>), RunError> {
    match &options.mode {
        Mode::Workers(loaded) => {
            for worker in &loaded.config.workers {
                if worker.token.machine().as_str() != machine.id {
                    warn!(
                        worker = %worker.name,
                        token_machine = %worker.token.machine(),
                        "the token names another machine than machine.json"
                    );
                }
            }
            Ok((
                compose::desired(&loaded.config, options.idle_timeout_ms),
                told(&loaded.config),
                None,
            ))
        }
        Mode::Local(local) => {
            let folder = options.paths.local();
            let embedded = Embedded::start(
                &folder,
                local.port,
                local.origins.clone(),
                local.listen.as_ref(),
            )
            .await?;
            if let Some(page) = &embedded.page {
                announce.notice(&listen::warning(page));
            }
            if let Some(damage) = embedded.damage() {
                announce.notice(&damage);
            }
            let directories: Vec<PathBuf> = asked
                .iter()
                .filter_map(|asked| match asked {
                    Asked::There(path) => Some(path.clone()),
                    Asked::Missing { .. } => None,
                })
                .collect();
            let config =
                local::prepare(&embedded, &folder, machine, &directories, local, announce).await?;
            let desired = compose::desired(&config, options.idle_timeout_ms);
            Ok((desired, told(&config), Some(embedded)))
        }
    }
}

fn setup(error: &dyn std::fmt::Display) -> RunError {
    RunError::Setup(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Base, SourceKind, UrlRule};

    /// The start failed with "the token was replaced by a newer one", while the file held the newer one.
    #[tokio::test]
    async fn a_token_exchanged_while_opencode_is_installed_is_the_one_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("workers.json");
        let write = |secret: &str| {
            let directory = folder.path().display();
            let text = format!(
                r#"{{"workers": [{{"token": "machine_m:worker_w:secret_{secret}def456ghi789jkl012",
                   "working_directory": "{directory}", "convex_url": "https://x.convex.cloud"}}]}}"#
            );
            std::fs::write(&path, text).unwrap();
        };
        let source = Source {
            kind: SourceKind::Workers(path.clone()),
            base: Base {
                home: folder.path().to_owned(),
                current: folder.path().to_owned(),
            },
            rule: UrlRule::default(),
            only: Vec::new(),
            url: None,
        };
        write("before");
        let before = source.load().unwrap();
        write("after");
        let (now, _) = as_it_is_now(source.clone(), None).await.unwrap();
        let then = compose::desired(&before.config, None);
        assert_eq!(now.workers.len(), 1);
        let secret = |desired: &Desired| desired.workers[0].token.expose();
        assert_ne!(secret(&now), secret(&then));
        std::fs::write(&path, "{").unwrap();
        let error = as_it_is_now(source, None).await.unwrap_err();
        assert!(error.contains("workers.json"), "{error}");
    }
}
