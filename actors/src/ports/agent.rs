//! An assistant, as a session uses one: opened per session, in that session's directory, under that
//! session's lease. Implemented over OpenCode by `src/adapters/opencode`; scripted in tests.
//!
//! Who holds the lease of a session owns its child. [`Agents::open`] takes the lease first, ends whatever a
//! dead owner left behind (the sweep), and only then starts anything. Dropping an [`Agent`] closes the child's
//! lifeline without blocking; its warden then ends every descendant and frees the lease.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::Pending;
pub use crate::domain::assistant::{
    AgentError, AgentEvent, Attachment, Carried, ExitReport, Prompt, RequestId, TurnEnd,
};
use crate::domain::ids::{ConversationId, SessionId, TurnId, WorkerDir, WorkerId};
pub use crate::domain::permission::{Asked, AskedKind, Choice, Question, Reply};
use crate::domain::turn::StoredTurn;

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
    /// Where the boot says what it waits for, for `ps`.
    pub waiting: Waiting,
}

/// What a boot waits for, in words for people. Shared by who boots and who shows it.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Arc<Mutex<Option<String>>>);

impl Waiting {
    pub fn set(&self, what: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    pub fn get(&self) -> Option<String> {
        let what = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        what.clone()
    }
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
    /// `files` are the prompt's attachments with their bytes, in the same order.
    fn deliver(&self, prompt: Prompt, files: Vec<Carried>) -> Pending<Result<(), AgentError>>;

    /// Asks the assistant to stop what it does in this conversation. The turn still ends by its event.
    fn abort(&self, conversation: ConversationId) -> Pending<Result<(), AgentError>>;

    /// Answers a permission request or a question. One that is not waited for any more is answered already: no error.
    fn reply(&self, request: RequestId, reply: Reply) -> Pending<Result<(), AgentError>>;

    /// The planned stop: asked (2 s), TERM (2 s), KILL of every descendant; done when none is left and
    /// the lease is free. Idempotent.
    fn stop(&self) -> Pending<()>;
}
