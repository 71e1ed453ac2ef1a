//! What an assistant's actor is told.

use crate::domain::assistant::{AgentError, ExitReport};
use crate::ports::role::Player;
use crate::supervision::Named;
#[cfg(debug_assertions)]
use crate::supervision::fault::Fault;

pub enum RoleMsg {
    /// The child was started, or was not.
    Started(Result<Box<dyn Player>, AgentError>),
    /// It has lived long enough to be taken for a success.
    Steadied,
    /// The child is gone, and all that descended from it.
    Exited(ExitReport),
    /// End the child, then stop.
    Stop,
    #[cfg(debug_assertions)]
    /// Debug builds: do this wrong.
    Fault(Fault),
}

impl Named for RoleMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Started(_) => "Started",
            Self::Steadied => "Steadied",
            Self::Exited(_) => "Exited",
            Self::Stop => "Stop",
            #[cfg(debug_assertions)]
            Self::Fault(_) => "Fault",
        }
    }
}
