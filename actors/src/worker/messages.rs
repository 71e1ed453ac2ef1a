//! What a worker is told.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::domain::command::{Order, Part, Refused};
use crate::domain::ids::{CommandId, SessionId, TurnId};
use crate::domain::inbox::Inbox;
use crate::domain::phase::Phase;
use crate::machine::WorkerSpec;
use crate::ports::link::Credential;
use crate::supervision::Named;
#[cfg(debug_assertions)]
use crate::supervision::fault::Fault;

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
    /// What a person wants of a session's assistant.
    Wish {
        session: SessionId,
        wish: Wish,
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// A turn that no session could take could not be closed either: it is tried again.
    CloseAgain(TurnId),
    /// About a command of an owner's.
    Command(CommandMsg),
    /// About the assistant that plays a part.
    Role(Part, RoleNews),
    /// About the tasks of this directory.
    Tasks(TaskNews),
    /// Stop all sessions, then stop.
    Stop,
    #[cfg(debug_assertions)]
    /// Debug builds: do this wrong, or let one session do it.
    Fault(Option<SessionId>, Fault),
}

impl Named for WorkerMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Connected(_) => "Connected",
            Self::Snapshot(_) => "Snapshot",
            Self::Standing(_) => "Standing",
            Self::Configure(_) => "Configure",
            Self::SlotWanted(_) => "SlotWanted",
            Self::SessionDue(_) => "SessionDue",
            Self::RestartSession(_) => "RestartSession",
            Self::Wish { .. } => "Wish",
            Self::CloseAgain(_) => "CloseAgain",
            Self::Command(_) => "Command",
            Self::Role(..) => "Role",
            Self::Tasks(_) => "Tasks",
            Self::Stop => "Stop",
            #[cfg(debug_assertions)]
            Self::Fault(..) => "Fault",
        }
    }
}

pub enum CommandMsg {
    /// It is this worker's to carry out, if it can be.
    Taken(CommandId, Result<Order, Refused>),
    /// Nothing more is to be done about it: it has ended, or is somebody else's.
    Over(CommandId),
    /// The worker stops and waits for no result any more.
    Leave,
}

pub enum RoleNews {
    /// It has lived long enough to be taken for a success.
    Steady,
    /// The backoff after its crash is over.
    Due,
    /// A person wants it replaced, or un-parked.
    Restart,
    #[cfg(debug_assertions)]
    /// Debug builds: let it do this wrong.
    Fault(Fault),
}

pub enum TaskNews {
    /// A task was in hand when an earlier supervisor ended.
    Left,
    /// The queue found nothing, and the snapshot said otherwise: look once more.
    Look,
    /// The backoff after its crash is over.
    Due,
    /// A person wants it looked at again, or un-parked.
    Restart,
    /// A task waits for the directory: send away whoever has no turn there.
    DirectoryWanted,
    #[cfg(debug_assertions)]
    /// Debug builds: let it do this wrong.
    Fault(Fault),
}

/// What a person wants of a session's assistant, turns aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Up, and kept for another idle time.
    Wake,
    /// Given up, when no turn needs it.
    Rest,
}

/// What `ps` says of a worker whose token somebody else took.
pub const DISPLACED: &str = "another supervisor took this worker over; stopped here for good";

/// How a worker stands with its deployment when it does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub phase: Phase,
    pub detail: String,
}
