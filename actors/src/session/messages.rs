//! What a session is told.

use tokio::sync::OwnedSemaphorePermit;

use super::state::OpenedChild;
use crate::domain::assistant::AgentError;
use crate::domain::ids::RequestKey;
use crate::domain::inbox::OpenTurn;
use crate::domain::session::{Changeable, Closing, Input};
use crate::ports::link::Credential;
use crate::supervision::Named;
#[cfg(debug_assertions)]
use crate::supervision::fault::Fault;

pub enum SessionMsg {
    /// A snapshot's view: the session's oldest open turn, or none.
    Wanted(Option<OpenTurn>),
    /// A snapshot says that something its owner was asked has ended.
    RequestEnded(RequestKey),
    /// Another session needs the child slot; give it up when unused.
    Release,
    /// A person wants the child replaced, or the session un-parked.
    Restart,
    /// A person wants the child up, or kept up, without a turn.
    Wake,
    /// Stop the child, settle or leave the turn, then stop.
    Close(Closing),
    /// The settings changed by a reload.
    Configure(Changeable),
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
    /// Debug builds: do this wrong.
    Fault(Fault),
}

impl Named for SessionMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Wanted(_) => "Wanted",
            Self::RequestEnded(_) => "RequestEnded",
            Self::Release => "Release",
            Self::Restart => "Restart",
            Self::Wake => "Wake",
            Self::Close(_) => "Close",
            Self::Configure(_) => "Configure",
            Self::Renew(_) => "Renew",
            Self::ChildOpened { .. } => "ChildOpened",
            Self::ChildSaid { .. } => "ChildSaid",
            Self::DeploymentSaid(_) => "DeploymentSaid",
            Self::Tick => "Tick",
            #[cfg(debug_assertions)]
            Self::Fault(_) => "Fault",
        }
    }
}
