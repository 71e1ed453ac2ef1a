//! The disk of the machine: what is on it outlives every supervisor.

use std::sync::{Arc, Mutex};

use orchestrator_actors::domain::ids::{TurnId, WorkerId};
use orchestrator_actors::ports::outbox::FinishRecord;

/// Finishes on disk: they outlive the supervisor.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Vec<FinishRecord>>>);

impl Disk {
    pub fn depth(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub fn put(&self, record: FinishRecord) {
        let mut records = self.0.lock().unwrap();
        if records.iter().all(|known| known.turn != record.turn) {
            records.push(record);
        }
    }

    pub fn forget(&self, turn: &TurnId) {
        self.0.lock().unwrap().retain(|record| record.turn != *turn);
    }

    pub fn of(&self, worker: &WorkerId) -> Vec<FinishRecord> {
        let records = self.0.lock().unwrap();
        let own = records.iter().filter(|record| record.worker == *worker);
        own.cloned().collect()
    }
}
