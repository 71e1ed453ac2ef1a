//! What a loop is given. The parts are ports, so that each can be replaced by itself.

use std::time::Duration;

use super::progress::Progress;
use crate::domain::task::Patience;
use crate::ports::Pending;
use crate::ports::git::Git;
use crate::ports::tasks::{Blocked, Held, Queue, Runner, Task, TaskJournal, Wanted};

/// The loop's dependencies: `pullTask` and `ackTask` are the queue's, `runWorker` the runner's.
pub trait LooperDeps: Send + Sync {
    fn queue(&self) -> &dyn Queue;
    fn runner(&self) -> &dyn Runner;
    fn git(&self) -> &dyn Git;
    fn journal(&self) -> &dyn TaskJournal;

    /// The right to work in the directory alone, as soon as nobody else does. Whoever has the directory to itself anyway
    /// needs nothing else.
    fn directory(&self, wanted: Wanted) -> Pending<Result<Held, Blocked>> {
        let _ = wanted;
        Box::pin(async { Ok(Box::new(()) as Held) })
    }

    /// What an attempt needs before it begins. The place comes first: whoever has the directory must not wait for anything
    /// while others wait for the directory.
    fn admission(&self, task: &Task) -> Pending<Result<Admission, Blocked>> {
        let directory = self.directory(Wanted::for_an_attempt(&task.id));
        let place = self.runner().place();
        Box::pin(async move {
            let place = place.await;
            let directory = directory.await?;
            Ok(Admission { place, directory })
        })
    }

    /// Monotonic milliseconds, for metrics.
    fn now_ms(&self) -> u64;

    fn sleep(&self, time: Duration) -> Pending<()>;

    /// Hears of every step. Must not block.
    fn log(&self, progress: Progress);
}

/// Two rights, which end when they are dropped.
pub struct Admission {
    /// To one more living assistant; until the run is over.
    pub place: Held,
    /// To work in the directory alone; until the attempt is.
    pub directory: Held,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopSettings {
    /// Put before a branch's number; empty by default.
    pub branch_prefix: String,
    /// Of git over a network, and of a repository that another git has locked.
    pub git: Patience,
    /// After a failure, before the next task.
    pub pause: Duration,
    /// A description longer than this is refused.
    pub longest_description: usize,
}

impl Default for LoopSettings {
    fn default() -> Self {
        Self {
            branch_prefix: String::new(),
            git: Patience::GIT,
            pause: Duration::from_secs(1),
            longest_description: 256 * 1024,
        }
    }
}
