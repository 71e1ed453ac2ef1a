//! How a deployment answers.

use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// This call closed the turn.
    Closed,
    /// It was closed before; the first finish stays.
    Already,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StreamError {
    #[error("no stream is open for this turn")]
    Unknown,
    /// The deployment will not take more of this turn: it is closed there, or its items are refused.
    #[error("the deployment refused the stream: {0}")]
    Refused(String),
    /// There was no room for all of it. The stream goes on and names what it lacks, unless the whole answer follows.
    #[error("the stream had no room for a part of the answer")]
    Missed,
}

/// A call that was answered with an error, or can never be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// A `ConvexError({code, message})` of our functions.
    #[error("{message}")]
    Refused { code: String, message: String },
    /// The function failed in some other way.
    #[error("the deployment failed: {0}")]
    Server(String),
    /// The link was closed for good while the call waited.
    #[error("the link is closed")]
    Closed,
}

impl CallError {
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Server(_) => "server",
            Self::Closed => "closed",
        }
    }

    /// Whether the same call may be answered otherwise a little later, without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Server(_) => true,
            // Too many calls wait already: ours, not the owner's hundred messages (that one is never a worker's).
            Self::Refused { code, .. } => code == "queue_full",
            Self::Closed => false,
        }
    }
}
