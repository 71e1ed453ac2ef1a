//! A supervisor's life from lock to unlock. Start: lock, embedded deployment, assistant, tree, control socket, summary.
//! Stop, in reverse: no more claims, children stopped, finishes handed over or in the outbox (the tree does these), the
//! scripted model, the deployment last. A second signal or the limit's end leaves at once: the wardens see their lifelines
//! close and end every descendant.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use orchestrator_actors::machine::{Desired, WorkerSpec, WorkerStart};
use orchestrator_actors::ports::embedded::Embedded as _;
use orchestrator_actors::ports::link::LinkPhase;
use orchestrator_actors::table::{ActorKey, Phase};
use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::announce::{Announce, Ended, Summary, WorkerLine};
use super::assistants::Assistants;
use super::compose::{self, KnownMachine};
use super::control::{Controls, StopRequest};
use super::embedded::Embedded;
use super::errands::{Errand, Errands};
use super::error::RunError;
use super::instance::{Instance, LockError};
use super::local::{self, Asked};
use super::news::Watcher;
use super::options::{Mode, RunOptions};
use super::paused::Paused;
use super::running::{Running, Shared};
use super::signals::{Asked as Signal, Signals};
use super::state_file::{DaemonFile, Exited};
use crate::adapters::clock::wall_ms;
use crate::config::paths::private_dir;
use crate::config::{Source, WorkersConfig};
use crate::control::report::rfc3339;
use crate::control::{Server, socket_path};

/// How long the summary waits for workers that are still connecting.
const SUMMARY_LIMIT: Duration = Duration::from_secs(10);
/// How often the links are looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// Runs until it is told to stop.
pub async fn run(options: RunOptions, announce: &dyn Announce) -> Result<Ended, RunError> {
    let mut signals = Signals::register().map_err(|error| setup(&error))?;
    private_dir(&options.paths.state).map_err(|error| state_folder(&error))?;
    let instance = Instance::acquire(&options.paths.lock_file(), wall_ms())
        .await
        .map_err(|error| match error {
            LockError::Held { holder, .. } => RunError::AlreadyRunning(holder),
            other @ LockError::Unusable { .. } => state_folder(&other),
        })?;
    let file = daemon_file(&options, &instance)?;
    let path = options.paths.daemon_file();
    let result = live(options, announce, &mut signals, &instance, file.clone()).await;
    // What was written meanwhile (URL, key) stays; the reason is added.
    let mut last = DaemonFile::read(&path).unwrap_or(file);
    last.exited = Some(exited(&result));
    if let Err(error) = last.write(&path) {
        warn!(%error, "cannot write the state file");
    }
    result
}

async fn live(
    options: RunOptions,
    announce: &dyn Announce,
    signals: &mut Signals,
    instance: &Instance,
    file: DaemonFile,
) -> Result<Ended, RunError> {
    let (stops, mut stop_requests) = mpsc::channel(4);
    let starting = Box::pin(start(options, announce, instance, file, stops));
    let started = tokio::select! {
        started = starting => started?,
        () = signals.stop() => {
            announce.stopped(&Ended::Interrupted);
            return Ok(Ended::Interrupted);
        }
    };
    let in_order = StopRequest {
        force: false,
        limit: started.running.options.shutdown,
    };
    let (request, reason) = match &started.failed {
        Some(_) => (in_order, None),
        None => match serve(&started.running, announce, signals, &mut stop_requests).await {
            Over::Asked(request) => (request, None),
            Over::Failed(error) => (in_order, Some(error)),
            Over::TreeFailed => return Err(RunError::TreeFailed),
        },
    };
    let Started {
        running,
        control,
        assistants,
        failed,
    } = started;
    let ended = stop(
        &running,
        request,
        announce,
        signals,
        &mut stop_requests,
        failed.is_some() || reason.is_some(),
    )
    .await;
    if matches!(ended, Ended::Stopped { .. }) {
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
    drop(control);
    if let Some(error) = failed.or(reason) {
        return Err(error);
    }
    announce.stopped(&ended);
    Ok(ended)
}

/// What a start leaves behind.
struct Started {
    running: Shared,
    control: Server,
    assistants: Assistants,
    /// Nothing can be served: this is why.
    failed: Option<RunError>,
}

async fn start(
    options: RunOptions,
    announce: &dyn Announce,
    instance: &Instance,
    mut file: DaemonFile,
    stops: mpsc::Sender<StopRequest>,
) -> Result<Started, RunError> {
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
    let mut machine =
        compose::machine(&options.paths, machine_name.as_deref()).map_err(RunError::Setup)?;
    let (mut desired, embedded) = wanted(&options, &machine, &asked).await?;
    Paused::read(&options.paths).mark(&mut desired);
    let assistants = Assistants::ready(&options, announce).await?;
    // Ours may be installed outside PATH.
    if !machine.tools.iter().any(|tool| tool == "opencode") {
        machine.tools.insert(0, "opencode".to_owned());
    }
    let port = embedded.as_ref().map(|embedded| {
        let detail = format!("embedded, {}", options.paths.shown(&embedded.database));
        embedded.port(detail)
    });
    let summary_deployment = port
        .as_ref()
        .map(|port| (port.url().to_string(), port.detail()));
    file.url = only_url(&desired);
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
    let demo = options.demo;
    let path = options.paths.daemon_file();
    let running = Arc::new(Running {
        tree,
        options,
        machine,
        holder: instance.holder,
        desired: Mutex::new(desired),
        embedded: Mutex::new(embedded),
        reloading: tokio::sync::Mutex::default(),
        trouble: Mutex::default(),
    });
    let controls = Controls::new(Shared::clone(&running), stops);
    let control = Server::start(&file.socket, Arc::new(controls)).map_err(|error| setup(&error))?;
    file.write(&path).map_err(|error| state_folder(&error))?;
    let mut lines = worker_lines(&running).await;
    lines.extend(missing);
    let failed = nothing_served(&running, &lines);
    if failed.is_none() {
        announce.started(&Summary {
            deployment: summary_deployment,
            machine_name: running.machine.name.clone(),
            machine_id: running.machine.id.clone(),
            tools: running.machine.tools.clone(),
            workers: lines.clone(),
            demo,
        });
        let _ = sd_notify::notify(false, &[NotifyState::Ready]);
        info!(workers = lines.len(), "serving");
    }
    Ok(Started {
        running,
        control,
        assistants,
        failed,
    })
}

/// Why the start is the end: every worker has failed; or development mode's deployment, which nobody else waits for,
/// does not answer.
fn nothing_served(running: &Running, lines: &[WorkerLine]) -> Option<RunError> {
    if lines
        .iter()
        .all(|line| matches!(line.start, WorkerStart::Failed(_)))
    {
        return Some(RunError::NoWorker(lines.to_vec()));
    }
    if !running.options.source.as_ref().is_some_and(Source::is_dev) {
        return None;
    }
    let desired = running.desired();
    let worker = desired.workers.first()?;
    let status = running.tree.link_status(&worker.url);
    (status.phase == LinkPhase::Offline).then(|| RunError::Unreachable {
        url: worker.url.to_string(),
        reason: status.last_error.unwrap_or_else(|| "no answer".to_owned()),
    })
}

/// The workers to serve, and the deployment that belongs to them.
async fn wanted(
    options: &RunOptions,
    machine: &KnownMachine,
    asked: &[Asked],
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
            let embedded = Embedded::start(&folder, local.port).await?;
            let directories: Vec<PathBuf> = asked
                .iter()
                .filter_map(|asked| match asked {
                    Asked::There(path) => Some(path.clone()),
                    Asked::Missing { .. } => None,
                })
                .collect();
            let config = local::prepare(&embedded, &folder, machine, &directories).await?;
            let desired = compose::desired(&config, options.idle_timeout_ms);
            Ok((desired, Some(embedded)))
        }
    }
}

fn missing_lines(asked: &[Asked]) -> Vec<WorkerLine> {
    asked
        .iter()
        .filter_map(|asked| match asked {
            Asked::Missing { given, reason } => Some(WorkerLine {
                name: given.clone(),
                directory: given.clone(),
                start: WorkerStart::Failed(reason.clone()),
            }),
            Asked::There(_) => None,
        })
        .collect()
}

/// The workers that cannot be served whatever else happens.
fn broken_lines(config: &WorkersConfig) -> Vec<WorkerLine> {
    config
        .workers
        .iter()
        .filter_map(|worker| {
            Some(WorkerLine {
                name: worker.name.clone(),
                directory: worker.directory.display().to_string(),
                start: WorkerStart::Failed(worker.broken.clone()?),
            })
        })
        .collect()
}

async fn worker_lines(running: &Running) -> Vec<WorkerLine> {
    let desired = running
        .desired
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let starts = tokio::select! {
        starts = running.tree.handle.started(SUMMARY_LIMIT) => starts,
        () = settled(running, &desired) => running.tree.handle.started(Duration::ZERO).await,
    };
    let directory = |name: &str| {
        desired
            .workers
            .iter()
            .find(|worker| worker.name == name)
            .map(|worker| running.options.paths.shown(worker.directory.as_path()))
            .unwrap_or_default()
    };
    let explained = |name: &str, start: WorkerStart| match start {
        WorkerStart::Waiting(reason) => {
            let offline = desired
                .workers
                .iter()
                .filter(|worker| worker.name == name)
                .find_map(|worker| offline(running, worker));
            WorkerStart::Waiting(offline.unwrap_or(reason))
        }
        other => other,
    };
    let mut lines: Vec<WorkerLine> = starts
        .into_iter()
        .map(|(name, start)| WorkerLine {
            directory: directory(&name),
            start: explained(&name, start),
            name,
        })
        .collect();
    // As they are configured, not as their ids sort.
    lines.sort_by_key(|line| {
        let mut workers = desired.workers.iter();
        workers.position(|worker| worker.name == line.name)
    });
    lines
}

/// Until every worker stands somewhere, or its deployment does not answer: then there is nothing more to wait for.
async fn settled(running: &Running, desired: &Desired) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let table = running.tree.handle.table();
        let waits = |worker: &WorkerSpec| {
            table
                .get(&ActorKey::worker(worker.id()))
                .is_none_or(|card| card.phase == Phase::Starting)
        };
        let mut open = desired.workers.iter().filter(|worker| waits(worker));
        if open.all(|worker| offline(running, worker).is_some()) {
            return;
        }
    }
}

/// Why a worker's deployment cannot be reached now.
fn offline(running: &Running, worker: &WorkerSpec) -> Option<String> {
    let status = running.tree.link_status(&worker.url);
    (status.phase == LinkPhase::Offline).then(|| {
        let reason = status.last_error.unwrap_or_else(|| "no answer".to_owned());
        format!(
            "{} is offline, tried again until it answers ({reason})",
            worker.url
        )
    })
}

/// Why serving is over.
enum Over {
    Asked(StopRequest),
    /// Development mode's worker cannot serve any more.
    Failed(RunError),
    /// What starts us again (systemd, launchd, a person) starts from what is stored.
    TreeFailed,
}

/// Until somebody asks for the end, or there is nothing to go on with.
async fn serve(
    running: &Shared,
    announce: &dyn Announce,
    signals: &mut Signals,
    stop_requests: &mut mpsc::Receiver<StopRequest>,
) -> Over {
    let in_order = StopRequest {
        force: false,
        limit: running.options.shutdown,
    };
    let mut watcher = Watcher::new(running.tree.handle.table());
    let mut errands = Errands::start(running);
    loop {
        tokio::select! {
            news = watcher.next() => announce.news(&news),
            signal = signals.next() => match signal {
                Signal::Stop => return Over::Asked(in_order),
                Signal::Reload => announce.reloaded(running.reload(false).await.as_ref()),
            },
            errand = errands.next() => match errand {
                Errand::Reload => announce.reloaded(running.reload(false).await.as_ref()),
                Errand::Idle => return Over::Asked(in_order),
                Errand::Failed(line) => return Over::Failed(ended(line)),
            },
            Some(request) = stop_requests.recv() => return Over::Asked(request),
            () = running.tree.handle.closed() => return Over::TreeFailed,
        }
    }
}

fn ended(line: WorkerLine) -> RunError {
    let reason = match line.start {
        WorkerStart::Failed(reason) | WorkerStart::Waiting(reason) => reason,
        WorkerStart::Ready => String::new(),
    };
    RunError::WorkerEnded {
        name: line.name,
        reason,
    }
}

async fn stop(
    running: &Running,
    request: StopRequest,
    announce: &dyn Announce,
    signals: &mut Signals,
    stop_requests: &mut mpsc::Receiver<StopRequest>,
    quiet: bool,
) -> Ended {
    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
    let begun = Instant::now();
    let forced = |limit| Ended::Forced {
        limit,
        killed: running.live_children(),
    };
    if request.force {
        return forced(None);
    }
    let (workers, sessions) = running.counts();
    if !quiet {
        announce.stopping(workers, sessions, request.limit);
    }
    info!(workers, sessions, "stopping");
    // The tree's own patience is longer than ours, so that an answer means "done".
    let stopping = running.tree.handle.stop(request.limit * 2);
    tokio::select! {
        report = tokio::time::timeout(request.limit, stopping) => match report {
            Ok(_) => Ended::Stopped { took: begun.elapsed(), outbox: running.tree.outbox_depth() },
            Err(_) => forced(Some(request.limit)),
        },
        () = signals.stop() => forced(None),
        () = insisted(stop_requests) => forced(None),
    }
}

/// A `stop --force` while a graceful one is under way.
async fn insisted(stop_requests: &mut mpsc::Receiver<StopRequest>) {
    while let Some(request) = stop_requests.recv().await {
        if request.force {
            return;
        }
    }
    std::future::pending::<()>().await;
}

fn daemon_file(options: &RunOptions, instance: &Instance) -> Result<DaemonFile, RunError> {
    let config = options.source.as_ref().map(|source| source.file().clone());
    Ok(DaemonFile {
        schema: 1,
        pid: instance.holder.pid,
        started_at: rfc3339(instance.holder.since_ms),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: match &options.source {
            Some(source) if source.is_dev() => "dev".to_owned(),
            _ => options.mode.name().to_owned(),
        },
        socket: socket_path(&options.paths).map_err(|error| setup(&error))?,
        url: None,
        owner_key: None,
        config,
        exited: None,
    })
}

/// The deployment, when there is just one.
fn only_url(desired: &Desired) -> Option<String> {
    let mut urls = desired.workers.iter().map(|worker| &worker.url);
    let first = urls.next()?;
    urls.all(|url| url == first).then(|| first.to_string())
}

fn exited(result: &Result<Ended, RunError>) -> Exited {
    let (reason, code) = match result {
        Ok(Ended::Stopped { .. }) => ("stopped".to_owned(), 0),
        Ok(Ended::Forced { killed, .. }) => (format!("forced; children killed: {killed}"), 1),
        Ok(Ended::Interrupted) => ("interrupted while starting".to_owned(), 130),
        Err(error) => (format!("failed: {error}"), error.exit_code()),
    };
    Exited {
        at: rfc3339(wall_ms()),
        reason,
        code,
    }
}

fn state_folder(error: &dyn std::fmt::Display) -> RunError {
    RunError::StateFolder(error.to_string())
}

fn setup(error: &dyn std::fmt::Display) -> RunError {
    RunError::Setup(error.to_string())
}
