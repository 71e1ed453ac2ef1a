//! How a turn is finished: the record to the outbox (fsync), what does not fit to `chunks:append`, the rest
//! with `messages:finish`, and then the record is forgotten.
//!
//! A task of the link does it, so neither the caller's nor the bridge's end stops it. There is one per turn: a
//! second finish, or a replay, joins the first. What another epoch may still deliver stays in the outbox.

use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::ids::TurnId;
use orchestrator_actors::domain::item::Item;
use orchestrator_actors::domain::stream::{Refusal, Rest, Right, StreamBook};
use orchestrator_actors::domain::turn::{Ending, Outcome};
use orchestrator_actors::ports::link::{CallError, Finished};
use orchestrator_actors::ports::outbox::FinishRecord;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::connection::{Answer, lock};
use super::state::Core;

pub type Done = Result<Finished, CallError>;

/// A function that fails for reasons of its own is tried this often in a row; then whoever asked knows, and its record stays.
const TRIES: u32 = 6;
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// A finish under way.
pub struct Begun {
    pub done: watch::Receiver<Option<Done>>,
    /// It had been started by somebody else, perhaps under an older right.
    pub joined: bool,
    /// True or gone once its first call is in the connection's queue.
    queued: watch::Receiver<bool>,
}

impl Begun {
    /// What is begun afterwards reaches the deployment afterwards.
    pub async fn queued(&mut self) {
        let _ = self.queued.wait_for(|queued| *queued).await;
    }
}

/// Finishes a turn under `right`. `enter` is called when no finish of it is under way: it puts what is left
/// into the book and returns the record; `is_new` says that the outbox does not have that yet.
pub fn start(
    core: &Arc<Core>,
    turn: &TurnId,
    right: &Right,
    is_new: bool,
    enter: impl FnOnce(&mut StreamBook) -> FinishRecord,
) -> Begun {
    // Lock order: finishes, then the book.
    let mut settling = lock(&core.settling);
    let mut book = lock(&core.book);
    if let Some(done) = settling.get(turn).cloned() {
        book.adopt(turn, right.clone());
        drop((book, settling));
        core.bump();
        let (_, queued) = watch::channel(true);
        return Begun {
            done,
            joined: true,
            queued,
        };
    }
    let record = enter(&mut book);
    let (done, receiver) = watch::channel(None);
    settling.insert(turn.clone(), receiver.clone());
    drop((book, settling));
    let (first, queued) = watch::channel(false);
    tokio::spawn(run(Arc::clone(core), record, is_new, first, done));
    Begun {
        done: receiver,
        joined: false,
        queued,
    }
}

async fn run(
    core: Arc<Core>,
    record: FinishRecord,
    is_new: bool,
    queued: watch::Sender<bool>,
    done: watch::Sender<Option<Done>>,
) {
    let turn = record.turn.clone();
    let result = tokio::select! {
        () = core.end.cancelled() => Err(CallError::Closed),
        result = settle(&core, record, is_new, &queued) => result,
    };
    drop(queued);
    if let Err(error) = &result {
        tracing::warn!(%turn, code = error.code(), %error, "finish refused");
    }
    {
        let mut settling = lock(&core.settling);
        let mut book = lock(&core.book);
        match &result {
            // Whoever asked says it again: what is left, and whether something of it was refused, is not to be lost till then.
            Err(CallError::Server(_)) => book.unfinished(&turn, true),
            _ => book.close(&turn),
        }
        settling.remove(&turn);
    }
    core.bump();
    done.send_replace(Some(result));
}

pub async fn wait(mut done: watch::Receiver<Option<Done>>) -> Done {
    match done.wait_for(Option::is_some).await {
        Ok(result) => result.clone().unwrap_or(Err(CallError::Closed)),
        Err(_) => Err(CallError::Closed),
    }
}

/// Whether nobody will ever get another answer, so that the record can go.
pub fn is_final(error: &CallError) -> bool {
    match error {
        CallError::Refused { code, .. } => !is_curable(code),
        CallError::Server(_) | CallError::Closed => false,
    }
}

/// Another token, epoch or approval may get through. Not for a worker that was removed (`removed`): that is for good.
fn is_curable(code: &str) -> bool {
    matches!(
        code,
        "displaced" | "unauthorized" | "revoked" | "pending" | "held" | "queue_full"
    )
}

async fn settle(
    core: &Core,
    record: FinishRecord,
    is_new: bool,
    queued: &watch::Sender<bool>,
) -> Done {
    // The items are in the book; a second copy of them would wait as long as the deployment is away.
    let whole = record;
    let record = FinishRecord {
        worker: whole.worker.clone(),
        turn: whole.turn.clone(),
        ending: whole.ending.clone(),
        items: Vec::new(),
    };
    if is_new {
        // Without it the deployment still gets the finish, only a crash would lose it.
        if let Err(error) = core.outbox.put(whole).await {
            tracing::error!(turn = %record.turn, %error, "finish is not on disk");
        }
    } else {
        drop(whole);
    }
    let turn = &record.turn;
    let mut failures = 0;
    loop {
        let mut progress = core.progress();
        // Its own statement: the lock must not live through the match.
        let rest = lock(&core.book).rest(turn);
        let (right, items, ending) = match rest {
            Rest::Last { right, items, lost } => (right, items, honest(&record.ending, lost)),
            Rest::Appending => {
                core.wake_appends();
                // Fails only when the link is gone, and we with it.
                let _ = progress.changed().await;
                continue;
            }
            Rest::Refused(refusal) => {
                return Err(CallError::Refused {
                    code: refusal.code.to_owned(),
                    message: refusal.message,
                });
            }
            Rest::Gone => return Err(CallError::Closed),
        };
        let had_items = !items.is_empty();
        let error = match call(core, turn, &ending, &right, items, queued).await {
            Ok(finished) => {
                forget(core, turn).await;
                return Ok(finished);
            }
            Err(error) => error,
        };
        failures += 1;
        let has_new_right = lock(&core.book)
            .right(turn)
            .is_some_and(|now| *now != right);
        match &error {
            CallError::Refused { code, .. } if is_curable(code) => {
                if !has_new_right {
                    return Err(error);
                }
                lock(&core.book).unfinished(turn, false);
            }
            // Perhaps an item is at fault: the appends find out which.
            CallError::Refused { code, .. }
                if had_items && matches!(code.as_str(), "invalid" | "too_large") =>
            {
                lock(&core.book).unfinished(turn, true);
            }
            CallError::Refused { code, .. } => {
                tracing::warn!(%turn, code, "nobody will ever take this finish: it is dropped");
                forget(core, turn).await;
                return Err(error);
            }
            CallError::Server(_) if failures < TRIES => {
                tracing::warn!(%turn, %error, "finish failed");
                tokio::time::sleep(RETRY_FIRST * (1 << failures)).await;
                lock(&core.book).unfinished(turn, failures > 1);
            }
            CallError::Server(_) | CallError::Closed => return Err(error),
        }
    }
}

/// An answer with a hole in it does not end as complete.
fn honest(ending: &Ending, lost: Option<Refusal>) -> Ending {
    match lost {
        Some(refusal) if ending.outcome == Outcome::Complete => Ending {
            usage: ending.usage.clone(),
            ..Ending::because(
                Outcome::Failed,
                "stream_refused",
                format!(
                    "a part of the answer could not be stored: {}",
                    refusal.message
                ),
            )
        },
        _ => ending.clone(),
    }
}

async fn call(
    core: &Core,
    turn: &TurnId,
    ending: &Ending,
    right: &Right,
    items: Vec<Item>,
    queued: &watch::Sender<bool>,
) -> Done {
    let mut args = json!({
        "token": right.token.expose(),
        "epoch": right.epoch,
        "turnId": turn,
        "outcome": ending.outcome,
        "items": items,
    });
    // Optional to the functions' validators means absent, not null.
    if let Some(error) = &ending.error {
        args["error"] = json!(error);
    }
    if let Some(usage) = &ending.usage {
        args["usage"] = json!(usage);
    }
    if let Some(then) = &ending.then {
        args["then"] = json!(then);
    }
    let receiver = core.connection.call("messages:finish", args)?;
    queued.send_replace(true);
    let answer: Answer = receiver.await.unwrap_or(Err(CallError::Closed));
    match answer?.get("status").and_then(Value::as_str) {
        Some("closed") => Ok(Finished::Closed),
        Some("already") => Ok(Finished::Already),
        other => Err(CallError::Server(format!(
            "unknown answer {other:?} to a finish"
        ))),
    }
}

async fn forget(core: &Core, turn: &TurnId) {
    if let Err(error) = core.outbox.acknowledge(turn.clone()).await {
        // It will be sent once more, and answered `already`.
        tracing::warn!(%turn, %error, "finish stays in the outbox");
    }
}
