//! What a session is told.

use tokio::sync::OwnedSemaphorePermit;

use super::state::OpenedChild;
use crate::domain::assistant::AgentError;
use crate::domain::inbox::OpenTurn;
use crate::domain::session::{Closing, Input};
use crate::ports::link::Credential;

pub enum SessionMsg {
    /// A snapshot's view: the session's oldest open turn, or none.
    Wanted(Option<OpenTurn>),
    /// Another session needs the child slot; give it up when unused.
    Release,
    /// A person wants the child replaced, or the session un-parked.
    Restart,
    /// Stop the child, settle or leave the turn, then stop.
    Close(Closing),
    /// The idle time changed by a reload.
    SetIdle(u64),
    /// The worker has a new right to write: a new epoch, or a new token.
    Renew(Credential),
    /// The open task of this child is done.
    ChildOpened {
        child: u64,
        result: Result<Box<OpenedChild>, AgentError>,
    },
    /// A task or the event stream of this child reports. The permit is the stream's credit.
    ChildSaid {
        child: u64,
        input: Input,
        credit: Option<OwnedSemaphorePermit>,
    },
    /// The deployment answered.
    DeploymentSaid(Input),
    /// Time to look at timers.
    Tick,
    #[cfg(debug_assertions)]
    /// Debug builds: crash now.
    Panic,
}
