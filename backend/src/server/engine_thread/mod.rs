//! The engine's thread and the way to it. Whoever wants something run goes through an [`EngineHandle`]; the one
//! thread behind it runs everything in the order of arrival.
//!
//! A *generation* is one life of the thread. A panic ends it: the supervisor cancels the generation's token (every
//! socket closes, so that clients resume at once) and starts the next one on the same file. Nothing of a generation's
//! queue is carried over: a client that got no answer asks again under the same request id.

mod commands;
mod supervisor;
mod worker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::engine::{
    Call, Engine, EngineConfig, MutationOutcome, OpenError, QueryOutcome, SessionRequest,
    StorageError, WriteSet,
};
pub(super) use commands::{Command, EngineEvent, MutationReply, QueryRun, SnapshotGone};
pub(super) use supervisor::Supervisor;

/// What the server needs of an engine. [`Engine`] is one; tests script their own. Called on one thread only.
pub trait Executor {
    fn query(&mut self, call: &Call) -> QueryOutcome;
    fn mutation(&mut self, call: &Call, record: Option<&SessionRequest>) -> MutationOutcome;
    /// The last commit's timestamp (ns).
    fn latest_ts(&self) -> u64;
    fn run_due_jobs(&mut self, now_ms: u64) -> Vec<WriteSet>;
    fn next_due_ms(&self) -> Option<u64>;
    /// The latest scheduled function that failed, and how: nobody but its author could say whether to try it again.
    fn failed_job(&self) -> Option<String> {
        None
    }
    fn checkpoint(&mut self) -> Result<(), String>;
    /// Why nothing can be stored now.
    fn trouble(&self) -> Option<String> {
        None
    }
}

impl Executor for Engine {
    fn query(&mut self, call: &Call) -> QueryOutcome {
        Engine::query(self, call)
    }

    fn mutation(&mut self, call: &Call, record: Option<&SessionRequest>) -> MutationOutcome {
        Engine::mutation(self, call, record)
    }

    fn latest_ts(&self) -> u64 {
        Engine::latest_ts(self)
    }

    fn run_due_jobs(&mut self, now_ms: u64) -> Vec<WriteSet> {
        Engine::run_due_jobs(self, now_ms)
    }

    fn next_due_ms(&self) -> Option<u64> {
        Engine::next_due_ms(self)
    }

    fn failed_job(&self) -> Option<String> {
        let latest = self.job_failures(1).ok()?.into_iter().next();
        latest.map(|(path, error)| format!("the scheduled function {path} failed: {error}"))
    }

    fn checkpoint(&mut self) -> Result<(), String> {
        Engine::checkpoint(self).map_err(|error: StorageError| error.to_string())
    }

    fn trouble(&self) -> Option<String> {
        Engine::trouble(self).map(str::to_owned)
    }
}

/// Makes an executor, on the thread that will own it; called again after a panic.
pub type ExecutorFactory = Arc<dyn Fn() -> Result<Box<dyn Executor>, OpenError> + Send + Sync>;

/// Opens the real engine.
pub fn open_engine(config: EngineConfig) -> ExecutorFactory {
    Arc::new(move || {
        Engine::open(config.clone()).map(|engine| Box::new(engine) as Box<dyn Executor>)
    })
}

/// Where the engine is in its life, as `ps` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Ready,
    /// It answers, but nothing can be stored; over when something was.
    Troubled {
        reason: String,
    },
    /// The thread died, or could not be started again: calls are refused until it is back.
    Restarting {
        reason: String,
    },
    Stopped,
}

/// There is no engine right now. Clients try again.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the deployment is restarting: try again")]
pub(super) struct EngineDown;

/// A mutation that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unanswered {
    /// It never reached an engine.
    #[error("{EngineDown}")]
    NotSent,
    /// The engine had it when it died, perhaps after the commit.
    #[error(
        "the deployment restarted while it had the mutation, which may have run: look whether it has before you send it again"
    )]
    Lost,
}

/// One life of the engine's thread.
#[derive(Clone)]
pub(super) struct Generation {
    pub(super) commands: mpsc::Sender<Command>,
    /// Cancelled when the thread is gone.
    pub(super) ended: CancellationToken,
}

struct Shared {
    current: Mutex<Option<Generation>>,
    latest_ts: AtomicU64,
    restarts: AtomicU64,
    phase: watch::Sender<Phase>,
    failed_job: watch::Sender<Option<String>>,
}

#[derive(Clone)]
pub(super) struct EngineHandle {
    shared: Arc<Shared>,
}

impl EngineHandle {
    fn new() -> Self {
        let shared = Shared {
            current: Mutex::new(None),
            latest_ts: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            phase: watch::Sender::new(Phase::Starting),
            failed_job: watch::Sender::new(None),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Of an engine that a test plays itself.
    #[cfg(test)]
    pub(super) fn played() -> Self {
        Self::new()
    }

    pub(super) fn generation(&self) -> Result<Generation, EngineDown> {
        let current = self
            .shared
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or(EngineDown)
    }

    /// Every hit of a commit up to this timestamp has already been sent to the connections it concerns.
    pub(super) fn latest_ts(&self) -> u64 {
        self.shared.latest_ts.load(Ordering::Acquire)
    }

    pub(super) fn restarts(&self) -> u64 {
        self.shared.restarts.load(Ordering::Relaxed)
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.shared.phase.subscribe()
    }

    pub(super) fn failed_job(&self) -> watch::Receiver<Option<String>> {
        self.shared.failed_job.subscribe()
    }

    pub(super) async fn query(
        &self,
        call: Call,
        at: Option<u64>,
    ) -> Result<Result<QueryOutcome, SnapshotGone>, EngineDown> {
        let (reply, outcome) = oneshot::channel();
        self.send(Command::Query { call, at, reply })?;
        outcome.await.map_err(|_| EngineDown)
    }

    pub(super) async fn mutation(&self, call: Call) -> Result<MutationOutcome, Unanswered> {
        let (reply, outcome) = oneshot::channel();
        let sent = self.send(Command::Mutation {
            call,
            record: None,
            reply: MutationReply::Caller(reply),
        });
        sent.map_err(|EngineDown| Unanswered::NotSent)?;
        outcome.await.map_err(|_| Unanswered::Lost)
    }

    pub(super) fn send(&self, command: Command) -> Result<(), EngineDown> {
        self.generation()?
            .commands
            .send(command)
            .map_err(|_| EngineDown)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_mutation_that_the_engine_had_when_it_died_is_not_told_to_try_again() {
        let handle = EngineHandle::played();
        let call = Call {
            path: "m:add".into(),
            args: json!({}),
            identity: None,
        };
        let never = handle.mutation(call.clone()).await.unwrap_err();
        assert_eq!(never, Unanswered::NotSent);
        assert!(never.to_string().ends_with("try again"), "{never}");

        let (commands, taken) = mpsc::channel();
        *handle.shared.current.lock().unwrap() = Some(Generation {
            commands,
            ended: CancellationToken::new(),
        });
        let dies = std::thread::spawn(move || drop(taken.recv()));
        let lost = handle.mutation(call).await.unwrap_err();
        dies.join().unwrap();
        assert_eq!(lost, Unanswered::Lost);
        assert!(lost.to_string().contains("may have run"), "{lost}");
    }
}
