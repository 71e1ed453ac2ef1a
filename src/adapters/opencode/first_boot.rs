//! The first boot of a worker's OpenCode in this process goes alone: it brings the database to its version's schema,
//! and two at once trip over each other's tables (measured: "table `workspace` already exists", exit code 1).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use orchestrator_actors::domain::ids::WorkerId;
use tokio::sync::OwnedMutexGuard;

/// Which workers' databases are known to be of the present version.
#[derive(Debug, Default)]
pub struct FirstBoots {
    workers: Mutex<HashMap<WorkerId, Arc<tokio::sync::Mutex<bool>>>>,
}

/// The right to boot. While it lives and is the first of its worker, no other boot of that worker begins.
#[derive(Debug)]
pub struct Turn(Option<OwnedMutexGuard<bool>>);

impl FirstBoots {
    pub async fn wait(&self, worker: &WorkerId) -> Turn {
        let known = {
            let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
            workers.entry(worker.clone()).or_default().clone()
        };
        let migrated = known.lock_owned().await;
        Turn((!*migrated).then_some(migrated))
    }
}

impl Turn {
    /// OpenCode answers, so its database is as it wants it.
    pub fn succeeded(self) {
        if let Some(mut migrated) = self.0 {
            *migrated = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn boots_of_one_worker_wait_for_its_first_success_only() {
        let boots = FirstBoots::default();
        let (a, b) = (WorkerId::from("a"), WorkerId::from("b"));
        let first = boots.wait(&a).await;
        assert!(boots.wait(&a).now_or_never().is_none());
        assert!(boots.wait(&b).now_or_never().is_some());
        drop(first);
        let second = boots
            .wait(&a)
            .now_or_never()
            .expect("a failed boot gives the turn on");
        assert!(boots.wait(&a).now_or_never().is_none());
        second.succeeded();
        let third = boots.wait(&a).now_or_never().expect("free");
        assert!(
            boots.wait(&a).now_or_never().is_some(),
            "later boots go side by side"
        );
        drop(third);
    }
}
