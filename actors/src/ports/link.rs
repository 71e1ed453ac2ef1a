//! A deployment, as the tree sees it. The link is cheap to share and outlives the bridge actor: calls that
//! have no answer yet and the streams of running turns live in it, so a bridge's restart loses neither.
//! The bridge's part is to keep [`Link::drive`] running: one socket, subscriptions in, mutations out.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;

use super::Pending;
pub use crate::domain::call::{CallError, Finished, StreamError};
use crate::domain::ids::{TurnId, WorkerId};
use crate::domain::item::Draft;
use crate::domain::token::WorkerToken;
use crate::domain::turn::Ending;

/// A worker's right to write: its token and, once connected, its epoch.
#[derive(Clone, Debug)]
pub struct Credential {
    pub token: Arc<WorkerToken>,
    pub epoch: u64,
}

impl Credential {
    pub fn worker(&self) -> &WorkerId {
        self.token.worker()
    }
}

pub trait Link: Send + Sync + 'static {
    /// Runs a mutation. It stays queued over outages and bridge restarts until the deployment answers it;
    /// a caller never gets an error for "maybe executed". Arguments carry their own idempotency key.
    fn mutate(&self, function: &'static str, args: Value) -> Pending<Result<Value, CallError>>;

    /// Watches a query until the sender's other end is closed. A value is sent when it changed, errors of
    /// the query itself as `Err`. Survives reconnects and bridge restarts.
    fn watch(
        &self,
        function: &'static str,
        args: Value,
        to: mpsc::Sender<Result<Value, CallError>>,
    );

    /// Opens the stream of a claimed turn at `next_index`. Opening an open stream again changes its
    /// credential only: what it holds is kept.
    fn open_stream(&self, turn: TurnId, credential: Credential, next_index: u64);

    /// Appends to an open stream. Never blocks. `Err` when the stream is unknown or failed, and then the turn must end; or
    /// when it was full, and then the turn goes on.
    fn push(&self, turn: &TurnId, drafts: Vec<Draft>) -> Result<(), StreamError>;

    /// Appends an answer that is whole in the assistant's store. It can wait, so it does: until the stream has room for
    /// all of it, however long the deployment is away. Whoever drops it asks the store again.
    fn recover(&self, turn: TurnId, drafts: Vec<Draft>) -> Pending<Result<(), StreamError>>;

    /// Ends a stream: the record goes to the outbox (fsync), then to the deployment with what is
    /// unacknowledged. Resolves with the deployment's answer. Works for a turn without an open stream, too.
    fn finish(
        &self,
        turn: TurnId,
        credential: Credential,
        ending: Ending,
    ) -> Pending<Result<Finished, CallError>>;

    /// Sends what the outbox holds for this worker under its present epoch. Resolves when all are answered. From the call on,
    /// all that the worker writes goes out under this credential, also what a session finishes that still has the older one.
    fn replay(&self, credential: Credential) -> Pending<Result<usize, CallError>>;

    /// Keeps the socket up until dropped: connects, resends, flushes, backs off. Never returns while the
    /// deployment can be tried again; `Err` is for good (for example a protocol that cannot be spoken).
    fn drive(&self) -> Pending<LinkDown>;

    /// Where the connection stands now.
    fn status(&self) -> LinkStatus;

    /// Resolves when everything handed over so far is acknowledged or `within_ms` are over.
    fn flush(&self, within_ms: u64) -> Pending<bool>;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkStatus {
    pub phase: LinkPhase,
    /// Round trip of the last mutation, in microseconds.
    pub rtt_us: Option<u64>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// Calls and streams that wait for an answer.
    pub waiting: usize,
    /// Connection attempts since the last success.
    pub attempts: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkPhase {
    #[default]
    Connecting,
    Synced,
    Offline,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkDown(pub String);
