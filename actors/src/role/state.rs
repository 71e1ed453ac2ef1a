//! An assistant's state: the child behind its guard, the tasks.

use std::sync::Arc;

use tokio::task::AbortHandle;

use super::messages::RoleMsg;
use crate::domain::command::Casting;
use crate::machine::{Ports, WorkerSpec};
use crate::ports::role::Player;
use crate::supervision::{Address, Gauge, Tasks};
use crate::table::{ActorKey, ActorTable, CardGuard};
use crate::worker::WorkerMsg;

pub struct RoleArgs {
    pub casting: Arc<Casting>,
    pub worker: Arc<WorkerSpec>,
    pub parent: Address<WorkerMsg>,
    pub ports: Ports,
    pub table: ActorTable,
    pub incarnation: u64,
    pub gauge: Gauge,
    /// Lives before this one.
    pub restarts: u32,
}

pub struct RoleState {
    pub(super) args: RoleArgs,
    pub(super) key: ActorKey,
    pub(super) myself: Address<RoleMsg>,
    /// Dropping it closes the child's lifeline.
    pub(super) player: Option<Arc<dyn Player>>,
    pub(super) starting: Option<AbortHandle>,
    pub(super) stopping: bool,
    pub(super) tasks: Tasks,
    pub(super) _card: CardGuard,
}
