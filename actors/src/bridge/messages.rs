//! What a bridge is told.

use std::sync::Arc;

use ractor::ActorRef;
use tokio::sync::oneshot;

use crate::domain::ids::WorkerId;
use crate::domain::token::WorkerToken;
use crate::ports::link::{Credential, LinkDown};
use crate::worker::WorkerMsg;

pub enum BridgeMsg {
    /// Serve this worker: connect it, deliver its outbox, watch its inbox, keep its presence fresh.
    /// Attaching a worker again replaces whom its snapshots go to.
    Attach(Attach),
    Detach(WorkerId),
    /// The worker crashed too often: its claimed turns are closed with that reason, then it is detached.
    Park(WorkerId),
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
    /// Debug builds: crash now.
    Panic,
}

#[derive(Clone)]
pub struct Attach {
    pub token: Arc<WorkerToken>,
    pub worker: ActorRef<WorkerMsg>,
}
