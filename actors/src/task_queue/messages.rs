//! What a directory's task queue is told.

use crate::ports::link::Credential;
use crate::supervision::Named;
#[cfg(debug_assertions)]
use crate::supervision::fault::Fault;

pub enum TaskMsg {
    /// A new right to write; what is under way goes on under it.
    Renew(Credential),
    /// Bring the task in hand to its end and take no other, then stop.
    Drain,
    /// A person says that something has changed: look at once whether a blocked loop can go on.
    Look,
    /// Undo or keep what is under way, as its phase says, then stop.
    Stop,
    /// The loop has ended: there is nothing left to do, or it was told to.
    Ended,
    /// The loop has panicked.
    Crashed(String),
    #[cfg(debug_assertions)]
    /// Debug builds: do this wrong.
    Fault(Fault),
}

impl Named for TaskMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Renew(_) => "Renew",
            Self::Drain => "Drain",
            Self::Look => "Look",
            Self::Stop => "Stop",
            Self::Ended => "Ended",
            Self::Crashed(_) => "Crashed",
            #[cfg(debug_assertions)]
            Self::Fault(_) => "Fault",
        }
    }
}
