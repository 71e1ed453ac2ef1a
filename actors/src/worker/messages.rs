//! What a worker is told.

use std::sync::Arc;

use crate::domain::ids::SessionId;
use crate::domain::inbox::Inbox;
use crate::domain::phase::Phase;
use crate::machine::WorkerSpec;
use crate::ports::link::Credential;

pub enum WorkerMsg {
    /// The deployment gave this supervisor the token under an epoch; outbox records are delivered.
    Connected(Credential),
    /// What the deployment wants now.
    Snapshot(Inbox),
    /// Why the deployment does not let it serve, or that it waits.
    Standing(Standing),
    /// Settings that change without a restart.
    Configure(Arc<WorkerSpec>),
    /// A session waits for a child slot.
    SlotWanted(SessionId),
    /// The backoff of a crashed session is over.
    SessionDue(SessionId),
    /// A person wants a session's child replaced, or the session un-parked.
    RestartSession(SessionId),
    /// A turn that a parked session could not take is closed (or could not be).
    Refused(SessionId),
    /// Stop all sessions, then stop.
    Stop,
    #[cfg(debug_assertions)]
    /// Debug builds: crash now, or crash one session.
    Panic(Option<SessionId>),
}

/// How a worker stands with its deployment when it does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub phase: Phase,
    pub detail: String,
}
