//! What a bridge is told.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::domain::ids::WorkerId;
use crate::domain::token::WorkerToken;
use crate::ports::link::{Credential, LinkDown};
#[cfg(debug_assertions)]
use crate::supervision::fault::Fault;
use crate::supervision::{Address, Named};
use crate::worker::WorkerMsg;

pub enum BridgeMsg {
    /// Serve this worker: connect it, deliver its outbox, watch its inbox, keep its presence fresh.
    /// Attaching a worker again replaces whom its snapshots go to.
    Attach(Attach),
    Detach(WorkerId),
    /// The worker crashed too often: its claimed turns are closed with that reason, then it is detached.
    Park(Arc<WorkerToken>),
    /// An attachment got its epoch, or lost it.
    Holds(WorkerId, Option<Credential>),
    /// The link cannot be driven any more.
    DriveEnded(LinkDown),
    /// Flush, disconnect every worker, then reply whether everything is handed over.
    Shutdown {
        flush_ms: u64,
        reply: oneshot::Sender<bool>,
    },
    #[cfg(debug_assertions)]
    /// Debug builds: do this wrong.
    Fault(Fault),
}

impl Named for BridgeMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Attach(_) => "Attach",
            Self::Detach(_) => "Detach",
            Self::Park(_) => "Park",
            Self::Holds(..) => "Holds",
            Self::DriveEnded(_) => "DriveEnded",
            Self::Shutdown { .. } => "Shutdown",
            #[cfg(debug_assertions)]
            Self::Fault(_) => "Fault",
        }
    }
}

#[derive(Clone)]
pub struct Attach {
    pub token: Arc<WorkerToken>,
    pub worker: Address<WorkerMsg>,
}
