//! What a link's handle, its driver and its finishes share: the book of streams and the one append in flight.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orchestrator_actors::domain::ids::TurnId;
use orchestrator_actors::domain::item::Draft;
use orchestrator_actors::domain::stream::{
    AppendResult, Batch, PushError, Right, StreamBook, Taken,
};
use orchestrator_actors::ports::link::{CallError, LinkPhase, StreamError};
use orchestrator_actors::ports::outbox::{FinishRecord, Outbox};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::{Answer, Connection, lock};
use super::settle::{self, Done};
use crate::adapters::clock::wall_ms;

/// Between appends that fail as a whole.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_CAP: Duration = Duration::from_secs(5);

pub struct Core {
    pub connection: Arc<Connection>,
    pub book: Mutex<StreamBook>,
    pub outbox: Arc<dyn Outbox>,
    /// Finishes under way, by turn: a second one joins the first.
    pub settling: Mutex<BTreeMap<TurnId, watch::Receiver<Option<Done>>>>,
    /// Bumped when the book changed by an answer or a new right.
    progress: watch::Sender<u64>,
    /// Something was pushed, or may be appended now.
    pushed: Notify,
    /// The append in flight. Kept here so that the next driver still gets its answer.
    flight: tokio::sync::Mutex<Option<oneshot::Receiver<Answer>>>,
    pub end: CancellationToken,
}

/// Nothing: the append loop does not end by itself.
pub enum Never {}

#[derive(Deserialize)]
struct AppendAnswer {
    results: Vec<AppendResult>,
}

impl Core {
    pub fn new(
        connection: Arc<Connection>,
        outbox: Arc<dyn Outbox>,
        end: CancellationToken,
    ) -> Self {
        Self {
            connection,
            book: Mutex::default(),
            outbox,
            settling: Mutex::default(),
            progress: watch::Sender::new(0),
            pushed: Notify::new(),
            flight: tokio::sync::Mutex::default(),
            end,
        }
    }

    /// Whoever waits for the book looks again, and the append loop too.
    pub fn bump(&self) {
        self.progress.send_modify(|count| *count += 1);
        self.pushed.notify_one();
    }

    pub fn wake_appends(&self) {
        self.pushed.notify_one();
    }

    pub fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    /// Finishes what the outbox holds of a turn.
    pub fn resume(self: &Arc<Self>, record: FinishRecord, right: &Right) -> settle::Begun {
        let turn = record.turn.clone();
        settle::start(self, &turn, right, false, |book| {
            book.restore(turn.clone(), right.clone(), record.items.clone());
            record
        })
    }

    /// Waits for room as often as it needs to; only what is not in the book yet is held here.
    pub async fn recover(
        &self,
        turn: &TurnId,
        mut drafts: VecDeque<Draft>,
    ) -> Result<(), StreamError> {
        loop {
            let mut progress = self.progress();
            // Its own statement: the lock must not live through the match.
            let taken = lock(&self.book).recover(turn, &mut drafts, wall_ms());
            self.wake_appends();
            match taken.map_err(stream_error)? {
                Taken::Whole => return Ok(()),
                // Fails only when the link is gone, and we with it.
                Taken::InPart => drop(progress.changed().await),
            }
        }
    }

    pub fn has_reached(&self, streams: &[(TurnId, u64)]) -> bool {
        let book = lock(&self.book);
        let mut streams = streams.iter();
        streams.all(|(turn, index)| book.has_reached(turn, *index))
    }

    pub async fn append_forever(&self) -> Never {
        let mut flight = self.flight.lock().await;
        let spacing = self.connection.settings.append_spacing;
        let mut last_sent: Option<Instant> = None;
        let mut retry = RETRY_FIRST;
        loop {
            if flight.is_none() {
                self.until_synced().await;
                if let Some(sent) = last_sent {
                    tokio::time::sleep_until(sent + spacing).await;
                }
                *flight = self.send_append();
                last_sent = Some(Instant::now());
            }
            let Some(receiver) = flight.as_mut() else {
                last_sent = None;
                self.pushed.notified().await;
                continue;
            };
            let answer = receiver.await.unwrap_or(Err(CallError::Closed));
            *flight = None;
            if self.take_append(answer) {
                retry = RETRY_FIRST;
            } else {
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY_CAP);
            }
        }
    }

    async fn until_synced(&self) {
        let mut standing = self.connection.standing();
        // Fails only when the connection is gone, and that is us.
        let _ = standing.wait_for(|s| s.phase == LinkPhase::Synced).await;
    }

    /// Without an await between the two, so that no driver's end can part them.
    fn send_append(&self) -> Option<oneshot::Receiver<Answer>> {
        let batches = lock(&self.book).next_batch()?;
        let batches: Vec<Value> = batches.iter().map(batch_json).collect();
        let args = json!({ "batches": batches });
        match self.connection.call("chunks:append", args) {
            Ok(receiver) => Some(receiver),
            Err(error) => {
                self.take_append(Err(error));
                None
            }
        }
    }

    /// Whether the call as a whole went through.
    fn take_append(&self, answer: Answer) -> bool {
        let results = answer.and_then(|value| {
            serde_json::from_value::<AppendAnswer>(value)
                .map_err(|error| CallError::Server(format!("unreadable answer: {error}")))
        });
        let mut book = lock(&self.book);
        let (went_through, refused) = match results {
            Ok(answer) => (true, book.acknowledge(&answer.results)),
            Err(error) => {
                let permanent = matches!(error, CallError::Refused { .. });
                tracing::warn!(%error, "append failed");
                let refused = book.call_failed(&error.to_string(), permanent);
                (false, refused.into_iter().collect())
            }
        };
        drop(book);
        for (turn, refusal) in refused {
            tracing::warn!(%turn, code = refusal.code, reason = %refusal.message, "stream refused");
        }
        self.bump();
        went_through
    }
}

pub fn stream_error(error: PushError) -> StreamError {
    match error {
        PushError::Unknown => StreamError::Unknown,
        PushError::Refused(reason) => StreamError::Refused(reason),
    }
}

fn batch_json(batch: &Batch) -> Value {
    json!({
        "token": batch.right.token.expose(),
        "epoch": batch.right.epoch,
        "turn": batch.turn,
        "items": batch.items,
    })
}
