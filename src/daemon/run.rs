//! A supervisor's life from lock to unlock. Start: lock, embedded deployment, assistant, tree, control socket, summary.
//! Stop, in reverse: no more claims, children stopped, finishes handed over or in the outbox (the tree does these), the
//! scripted model, the deployment last. A second signal or the limit's end leaves at once: the wardens see their lifelines
//! close and end every descendant.

use std::pin::Pin;
use std::time::Instant;

use orchestrator_actors::machine::WorkerStart;
use orchestrator_actors::ports::link::LinkPhase;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::announce::{Announce, Ended, Summary, WorkerLine};
use super::control::StopRequest;
use super::dump;
use super::errands::{Errand, Errands};
use super::error::RunError;
use super::instance::{Instance, LockError};
use super::lines::worker_lines;
use super::manager::{self, Feeding};
use super::news::Watcher;
use super::notifying::Notifying;
use super::offering::Offering;
use super::options::{Mode, RunOptions};
use super::reload::Reloaded;
use super::running::{Running, Shared};
use super::signals::{Asked as Signal, Signals};
use super::start::{Up, bring_up, prepare, take_down};
use super::state_file::{DaemonFile, Exited};
use super::watch::FileWatch;
use crate::adapters::clock::wall_ms;
use crate::config::paths::private_dir;
use crate::config::{Paths, Source};
use crate::control::Refusal;
use crate::control::report::rfc3339;
use crate::control::socket_path;

/// Becomes this installation's one supervisor, for whoever has something to do before it runs as such.
pub async fn hold(paths: &Paths) -> Result<Instance, RunError> {
    private_dir(&paths.state).map_err(|error| state_folder(&error))?;
    Instance::acquire(&paths.lock_file(), wall_ms())
        .await
        .map_err(|error| match error {
            LockError::Held { holder, .. } => RunError::AlreadyRunning(holder),
            other @ LockError::Unusable { .. } => state_folder(&other),
        })
}

/// Runs until it is told to stop.
pub async fn run(
    options: RunOptions,
    held: Option<Instance>,
    announce: &dyn Announce,
) -> Result<Ended, RunError> {
    let mut signals = Signals::register().map_err(|error| setup(&error))?;
    let instance = match held {
        Some(instance) => instance,
        None => hold(&options.paths).await?,
    };
    let file = daemon_file(&options, &instance)?;
    let path = options.paths.daemon_file();
    let result = live(options, announce, &mut signals, &instance, file.clone()).await;
    if matches!(result, Err(RunError::LocalInUse { .. })) {
        // Another one serves; nothing of ours has run, so what is known of the last one that did stays.
        return result;
    }
    // What was written meanwhile (URL, key) stays; the reason is added.
    let mut last = DaemonFile::read(&path).unwrap_or(file);
    last.starting = None;
    last.exited = Some(exited(&result));
    if let Err(error) = last.write_or_make_room(&path) {
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
    // Before the configuration is read for the last time: what is saved from then on is a change.
    let watched = watched(&options, announce);
    let prepared = tokio::select! {
        prepared = Box::pin(prepare(options, announce, &file)) => prepared?,
        () = signals.stop() => {
            announce.stopped(&Ended::Interrupted);
            return Ok(Ended::Interrupted);
        }
    };
    // From here on there is a tree, and it is stopped in order: it holds tokens, and soon children.
    let up = bring_up(prepared, announce, instance, file, stops).await?;
    let _dumping = dump::on_signal(signals.take_dump(), &up.running);
    let first = tokio::select! {
        lines = worker_lines(&up.running) => First::Lines(lines),
        () = signals.stop() => First::Stop(up.stop_request()),
        Some(request) = stop_requests.recv() => First::Stop(request),
        () = up.running.tree.handle.closed() => return Err(RunError::TreeFailed),
    };
    let (request, failed) = match first {
        First::Stop(request) => (request, None),
        First::Lines(lines) => match summarize(&up, announce, lines) {
            Some(failed) => (up.stop_request(), Some(failed)),
            None => {
                match serve(&up.running, watched, announce, signals, &mut stop_requests).await {
                    Over::Asked(request) => (request, None),
                    Over::Failed(error) => (up.stop_request(), Some(error)),
                    Over::TreeFailed => return Err(RunError::TreeFailed),
                }
            }
        },
    };
    let ended = stop(
        &up.running,
        request,
        announce,
        signals,
        &mut stop_requests,
        failed.is_some(),
    )
    .await;
    let Up {
        running,
        control,
        assistants,
        ..
    } = up;
    if matches!(
        ended,
        Ended::Stopped { .. } | Ended::Again { killed: 0, .. }
    ) {
        take_down(&running, assistants).await;
    }
    drop(control);
    if let Some(error) = failed {
        return Err(error);
    }
    announce.stopped(&ended);
    Ok(ended)
}

/// What comes first of a tree that is up.
enum First {
    /// Every worker stands somewhere.
    Lines(Vec<WorkerLine>),
    Stop(StopRequest),
}

/// Tells how the workers stand. When none of them can serve, gives the reason instead.
fn summarize(up: &Up, announce: &dyn Announce, mut lines: Vec<WorkerLine>) -> Option<RunError> {
    lines.extend(up.missing.iter().cloned());
    let failed = nothing_served(&up.running, &lines);
    if failed.is_some() {
        return failed;
    }
    let Running {
        machine, options, ..
    } = &*up.running;
    info!(workers = lines.len(), "serving");
    announce.started(&Summary {
        deployment: up.deployment.clone(),
        machine_name: machine.name.clone(),
        machine_id: machine.id.clone(),
        tools: machine.tools.clone(),
        workers: lines,
        demo: options.demo,
    });
    manager::ready(&up.running);
    None
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
    watched: Option<FileWatch>,
    announce: &dyn Announce,
    signals: &mut Signals,
    stop_requests: &mut mpsc::Receiver<StopRequest>,
) -> Over {
    let in_order = StopRequest {
        force: false,
        limit: running.options.shutdown,
        again: false,
    };
    let mut watcher = Watcher::new(running.tree.handle.table());
    let mut errands = Errands::start(running, watched);
    let _feeding = Feeding::start(running);
    let _notifying = Notifying::start(running);
    let _offering = Offering::start(running);
    // Beside everything else: a directory that does not answer holds up a reload, never a stop.
    let mut reloads = Reloads::default();
    loop {
        tokio::select! {
            news = watcher.next() => announce.news(&news),
            reloaded = reloads.next(running) => announce.reloaded(reloaded.as_ref()),
            signal = signals.next() => match signal {
                Signal::Stop => return Over::Asked(in_order),
                Signal::Reload => reloads.ask(),
            },
            errand = errands.next() => match errand {
                Errand::Reload => reloads.ask(),
                Errand::Idle => return Over::Asked(in_order),
                Errand::Failed(line) => return Over::Failed(ended(line)),
            },
            Some(request) = stop_requests.recv() => return Over::Asked(request),
            () = running.tree.handle.closed() => return Over::TreeFailed,
        }
    }
}

type Pending<'a> = Pin<Box<dyn Future<Output = Result<Reloaded, Refusal>> + Send + 'a>>;

/// Reloads that are asked for by signals and by the watched file: one at a time, and once more for what was asked meanwhile.
#[derive(Default)]
struct Reloads<'a> {
    asked: bool,
    under_way: Option<Pending<'a>>,
}

impl<'a> Reloads<'a> {
    fn ask(&mut self) {
        self.asked = true;
    }

    /// May be given up and called again.
    async fn next(&mut self, running: &'a Running) -> Result<Reloaded, Refusal> {
        if self.under_way.is_none() && std::mem::take(&mut self.asked) {
            self.under_way = Some(Box::pin(running.reload(false)));
        }
        let Some(reload) = &mut self.under_way else {
            return std::future::pending().await;
        };
        let reloaded = reload.await;
        self.under_way = None;
        reloaded
    }
}

fn watched(options: &RunOptions, announce: &dyn Announce) -> Option<FileWatch> {
    let source = options.source.as_ref().filter(|_| options.watch)?;
    match FileWatch::start(source.file()) {
        Ok(watch) => Some(watch),
        Err(trouble) => {
            announce.notice(&trouble);
            None
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
    manager::stopping(request.again);
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
            Ok(_) if request.again => Ended::Again { took: begun.elapsed(), killed: 0 },
            Err(_) if request.again => {
                Ended::Again { took: begun.elapsed(), killed: running.live_children() }
            }
            Ok(_) => Ended::Stopped { took: begun.elapsed(), outbox: running.tree.outbox_depth() },
            Err(_) => forced(Some(request.limit)),
        },
        () = signals.another_stop(begun.into()) => forced(None),
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
        page: None,
        config,
        starting: None,
        passing: matches!(&options.mode, Mode::Local(local) if local.port == 0),
        exited: None,
    })
}

fn exited(result: &Result<Ended, RunError>) -> Exited {
    let (reason, code) = match result {
        Ok(Ended::Stopped { .. }) => ("stopped".to_owned(), 0),
        Ok(Ended::Again { .. }) => ("stopped, to start again".to_owned(), 0),
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
