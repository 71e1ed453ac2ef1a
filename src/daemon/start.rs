//! How a supervisor comes up: what the tree stands on (deployment, assistants), the tree, the control socket. Until there
//! is a tree, a start may be given up at any moment. From then on it holds tokens and soon children, so whatever fails,
//! the tree is stopped in order first.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use orchestrator_actors::machine::Desired;
use orchestrator_actors::ports::clock::Clock as _;
use orchestrator_actors::ports::embedded::Embedded as _;
use tokio::sync::mpsc;
use tracing::warn;

use super::announce::{Announce, WorkerLine};
use super::assistants::Assistants;
use super::compose::{self, KnownMachine};
use super::control::{Controls, StopRequest};
use super::embedded::Embedded;
use super::error::RunError;
use super::instance::Instance;
use super::lines::{broken_lines, missing_lines};
use super::local::{self, Asked};
use super::options::{Mode, RunOptions};
use super::paused::Paused;
use super::running::{Running, Shared};
use super::state_file::DaemonFile;
use crate::adapters::clock::SystemClock;
use crate::control::Server;

/// What the tree stands on.
pub(super) struct Prepared {
    options: RunOptions,
    machine: KnownMachine,
    desired: Desired,
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
    let (mut desired, embedded) = wanted(&options, &machine, &asked, announce).await?;
    let (paused, damage) = Paused::read(&options.paths);
    if let Some(damage) = damage {
        warn!(%damage, "the list of paused workers was damaged");
        announce.notice(&damage);
    }
    paused.mark(&mut desired);
    let assistants = Assistants::ready(&options, announce).await?;
    // Ours may be installed outside PATH.
    if !machine.tools.iter().any(|tool| tool == "opencode") {
        machine.tools.insert(0, "opencode".to_owned());
    }
    Ok(Prepared {
        options,
        machine,
        desired,
        embedded,
        assistants,
        missing,
    })
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
    let running = Arc::new(Running {
        tree,
        options,
        machine,
        holder: instance.holder,
        started_ms: SystemClock.boottime_ms(),
        desired: Mutex::new(desired),
        file: Mutex::new(file),
        embedded: Mutex::new(embedded),
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
) -> Result<(Desired, Option<Embedded>), RunError> {
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
                None,
            ))
        }
        Mode::Local(local) => {
            let folder = options.paths.local();
            let embedded = Embedded::start(&folder, local.port, local.origins.clone()).await?;
            let directories: Vec<PathBuf> = asked
                .iter()
                .filter_map(|asked| match asked {
                    Asked::There(path) => Some(path.clone()),
                    Asked::Missing { .. } => None,
                })
                .collect();
            let config =
                local::prepare(&embedded, &folder, machine, &directories, announce).await?;
            let desired = compose::desired(&config, options.idle_timeout_ms);
            Ok((desired, Some(embedded)))
        }
    }
}

fn setup(error: &dyn std::fmt::Display) -> RunError {
    RunError::Setup(error.to_string())
}
