//! What the machine is told.

use ractor::ActorId;
use tokio::sync::oneshot;

use super::{Desired, ReloadReport, StopReport};
use crate::domain::ids::{DeploymentUrl, SessionId, WorkerId};
use crate::supervision::Named;
#[cfg(debug_assertions)]
use crate::supervision::fault::Fault;
use crate::table::ActorKey;
use crate::worker::Wish;

pub enum MachineMsg {
    /// Become what `desired` says.
    Reload {
        desired: Desired,
        dry_run: bool,
        reply: oneshot::Sender<ReloadReport>,
    },
    /// Restart or un-park one actor.
    Restart {
        actor: ActorKey,
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// What a person wants of a session's assistant.
    Wish {
        worker: WorkerId,
        session: SessionId,
        wish: Wish,
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Stop everything in order.
    Stop { reply: oneshot::Sender<StopReport> },
    /// This incarnation of a worker was told to stop some time ago.
    StopDue(WorkerId, ActorId),
    /// The backoff of a crashed worker is over.
    WorkerDue(WorkerId),
    /// The backoff of a crashed bridge is over.
    BridgeDue(DeploymentUrl),
    /// The backoff of the embedded deployment's watcher is over.
    DeploymentDue,
    /// The deployments have everything, or their time is over.
    Flushed(bool),
    #[cfg(debug_assertions)]
    /// Debug builds: let one actor do this wrong.
    Fault { actor: ActorKey, fault: Fault },
}

impl Named for MachineMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Reload { .. } => "Reload",
            Self::Restart { .. } => "Restart",
            Self::Wish { .. } => "Wish",
            Self::Stop { .. } => "Stop",
            Self::StopDue(..) => "StopDue",
            Self::WorkerDue(_) => "WorkerDue",
            Self::BridgeDue(_) => "BridgeDue",
            Self::DeploymentDue => "DeploymentDue",
            Self::Flushed(_) => "Flushed",
            #[cfg(debug_assertions)]
            Self::Fault { .. } => "Fault",
        }
    }
}
