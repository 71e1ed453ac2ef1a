//! One chat session as a state machine: inputs in, effects out, no clock and no task of its own. The
//! `SessionActor` carries the effects out and feeds their results back.
//!
//! It keeps the first promise: before **every** delivery the turn is looked up in the assistant's store, and
//! an answer that has begun is never asked for again. Each way a turn can be settled is in `settle.rs`; what
//! happens to the child is in `child.rs`.

mod advance;
mod child;
mod earlier;
mod guard;
mod machine;
mod requests;
mod settle;
mod standing;
#[cfg(test)]
mod tests;
mod turn;

pub use machine::{Changeable, SessionLimits, SessionMachine, View};
pub use turn::Stage;

use super::assistant::{AgentError, AgentEvent, Attachment, Prompt, RequestId};
use super::call::{CallError, Finished, StreamError};
use super::ids::{ConversationId, ModelId, RequestKey, TurnId};
use super::inbox::OpenTurn;
use super::item::Draft;
use super::permission::{Asked, Reply, Standing};
use super::turn::{Ending, StoredTurn};

/// What happens to a session.
#[derive(Clone, Debug)]
pub enum Input {
    /// A snapshot's view: the session's oldest open turn, or none.
    Wanted(Option<OpenTurn>),
    /// The child is up, or did not come up.
    Opened(Result<(), AgentError>),
    /// The deployment answered the claim of the current turn.
    Claimed(Result<Claim, CallError>),
    /// The conversation was found or made, and its confirmation is acknowledged.
    Conversed(Result<ConversationId, ConverseError>),
    LookedUp(Result<StoredTurn, AgentError>),
    Delivered(Result<(), AgentError>),
    Event(AgentEvent),
    /// The deployment answered about a request that was put there, or whose end was asked for.
    RequestStands(RequestKey, Result<Standing, CallError>),
    /// A snapshot says that a request has ended.
    RequestEnded(RequestKey),
    /// The assistant took a reply, or did not.
    Replied(RequestId, Result<(), AgentError>),
    /// This turn's stream takes no more, or had no room for a part of it.
    StreamRefused(TurnId, StreamError),
    /// What the assistant's store has of this turn is in its stream, or is refused there.
    Recovered(TurnId, Result<(), StreamError>),
    /// The deployment answered the finish of this turn.
    Finished(TurnId, Result<Finished, CallError>),
    /// The deployment failed to take this word; some time has passed since.
    Unsaid(Saying),
    /// The planned stop of the child is over: it is gone, or was given up on and its lifeline is closed. Whoever opens the next
    /// one waits for its lease.
    ChildStopped,
    /// Time passed.
    Tick,
    /// Another session of the worker needs the child slot.
    Release,
    /// A person wants the child replaced, or the session un-parked.
    Restart,
    /// A person wants the child up without a turn, or kept up.
    Wake,
    /// The session's actor is to end.
    Close(Closing),
}

impl Input {
    /// What the assistant did not do as asked; mostly a reason to replace it.
    pub fn failure(&self) -> Option<&AgentError> {
        match self {
            Self::Conversed(Err(ConverseError::Agent(error)))
            | Self::LookedUp(Err(error))
            | Self::Delivered(Err(error)) => Some(error),
            _ => None,
        }
    }
}

/// Why a session's actor is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The supervisor or its worker stops; the session goes on later.
    Supervisor,
    /// The owner ended the session.
    Ended,
}

/// The deployment's answer to a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    Granted(Box<Granted>),
    /// The turn is closed there.
    Closed,
    /// An older turn of the session is open.
    NotNext,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    pub content: String,
    pub model: Option<ModelId>,
    pub agent: Option<String>,
    pub attachments: Vec<Attachment>,
    pub title: String,
    pub conversation: Option<ConversationId>,
    pub abort: bool,
    pub next_index: u64,
    /// The machine's boot id at the first claim.
    pub claimed_boot: String,
    /// Nobody has claimed the turn before.
    pub first: bool,
    /// Earlier turns of the session whose end is provisional, claimed under this very store: it may know their answers.
    pub unsettled: Vec<Unsettled>,
}

/// A turn that the deployment closed before its assistant's store could be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    pub turn: TurnId,
    pub next_index: u64,
}

#[derive(Clone, Debug)]
pub enum ConverseError {
    Agent(AgentError),
    Call(CallError),
}

/// What the actor has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    OpenChild,
    /// The planned stop. Answered by [`Input::ChildStopped`], also while the child still opens.
    StopChild,
    Claim(TurnId),
    OpenStream {
        turn: TurnId,
        next_index: u64,
    },
    Converse {
        known: Option<ConversationId>,
        title: String,
    },
    Lookup(ConversationId, TurnId),
    Deliver(Box<Prompt>),
    Abort(ConversationId),
    /// Put a request before the owner. Answered by [`Input::RequestStands`].
    Ask {
        key: RequestKey,
        turn: TurnId,
        asked: Box<Asked>,
        timeout_ms: u64,
    },
    /// Ask how a request has ended. Answered by [`Input::RequestStands`].
    Take(RequestKey),
    /// Nobody waits for the answer any more.
    Withdraw(RequestKey),
    /// Answered by [`Input::Replied`].
    Reply(RequestId, Reply),
    Push(TurnId, Vec<Draft>),
    /// What the assistant's store has; waits for room. Answered by [`Input::Recovered`].
    Recover(TurnId, Vec<Draft>),
    Finish(TurnId, Ending),
    /// The same once more: the deployment failed to take it.
    FinishAgain(TurnId, Ending),
    /// People call the session this.
    Title(String),
    /// Its owner has named it in the assistant itself: so is the deployment to call it.
    Retitle(String),
    /// Tell the deployment how the session stands.
    Say(Saying, Option<String>),
    /// The actor has nothing left to do and stops.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    Active,
    Idle,
    Failed,
    Ended,
}

impl Saying {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Failed => "failed",
            Self::Ended => "ended",
        }
    }
}
