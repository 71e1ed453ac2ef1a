//! The small ports: a clock that follows the paused one, one store, an outbox that nobody uses.

use std::sync::{Arc, Mutex};

use orchestrator_actors::domain::ids::{TurnId, WorkerId};
use orchestrator_actors::machine::Stores;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::clock::Clock;
use orchestrator_actors::ports::outbox::{FinishRecord, Outbox, OutboxError};

/// All clocks follow tokio's paused one.
pub struct PausedClock(pub tokio::time::Instant);

impl Clock for PausedClock {
    fn monotonic_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64 + 1
    }

    /// As on a machine that has slept for a day: no idle timer or guard goes by it.
    fn boottime_ms(&self) -> u64 {
        self.monotonic_ms() + 86_400_000
    }

    /// It may jump: no timer, limit, order or age in the tree goes by it.
    fn wall_ms(&self) -> u64 {
        panic!("the tree looked at the wall clock")
    }
}

#[derive(Clone)]
pub struct OneStore(Arc<Mutex<String>>);

impl Default for OneStore {
    fn default() -> Self {
        Self(Arc::new(Mutex::new("store".to_owned())))
    }
}

impl OneStore {
    /// Its database is gone, and the next one is another store.
    pub fn becomes(&self, id: &str) {
        id.clone_into(&mut self.0.lock().unwrap());
    }
}

impl Stores for OneStore {
    fn store_id(&self, _: &WorkerId) -> Pending<Result<String, String>> {
        let id = self.0.lock().unwrap().clone();
        Box::pin(async { Ok(id) })
    }
}

/// The fake link has a disk of its own.
pub struct NoOutbox;

impl Outbox for NoOutbox {
    fn put(&self, _: FinishRecord) -> Pending<Result<(), OutboxError>> {
        Box::pin(async { Ok(()) })
    }

    fn acknowledge(&self, _: TurnId) -> Pending<Result<(), OutboxError>> {
        Box::pin(async { Ok(()) })
    }

    fn pending(&self, _: &WorkerId) -> Vec<FinishRecord> {
        Vec::new()
    }

    fn depth(&self) -> usize {
        0
    }
}
