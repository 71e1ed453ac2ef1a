//! Which workers' tokens another supervisor took over. It outlives the crash of the worker's and of the bridge's
//! actor: neither may ask for the token again by itself. Only a person's restart, or a reload that wants the worker
//! anew, forgets it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::ids::WorkerId;

/// Owned by the machine, told by the bridges. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Displaced(Arc<Mutex<BTreeSet<WorkerId>>>);

impl Displaced {
    pub fn holds(&self, worker: &WorkerId) -> bool {
        self.lock().contains(worker)
    }

    pub fn add(&self, worker: WorkerId) {
        self.lock().insert(worker);
    }

    pub fn forget(&self, worker: &WorkerId) {
        self.lock().remove(worker);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<WorkerId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
