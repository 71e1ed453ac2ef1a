//! Keeps an engine thread alive: starts the first generation, and after a panic the next one. The first restart is
//! immediate, later ones back off; a generation that lived long enough wipes the record.
//!
//! It never gives up: the file may become usable again, and until then callers are refused and `phase` says why.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::worker::Worker;
use super::{Command, EngineHandle, ExecutorFactory, Generation, Phase, Shared};
use crate::engine::OpenError;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// A generation that lived this long was healthy.
const HEALTHY: Duration = Duration::from_mins(1);
/// QuickJS recurses on the C stack.
const STACK_BYTES: usize = 8 << 20;

enum Exit {
    Stopped,
    Panicked(String),
}

pub(in crate::server) struct Supervisor {
    handle: EngineHandle,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// Returns when the engine is open. An engine that cannot be opened at the start is an error, not a restart.
    pub(in crate::server) async fn start(
        factory: ExecutorFactory,
        stop: CancellationToken,
    ) -> Result<Self, OpenError> {
        let handle = EngineHandle::new();
        let shared = Arc::clone(&handle.shared);
        let exit = start_generation(&shared, &factory).await?;
        let task = tokio::spawn(supervise(shared, factory, exit, stop));
        Ok(Self { handle, task })
    }

    pub(in crate::server) fn handle(&self) -> &EngineHandle {
        &self.handle
    }

    /// Waits until the thread has checkpointed and closed its file. The stop token must be cancelled.
    pub(in crate::server) async fn stopped(self, limit: Duration) {
        let mut task = self.task;
        if tokio::time::timeout(limit, &mut task).await.is_err() {
            error!("the engine does not stop");
            task.abort();
        }
    }
}

async fn supervise(
    shared: Arc<Shared>,
    factory: ExecutorFactory,
    mut exit: oneshot::Receiver<Exit>,
    stop: CancellationToken,
) {
    let mut backoff = Duration::ZERO;
    loop {
        let born = Instant::now();
        let ended = tokio::select! {
            ended = &mut exit => ended,
            () = stop.cancelled() => {
                stop_current(&shared);
                exit.await
            }
        };
        unpublish(&shared);
        let mut reason = match ended {
            Ok(Exit::Stopped) => break,
            Ok(Exit::Panicked(reason)) => reason,
            Err(_) => "the thread vanished".to_owned(),
        };
        if born.elapsed() > HEALTHY {
            backoff = Duration::ZERO;
        }
        exit = loop {
            error!(
                reason,
                backoff_ms = backoff.as_millis(),
                "the engine died, restarting"
            );
            shared.restarts.fetch_add(1, Ordering::Relaxed);
            shared.phase.send_replace(Phase::Restarting {
                reason: reason.clone(),
            });
            tokio::select! {
                () = tokio::time::sleep(backoff) => {}
                () = stop.cancelled() => {
                    shared.phase.send_replace(Phase::Stopped);
                    return;
                }
            }
            backoff = (backoff * 2).clamp(FIRST_BACKOFF, LONGEST_BACKOFF);
            match start_generation(&shared, &factory).await {
                Ok(exit) => break exit,
                Err(failure) => reason = failure.to_string(),
            }
        };
        info!(
            restarts = shared.restarts.load(Ordering::Relaxed),
            "the engine is back"
        );
    }
    shared.phase.send_replace(Phase::Stopped);
}

/// Spawns a thread and waits until its engine is open; the receiver tells how the thread ended.
async fn start_generation(
    shared: &Arc<Shared>,
    factory: &ExecutorFactory,
) -> Result<oneshot::Receiver<Exit>, OpenError> {
    let (commands, inbox) = mpsc::channel();
    let (opened, open) = oneshot::channel::<Result<Option<String>, OpenError>>();
    let (exited, exit) = oneshot::channel();
    let thread_shared = Arc::clone(shared);
    let factory = Arc::clone(factory);
    std::thread::Builder::new()
        .name("engine".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let run = AssertUnwindSafe(|| match factory() {
                Ok(engine) => {
                    let worker = Worker::new(engine, thread_shared);
                    if opened.send(Ok(worker.trouble())).is_ok() {
                        worker.run(&inbox);
                    }
                }
                Err(reason) => {
                    // nobody waiting means nobody cares why
                    let _ = opened.send(Err(reason));
                }
            });
            let exit = match catch_unwind(run) {
                Ok(()) => Exit::Stopped,
                Err(panic) => Exit::Panicked(panic_text(&*panic)),
            };
            let _ = exited.send(exit);
        })
        .map_err(|error| OpenError::Runtime(format!("no thread for it: {error}")))?;
    let trouble = match open.await {
        Ok(result) => result?,
        Err(_) => {
            return Err(OpenError::Runtime(
                "it panicked while it was opened".to_owned(),
            ));
        }
    };
    let generation = Generation {
        commands,
        ended: CancellationToken::new(),
    };
    *shared
        .current
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some(generation);
    shared
        .phase
        .send_replace(trouble.map_or(Phase::Ready, |reason| Phase::Troubled { reason }));
    Ok(exit)
}

fn stop_current(shared: &Shared) {
    let current = shared
        .current
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(generation) = current.as_ref() {
        // an error means that the thread has ended already
        let _ = generation.commands.send(Command::Stop);
    }
}

fn unpublish(shared: &Shared) {
    let generation = shared
        .current
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(generation) = generation {
        generation.ended.cancel();
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "the engine panicked".to_owned())
}
