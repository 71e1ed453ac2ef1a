//! Finishes that the deployment has not acknowledged yet, on disk, so that they outlive the supervisor.

use serde::{Deserialize, Serialize};

use super::Pending;
use crate::domain::ids::{TurnId, WorkerId};
use crate::domain::item::Item;
use crate::domain::turn::Ending;

/// One finish. It carries no epoch: it goes out under the one in force when it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FinishRecord {
    pub worker: WorkerId,
    pub turn: TurnId,
    pub ending: Ending,
    /// The items that were not acknowledged when the turn ended.
    pub items: Vec<Item>,
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct OutboxError(pub String);

/// One outbox per state folder. Records are kept in order; a record of a turn that is there already is ignored.
pub trait Outbox: Send + Sync + 'static {
    /// Resolves when the record is on disk (fsync). `Err`: it is not; unless the outbox is full it is kept in memory.
    fn put(&self, record: FinishRecord) -> Pending<Result<(), OutboxError>>;
    /// Forgets a record, because the deployment has it.
    fn acknowledge(&self, turn: TurnId) -> Pending<Result<(), OutboxError>>;
    /// The records of one worker, oldest first. Blocks on the disk.
    fn pending(&self, worker: &WorkerId) -> Vec<FinishRecord>;
    /// How many records there are, for `ps`.
    fn depth(&self) -> usize;
}
