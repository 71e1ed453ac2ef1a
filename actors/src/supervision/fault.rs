//! Faults on purpose, in debug builds only: what an actor's handler or start can do wrong. Tests and
//! `orchestrator debug` inject them; a release binary has none of this.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ractor::ActorProcessingErr;

use crate::table::ActorKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Panic,
    /// The handler ends with an error.
    Fail,
    /// The handler does not come back for this long.
    Block(Duration),
}

impl Fault {
    pub async fn strike(self, who: &ActorKey) -> Result<(), ActorProcessingErr> {
        match self {
            Self::Panic => panic!("a panic was injected into {who}"),
            Self::Fail => Err(format!("a failure was injected into {who}").into()),
            Self::Block(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
        }
    }
}

/// Faults that wait for the next starts of an actor.
#[derive(Clone, Debug, Default)]
pub struct StartFaults(Arc<Mutex<BTreeMap<ActorKey, (Fault, u32)>>>);

impl StartFaults {
    /// The next `times` incarnations of the actor meet the fault while they start.
    pub fn arm(&self, who: ActorKey, fault: Fault, times: u32) {
        self.lock().insert(who, (fault, times));
    }

    fn take(&self, who: &ActorKey) -> Option<Fault> {
        let mut armed = self.lock();
        let (fault, times) = armed.get_mut(who)?;
        *times = times.checked_sub(1)?;
        Some(*fault)
    }

    pub async fn meet(&self, who: &ActorKey) -> Result<(), ActorProcessingErr> {
        match self.take(who) {
            Some(fault) => fault.strike(who).await,
            None => Ok(()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ActorKey, (Fault, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
