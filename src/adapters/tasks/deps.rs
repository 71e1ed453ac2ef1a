//! The loop's dependencies, put together: any queue, any runner, any git. Progress goes to the log, and to a listener
//! if there is one.

use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::clock::Clock;
use orchestrator_actors::ports::git::Git;
use orchestrator_actors::ports::tasks::{Queue, Runner, TaskJournal};
use orchestrator_actors::tasks::{LooperDeps, Progress};

#[derive(Clone)]
pub struct SystemDeps {
    pub queue: Arc<dyn Queue>,
    pub runner: Arc<dyn Runner>,
    pub git: Arc<dyn Git>,
    pub journal: Arc<dyn TaskJournal>,
    pub clock: Arc<dyn Clock>,
    pub listener: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}

impl LooperDeps for SystemDeps {
    fn queue(&self) -> &dyn Queue {
        &*self.queue
    }

    fn runner(&self) -> &dyn Runner {
        &*self.runner
    }

    fn git(&self) -> &dyn Git {
        &*self.git
    }

    fn journal(&self) -> &dyn TaskJournal {
        &*self.journal
    }

    fn now_ms(&self) -> u64 {
        self.clock.monotonic_ms()
    }

    fn sleep(&self, time: Duration) -> Pending<()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn log(&self, progress: Progress) {
        orchestrator_actors::tasks::tell(&progress, None);
        if let Some(listener) = &self.listener {
            listener(progress);
        }
    }
}
