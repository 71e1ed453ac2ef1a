//! A task queue's state: the loop's task, and the three ways to call it off.

use std::sync::Arc;

use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::messages::TaskMsg;
use super::show::Shown;
use crate::machine::{Ports, WorkerSpec};
use crate::ports::git::Git;
use crate::ports::link::{Credential, Link};
use crate::supervision::{Address, Gauge, Tasks};
use crate::table::{ActorTable, CardGuard};
use crate::worker::WorkerMsg;

pub struct TaskArgs {
    pub worker: Arc<WorkerSpec>,
    pub parent: Address<WorkerMsg>,
    pub ports: Ports,
    pub link: Arc<dyn Link>,
    pub credential: Credential,
    /// One permit: whose loop may run.
    pub turnstile: Arc<Semaphore>,
    pub table: ActorTable,
    pub incarnation: u64,
    pub gauge: Gauge,
    /// Lives before this one.
    pub restarts: u32,
}

pub struct TaskState {
    pub(super) shown: Shown,
    pub(super) myself: Address<TaskMsg>,
    pub(super) credential: watch::Sender<Credential>,
    pub(super) calls: Calls,
    pub(super) git: Arc<dyn Git>,
    pub(super) tasks: Tasks,
    pub(super) _card: CardGuard,
}

/// How a loop is told to do otherwise.
#[derive(Clone, Default)]
pub(super) struct Calls {
    /// Stop now.
    pub stop: CancellationToken,
    /// Take no further task.
    pub drain: CancellationToken,
    /// Look again whether a blocked loop can go on.
    pub look: Arc<Notify>,
}
