//! How crashed actors come back. The policy is ours, over ractor's links: a pure [`RestartLedger`] decides, the
//! parents act. The first restart is immediate, later ones back off, and what keeps crashing is parked: it stays
//! visible, its siblings are not touched, and a person un-parks it.

#[cfg(debug_assertions)]
pub mod fault;
pub mod gauge;
pub mod heartbeat;
pub mod mailbox;
mod tasks;
#[cfg(test)]
mod tests;

pub use crate::domain::ledger::{Intensity, RestartLedger, Verdict};
pub use gauge::Gauge;
pub use mailbox::{Address, Envelope, Named};
pub use tasks::Tasks;

use ractor::SupervisionEvent;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that no other actor of this process has, so that late words of a predecessor can be told from its
/// successor's.
pub fn next_incarnation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// How a child ended, as far as the restart policy cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildEnd {
    /// It stopped by itself, because it was told to or had nothing left to do.
    Stopped(ractor::ActorId),
    /// It panicked, failed, or was killed (ractor reports a kill as a termination).
    Crashed(ractor::ActorId, String),
}

impl ChildEnd {
    /// Why its parent has to replace it, when it was not told to end.
    pub fn error(self) -> String {
        match self {
            Self::Stopped(_) => "it stopped without being asked".to_owned(),
            Self::Crashed(_, error) => error,
        }
    }
}

/// Reads a supervision event. `None` for everything that does not end a child.
pub fn child_end(event: &SupervisionEvent) -> Option<ChildEnd> {
    match event {
        SupervisionEvent::ActorFailed(cell, error) => {
            Some(ChildEnd::Crashed(cell.get_id(), error.to_string()))
        }
        SupervisionEvent::ActorTerminated(cell, _, reason) => Some(match reason.as_deref() {
            Some(abnormal @ ("killed" | "actor_task_cancelled")) => {
                ChildEnd::Crashed(cell.get_id(), abnormal.to_owned())
            }
            _ => ChildEnd::Stopped(cell.get_id()),
        }),
        _ => None,
    }
}
