//! An assistant, as a session uses one: opened per session, in that session's directory, under that
//! session's lease. Implemented over OpenCode by `src/adapters/opencode`; scripted in tests.
//!
//! Who holds the lease of a session owns its child. [`Agents::open`] takes the lease first, ends whatever a
//! dead owner left behind (the sweep), and only then starts anything. Dropping an [`Agent`] closes the child's
//! lifeline without blocking; its warden then ends every descendant and frees the lease.

use thiserror::Error;
use tokio::sync::mpsc;

use super::Pending;
use crate::domain::ids::{ConversationId, ModelId, SessionId, TurnId, WorkerDir, WorkerId};
use crate::domain::item::Draft;
use crate::domain::turn::{StoredTurn, TurnError, Usage};

/// Starts assistants. One per kind of assistant and process.
pub trait Agents: Send + Sync + 'static {
    /// Takes the lease, sweeps, starts the child and waits until it answers. Dropping the future ends what
    /// it had started. The deadline counts from when the boot really starts, not from the queue for a boot slot.
    fn open(&self, spec: OpenSpec) -> Pending<Result<Opened, AgentError>>;
}

#[derive(Clone, Debug)]
pub struct OpenSpec {
    pub worker: WorkerId,
    pub session: SessionId,
    pub directory: WorkerDir,
    /// Rises with each start of this session's actor in this process; for logs and file names.
    pub incarnation: u64,
}

/// A started assistant.
pub struct Opened {
    pub agent: Box<dyn Agent>,
    /// Bounded; the adapter coalesces text deltas while the receiver is slow. Closed only after [`AgentEvent::Exited`].
    pub events: mpsc::Receiver<AgentEvent>,
}

pub trait Agent: Send + Sync + 'static {
    fn pid(&self) -> u32;

    /// Resident memory of the child's process, 0 when unknown.
    fn rss_bytes(&self) -> u64;

    /// Finds the session's conversation (`known` by its id; else by our session id in its metadata) or
    /// creates it with `title`.
    fn conversation(
        &self,
        known: Option<ConversationId>,
        title: String,
    ) -> Pending<Result<ConversationId, AgentError>>;

    /// What the store says about the turn.
    fn lookup(
        &self,
        conversation: ConversationId,
        turn: TurnId,
    ) -> Pending<Result<StoredTurn, AgentError>>;

    /// Hands over a prompt under ids derived from the turn's id, and waits for the proof that it arrived
    /// (the stored user message or an event within 5 s). Afterwards [`AgentEvent`]s of this turn follow, exactly
    /// one [`AgentEvent::TurnEnded`] last.
    fn deliver(&self, prompt: Prompt) -> Pending<Result<(), AgentError>>;

    /// Asks the assistant to stop what it does in this conversation. The turn still ends by its event.
    fn abort(&self, conversation: ConversationId) -> Pending<Result<(), AgentError>>;

    /// Answers a permission request or a question with no.
    fn reject(&self, request: RequestId, reason: String) -> Pending<Result<(), AgentError>>;

    /// The planned stop: asked (2 s), TERM (2 s), KILL of every descendant; done when none is left and
    /// the lease is free. Idempotent.
    fn stop(&self) -> Pending<()>;
}

#[derive(Clone, Debug)]
pub struct Prompt {
    pub conversation: ConversationId,
    pub turn: TurnId,
    pub content: String,
    pub model: Option<ModelId>,
}

/// A pending permission request or question of the assistant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub String);

#[derive(Clone, Debug, PartialEq)]
pub enum AgentEvent {
    /// A piece of the turn's content.
    Item { turn: TurnId, draft: Draft },
    /// The assistant's provider refused and it will try again by itself in `next_ms`.
    Retrying {
        turn: TurnId,
        attempt: u32,
        next_ms: u64,
        message: String,
    },
    /// The assistant waits for an answer from a person.
    Asked {
        turn: TurnId,
        request: RequestId,
        what: String,
    },
    /// A request was answered, rejected or dropped.
    Settled { request: RequestId },
    /// Sign of life of a running turn without content.
    Alive { turn: TurnId },
    /// The turn is over in the assistant's store. Nothing more of it follows.
    TurnEnded { turn: TurnId, ended: TurnEnd },
    /// The child is gone; the last event.
    Exited { report: ExitReport },
}

#[derive(Clone, Debug, PartialEq)]
pub enum TurnEnd {
    Complete {
        usage: Option<Usage>,
    },
    Aborted {
        usage: Option<Usage>,
    },
    Failed {
        error: TurnError,
        usage: Option<Usage>,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitReport {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The last lines the child printed, without secrets.
    pub last_lines: Vec<String>,
}

#[derive(Debug, Clone, Error)]
pub enum AgentError {
    /// No usable assistant on this machine. Trying again will not help.
    #[error("{0}")]
    Missing(String),
    /// The assistant answers, but says that its configuration is broken. Trying again will not help.
    #[error("{0}")]
    Misconfigured(String),
    /// Somebody else holds the session's or the directory's lease.
    #[error("{0}")]
    Leased(String),
    /// It did not start, or did not answer in time.
    #[error("{0}")]
    Boot(String),
    /// A request failed or the child is gone.
    #[error("{0}")]
    Failed(String),
}

impl AgentError {
    /// Whether the same call can succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Missing(_) | Self::Misconfigured(_))
    }
}
