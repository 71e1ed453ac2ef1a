//! What every step of an attempt shares: the journal before it, the time it takes, the tries again of what passes by
//! itself, and the two ways in which it can be called off.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::deps::{Admission, LoopSettings, LooperDeps};
use super::progress::{Metrics, Progress};
use crate::domain::task::{Class, Entry, Failure, Phase};
use crate::ports::Pending;
use crate::ports::git::GitError;
use crate::ports::tasks::{Blocked, QueueError, Task};

/// Why an attempt does not go on.
#[derive(Debug)]
pub enum Stop {
    /// The task has failed.
    Failed(Failure),
    /// It has failed, and the next one would fail for the same reason.
    FailedFor(Failure, Blocked),
    /// The loop was told to stop.
    Stopping,
    /// The task was called off, or is somebody else's.
    Withdrawn,
    /// Nothing can be done here.
    Blocked(Blocked),
}

impl From<GitError> for Stop {
    fn from(error: GitError) -> Self {
        if error.stops_the_loop() {
            Self::Blocked(Blocked::Git(error))
        } else {
            Self::Failed(error.into())
        }
    }
}

/// One attempt at one task.
pub struct Attempt<'a> {
    pub deps: &'a dyn LooperDeps,
    pub settings: &'a LoopSettings,
    pub stop: &'a CancellationToken,
    pub task: Task,
    pub metrics: Metrics,
}

impl<'a> Attempt<'a> {
    pub fn new(
        deps: &'a dyn LooperDeps,
        settings: &'a LoopSettings,
        stop: &'a CancellationToken,
        task: Task,
    ) -> Self {
        Self {
            deps,
            settings,
            stop,
            task,
            metrics: Metrics::default(),
        }
    }

    /// Writes the phase down, then tells of it. Never called off: it is short, and half of it would be worse.
    pub async fn enter(&self, phase: Phase) -> Result<(), Stop> {
        let name = phase.name();
        let entry = Entry {
            lease: self.task.lease.clone(),
            task: self.task.id.to_string(),
            description: self.task.description.clone(),
            attempt: self.task.attempt,
            phase,
        };
        let written = self.deps.journal().write(entry).await;
        written.map_err(|error| Stop::Blocked(error.into()))?;
        let task = self.task.id.clone();
        self.deps.log(Progress::Phase { task, phase: name });
        Ok(())
    }

    /// Runs a step until it is done, or the loop is told to stop, or the task is withdrawn.
    pub async fn unless_stopped<T>(&self, step: Pending<T>) -> Result<T, Stop> {
        tokio::select! {
            // What is done is done, even if somebody calls it off at the same moment.
            biased;
            done = step => Ok(done),
            () = self.stop.cancelled() => Err(Stop::Stopping),
            () = self.task.withdrawn.cancelled() => Err(Stop::Withdrawn),
        }
    }

    /// A step of git that can be called off.
    pub async fn git<T>(&self, step: impl Fn() -> Pending<Result<T, GitError>>) -> Result<T, Stop> {
        let mut tried = 0;
        loop {
            let error = match self.unless_stopped(step()).await? {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            tried += 1;
            let Some(pause) = self.pause_after(&error, tried) else {
                return Err(error.into());
            };
            self.unless_stopped(self.deps.sleep(pause)).await?;
        }
    }

    /// A step of git that goes on whatever is called off, because half of it would be worse.
    pub async fn git_to_its_end<T>(
        &self,
        step: impl Fn() -> Pending<Result<T, GitError>>,
    ) -> Result<T, GitError> {
        let mut tried = 0;
        loop {
            let error = match step().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            tried += 1;
            let Some(pause) = self.pause_after(&error, tried) else {
                return Err(error);
            };
            self.deps.sleep(pause).await;
        }
    }

    fn pause_after(&self, error: &GitError, tried: u32) -> Option<Duration> {
        let pause = error
            .passes_by_itself()
            .then(|| self.settings.git.pause(tried))??;
        self.deps.log(Progress::Again {
            task: self.task.id.clone(),
            why: error.to_string(),
            tried,
        });
        Some(pause)
    }

    /// Waits until there is a place for the assistant and the directory is the task's alone.
    pub async fn admission(&mut self) -> Result<Admission, Stop> {
        let start = self.now();
        let held = self.unless_stopped(self.deps.admission(&self.task)).await;
        self.metrics.wait_ms = self.since(start);
        held?.map_err(Stop::Blocked)
    }

    pub fn now(&self) -> u64 {
        self.deps.now_ms()
    }

    pub fn since(&self, start: u64) -> u64 {
        self.now().saturating_sub(start)
    }
}

/// A refusal of the queue ends the loop; a task that is somebody else's by now is no longer ours to speak about.
pub fn unless_lost(answer: Result<(), QueueError>) -> Result<(), Blocked> {
    match answer {
        Ok(()) | Err(QueueError::Lost) => Ok(()),
        Err(QueueError::Refused(why)) => Err(Blocked::Queue(why)),
    }
}

pub fn aborted() -> Failure {
    Failure::new(Class::Aborted, "the task was called off")
}

/// A queue that is away must not keep a supervisor from stopping.
pub async fn stopped_for_a_while(deps: &dyn LooperDeps, stop: &CancellationToken) {
    stop.cancelled().await;
    deps.sleep(LAST_WORDS).await;
}

/// How long a queue that is away is waited for when the loop has to stop; the journal keeps what it did not hear.
pub const LAST_WORDS: Duration = Duration::from_secs(2);
