//! Follows a turn until it is closed. Its row is watched for the end; with `live` its chunks are watched in fixed
//! windows of 32, so that only the last window is ever sent again. The end is read once more from what is stored
//! (parts when folded, chunks else), because that is the truth.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc;

use super::fold::{Fold, WINDOW};
use super::stored::stored_parts;
use super::submit::Submitted;
use crate::adapters::convex::ClientError;
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::rows::{ErrorRow, MessageRow, Messages, Page, PartRow, UsageRow, read};

/// A deployment that stays away for this long is given up; until then its restart is waited for.
const AWAY: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_secs(1);
/// Before it is said that the deployment is away: a restart of it takes less.
const SAY_AWAY: Duration = Duration::from_secs(3);
/// Before it is said that nothing has begun: an assistant's start takes less.
const SAY_QUEUED: Duration = Duration::from_secs(20);

/// A turn that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    /// `complete | interrupted | failed | aborted`.
    pub state: String,
    pub error: Option<ErrorRow>,
    pub usage: Option<UsageRow>,
    pub parts: Vec<PartRow>,
    /// From the message to its end.
    pub took_ms: Option<f64>,
    /// Another turn goes on with it by itself.
    pub goes_on: bool,
}

impl Closed {
    pub fn is_complete(&self) -> bool {
        self.state == "complete"
    }

    /// Why it did not complete.
    pub fn reason(&self) -> String {
        let what = match self.state.as_str() {
            "failed" => "the turn failed",
            "aborted" => "the turn was aborted",
            _ => "the turn was interrupted",
        };
        match &self.error {
            Some(error) => format!("{what}: {} ({})", error.message, error.code),
            None => what.to_owned(),
        }
    }

    /// What a command fails with that waited for it. A parked session's reason names the command itself.
    pub fn failure(&self) -> Failure {
        let failure = Failure::failed(self.reason());
        match self.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        let code = self.error.as_ref().map(|error| error.code.as_str());
        match code.unwrap_or_default() {
            "agent_missing" => {
                Some("orchestrator run installs a compatible OpenCode when none is named")
            }
            _ if self.goes_on => Some("nothing to do: the next turn goes on with it by itself"),
            _ if self.state == "interrupted" => Some("send the message again"),
            _ => None,
        }
    }
}

/// What is told while the turn runs: its parts so far.
pub type Watching<'a> = Option<&'a mut (dyn FnMut(&[PartRow]) + Send)>;

type Stream = mpsc::Receiver<Result<serde_json::Value, ClientError>>;

/// Waits for the end of a turn; `watching` sees the parts grow, `say` tells why it takes long.
pub async fn follow(
    connection: &Connection,
    turn: &Submitted,
    mut watching: Watching<'_>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Closed, Failure> {
    let begun = Instant::now();
    let (mut is_queued, mut told_away) = (true, false);
    let mut rows = connection.client.subscribe("messages:list", row_args(turn));
    let mut window = watching
        .is_some()
        .then(|| subscribe_window(connection, turn, 0));
    let mut fold = Fold::default();
    let mut looks = tokio::time::interval(LOOK);
    let mut away_since = None;
    let (row, goes_on) = loop {
        tokio::select! {
            _ = looks.tick() => match connection.client.is_connected() {
                Ok(()) => {
                    away_since = None;
                    if is_queued && begun.elapsed() > SAY_QUEUED {
                        is_queued = false;
                        say("still queued: it waits for its worker (orchestrator ps on that machine), for the session's assistant to start, or for the turn before it");
                    }
                }
                Err(reason) => {
                    let since = *away_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > SAY_AWAY && !told_away {
                        told_away = true;
                        let (url, limit) = (&connection.url, AWAY.as_secs());
                        say(&format!("{url} is away ({reason}); waiting for it, up to {limit} s"));
                    }
                    if since.elapsed() > AWAY {
                        let url = connection.url.clone();
                        return Err(ClientError::Unreachable { url, reason }.into());
                    }
                }
            },
            answer = rows.recv() => {
                let messages: Messages = read("messages:list", received(answer)?)?;
                let mut rows = messages.messages.iter();
                let goes_on = rows.any(|row| row.continues.as_deref() == Some(&turn.turn));
                let Some(row) = find(messages, turn) else { continue };
                is_queued &= row.state.as_deref() == Some("queued");
                if row.is_closed() {
                    break (row, goes_on);
                }
            }
            answer = next_page(window.as_mut()) => {
                let page: Page = read("chunks:page", received(answer)?)?;
                let before = fold.next();
                fold.apply(&page.items);
                if fold.next() != before {
                    if let Some(watching) = watching.as_mut() {
                        watching(fold.parts());
                    }
                    if fold.next() % WINDOW == 0 {
                        window = Some(subscribe_window(connection, turn, fold.next()));
                    }
                }
            }
        }
    };
    let took_ms = row.finished_at.map(|end| (end - row.created_at).max(0.0));
    Ok(Closed {
        state: row.state.clone().unwrap_or_default(),
        error: row.error.clone(),
        usage: row.usage.clone(),
        parts: stored_parts(connection, &turn.session, row).await?,
        took_ms,
        goes_on,
    })
}

/// The two rows of this exchange, the two that may go on with it, and nothing else, so that nothing else wakes the
/// subscription.
fn row_args(turn: &Submitted) -> serde_json::Value {
    json!({"sessionId": turn.session, "limit": 4, "beforeSeq": turn.seq + 2})
}

fn subscribe_window(connection: &Connection, turn: &Submitted, from: u64) -> Stream {
    let args = json!({"turnId": turn.turn, "from": from});
    connection.client.subscribe("chunks:page", args)
}

async fn next_page(window: Option<&mut Stream>) -> Option<Result<serde_json::Value, ClientError>> {
    match window {
        Some(stream) => stream.recv().await,
        None => std::future::pending().await,
    }
}

fn received(
    answer: Option<Result<serde_json::Value, ClientError>>,
) -> Result<serde_json::Value, Failure> {
    match answer {
        Some(answer) => Ok(answer?),
        None => Err(Failure::failed(
            "the connection to the deployment has ended",
        )),
    }
}

fn find(messages: Messages, turn: &Submitted) -> Option<MessageRow> {
    messages
        .messages
        .into_iter()
        .find(|row| row.id == turn.turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_reads_well_and_an_interrupted_turn_is_sent_again() {
        let closed = |state: &str, code: &str, message: &str| Closed {
            state: state.to_owned(),
            error: Some(ErrorRow {
                code: code.to_owned(),
                message: message.to_owned(),
            }),
            usage: None,
            parts: Vec::new(),
            took_ms: None,
            goes_on: false,
        };
        let failed = closed("failed", "provider", "no credit");
        assert_eq!(failed.reason(), "the turn failed: no credit (provider)");
        assert_eq!(failed.hint(), None);
        let cut = closed("interrupted", "crashed", "the assistant crashed");
        assert!(cut.reason().starts_with("the turn was interrupted: the"));
        assert_eq!(cut.hint(), Some("send the message again"));
        let goes_on = Closed {
            goes_on: true,
            ..cut
        };
        assert!(goes_on.hint().unwrap().starts_with("nothing to do"));
    }
}
