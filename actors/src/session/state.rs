//! A session's state: the machine, the child behind its guard, the tasks.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use crate::domain::ids::SessionId;
use crate::domain::inbox::OpenTurn;
use crate::domain::session::{SessionLimits, SessionMachine};
use crate::machine::{Connections, Ports, WorkerSpec};
use crate::ports::agent::{Agent, Opened, Waiting};
use crate::ports::link::{Credential, Link};
use crate::supervision::{Address, Gauge, Tasks};
use crate::table::{ActorTable, CardGuard};
use crate::worker::WorkerMsg;

use super::messages::SessionMsg;

pub struct SessionArgs {
    pub session: SessionId,
    pub worker: Arc<WorkerSpec>,
    pub parent: Address<WorkerMsg>,
    pub ports: Ports,
    pub link: Arc<dyn Link>,
    pub credential: Credential,
    pub boot_id: String,
    pub connections: Connections,
    pub limits: SessionLimits,
    /// One permit per live child of the worker.
    pub slots: Arc<Semaphore>,
    pub table: ActorTable,
    pub incarnation: u64,
    pub gauge: Gauge,
    /// Crashes of earlier incarnations.
    pub restarts: u32,
    pub first: Option<OpenTurn>,
}

/// A started child with the slot it occupies.
pub struct OpenedChild {
    pub opened: Opened,
    pub slot: OwnedSemaphorePermit,
}

/// The running child. Dropping it closes the child's lifeline and frees the slot.
pub(super) struct ChildGuard {
    pub agent: Arc<dyn Agent>,
    pub _slot: OwnedSemaphorePermit,
    /// Done when the event stream has ended.
    pub events_over: tokio::sync::watch::Receiver<bool>,
}

pub struct SessionState {
    pub(super) args: SessionArgs,
    pub(super) myself: Address<SessionMsg>,
    pub(super) machine: SessionMachine,
    pub(super) tasks: Tasks,
    pub(super) child: Option<ChildGuard>,
    pub(super) opening: Option<AbortHandle>,
    /// What the child that is being opened waits for.
    pub(super) waiting: Waiting,
    /// Counts the children of this incarnation, so that late words of a dead one are dropped.
    pub(super) child_number: u64,
    pub(super) ticking: Option<AbortHandle>,
    pub(super) _card: CardGuard,
}
