//! A worker's state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::domain::command::{Casting, Part};
use crate::domain::ids::{CommandId, SessionId, TurnId};
use crate::domain::inbox::Inbox;
use crate::domain::ledger::RestartLedger;
use crate::machine::{Connections, Ports, Settings, WorkerSpec};
use crate::ports::link::{Credential, Link};
use crate::role::RoleMsg;
use crate::session::SessionMsg;
use crate::supervision::{Address, Gauge, Tasks};
use crate::table::{ActorTable, CardGuard};
use crate::task_queue::TaskMsg;

use super::messages::WorkerMsg;

pub struct WorkerArgs {
    pub spec: Arc<WorkerSpec>,
    pub ports: Ports,
    pub link: Arc<dyn Link>,
    pub settings: Settings,
    pub boot_id: String,
    pub connections: Connections,
    pub table: ActorTable,
    pub incarnation: u64,
    pub gauge: Gauge,
    /// Crashes of earlier incarnations.
    pub restarts: u32,
}

/// One session, as its worker knows it.
pub(super) struct Entry {
    pub actor: Option<Address<SessionMsg>>,
    /// The card of one that has crashed: it goes with its successor's, or with the worker.
    pub fallen: Option<CardGuard>,
    pub ledger: RestartLedger,
}

/// One assistant that was started from afar.
pub(super) struct RoleEntry {
    pub actor: Option<Address<RoleMsg>>,
    pub ledger: RestartLedger,
    pub casting: Arc<Casting>,
    /// The command that waits for its first start.
    pub asked: Option<CommandId>,
    /// It was told to end.
    pub stopping: bool,
    /// The commands that wait for its end.
    pub stops: Vec<CommandId>,
}

/// The task queue, from the first task on.
pub(super) struct QueueEntry {
    pub actor: Option<Address<TaskMsg>>,
    /// The card of one that has crashed: it goes with its successor's, or with the worker.
    pub fallen: Option<CardGuard>,
    pub ledger: RestartLedger,
    /// Of all its incarnations one works at a time.
    pub turnstile: Arc<Semaphore>,
    /// Something was heard while the present one lived: another follows it.
    pub again: bool,
}

pub struct WorkerState {
    pub(super) args: WorkerArgs,
    pub(super) myself: Address<WorkerMsg>,
    pub(super) credential: Option<Credential>,
    pub(super) inbox: Option<Inbox>,
    pub(super) sessions: BTreeMap<SessionId, Entry>,
    pub(super) roles: BTreeMap<Part, RoleEntry>,
    /// What the deployment is being told of a role.
    pub(super) reports: BTreeMap<Part, AbortHandle>,
    /// Commands that are asked for, carried out, or whose end is not acknowledged.
    pub(super) in_hand: BTreeSet<CommandId>,
    /// `None` in a worker that never had a task.
    pub(super) queue: Option<Box<QueueEntry>>,
    /// The journal was asked for what a predecessor left.
    pub(super) looked: bool,
    /// It has left something, and nobody has taken it up.
    pub(super) left: bool,
    pub(super) slots: Arc<Semaphore>,
    /// Turns that are closed here because no session can take them; the snapshot still names them.
    pub(super) closing: BTreeSet<TurnId>,
    pub(super) stopping: bool,
    /// Nothing is left of it but results of commands on their way.
    pub(super) leaving: bool,
    pub(super) tasks: Tasks,
    pub(super) _card: CardGuard,
}
