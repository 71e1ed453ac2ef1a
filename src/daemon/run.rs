//! A supervisor's life from lock to unlock. Start: lock, embedded deployment, assistant, tree, control socket, summary.
//! Stop, in reverse: no more claims, children stopped, finishes handed over or in the outbox (the tree does these), the
//! scripted model, the deployment last. A second signal or the limit's end leaves at once: the wardens see their lifelines
//! close and end every descendant.

use std::time::Instant;

use orchestrator_actors::machine::WorkerStart;
use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::announce::{Announce, Ended, Summary, WorkerLine};
use super::control::StopRequest;
use super::error::RunError;
use super::instance::{Instance, LockError};
use super::lines::worker_lines;
use super::news::Watcher;
use super::options::{Mode, RunOptions};
use super::running::Running;
use super::signals::{Asked as Signal, Signals};
use super::start::{Up, bring_up, prepare, take_down};
use super::state_file::{DaemonFile, Exited};
use crate::adapters::clock::wall_ms;
use crate::config::paths::private_dir;
use crate::control::report::rfc3339;
use crate::control::socket_path;

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
    if matches!(result, Err(RunError::LocalInUse { .. })) {
        // Another one serves; nothing of ours has run, so what is known of the last one that did stays.
        return result;
    }
    // What was written meanwhile (URL, key) stays; the reason is added.
    let mut last = DaemonFile::read(&path).unwrap_or(file);
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
    let prepared = tokio::select! {
        prepared = Box::pin(prepare(options, announce)) => prepared?,
        () = signals.stop() => {
            announce.stopped(&Ended::Interrupted);
            return Ok(Ended::Interrupted);
        }
    };
    // From here on there is a tree, and it is stopped in order: it holds tokens, and soon children.
    let up = bring_up(prepared, announce, instance, file, stops).await?;
    let first = tokio::select! {
        lines = worker_lines(&up.running) => First::Lines(lines),
        () = signals.stop() => First::Stop(up.stop_request()),
        Some(request) = stop_requests.recv() => First::Stop(request),
        () = up.running.tree.handle.closed() => return Err(RunError::TreeFailed),
    };
    let (request, failed) = match first {
        First::Stop(request) => (request, None),
        First::Lines(lines) => {
            if let Some(failed) = summarize(&up, announce, lines) {
                (up.stop_request(), Some(failed))
            } else {
                let asked = serve(&up.running, announce, signals, &mut stop_requests).await;
                (asked.ok_or(RunError::TreeFailed)?, None)
            }
        }
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
    if matches!(ended, Ended::Stopped { .. }) {
        take_down(&running, assistants).await;
    }
    drop(control);
    if let Some(lines) = failed {
        return Err(RunError::NoWorker(lines));
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

/// Tells how the workers stand. When none of them can serve, gives their reasons instead.
fn summarize(
    up: &Up,
    announce: &dyn Announce,
    mut lines: Vec<WorkerLine>,
) -> Option<Vec<WorkerLine>> {
    lines.extend(up.missing.iter().cloned());
    let all_failed = lines
        .iter()
        .all(|line| matches!(line.start, WorkerStart::Failed(_)));
    if all_failed {
        return Some(lines);
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
    let _ = sd_notify::notify(false, &[NotifyState::Ready]);
    None
}

/// Until somebody asks for the end. `None`: the root of the tree has crashed; what starts us again (systemd, launchd, a
/// person) starts from what is stored.
async fn serve(
    running: &Running,
    announce: &dyn Announce,
    signals: &mut Signals,
    stop_requests: &mut mpsc::Receiver<StopRequest>,
) -> Option<StopRequest> {
    let mut watcher = Watcher::new(running.tree.handle.table());
    loop {
        tokio::select! {
            news = watcher.next() => announce.news(&news),
            signal = signals.next() => match signal {
                Signal::Stop => return Some(StopRequest {
                    force: false,
                    limit: running.options.shutdown,
                }),
                Signal::Reload => {
                    let result = running.reload(false).await;
                    if let Err(refusal) = &result {
                        warn!(reason = %refusal, "not reloaded");
                    }
                    announce.reloaded(result.as_ref());
                }
            },
            Some(request) = stop_requests.recv() => return Some(request),
            () = running.tree.handle.closed() => return None,
        }
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
    let config = match &options.mode {
        Mode::Workers(_) => Some(options.paths.workers_file.clone()),
        Mode::Local(_) => None,
    };
    Ok(DaemonFile {
        schema: 1,
        pid: instance.holder.pid,
        started_at: rfc3339(instance.holder.since_ms),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: options.mode.name().to_owned(),
        socket: socket_path(&options.paths).map_err(|error| setup(&error))?,
        url: None,
        owner_key: None,
        config,
        exited: None,
    })
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
