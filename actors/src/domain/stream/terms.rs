//! What the book of streams takes and gives: its bounds, a batch of items, the deployment's answer to one.

use std::sync::Arc;

use serde::Deserialize;

use crate::domain::ids::TurnId;
use crate::domain::item::Item;
use crate::domain::token::WorkerToken;

/// The bounds of a book, in bytes of [`weight`](super::weight) unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// One append, and the items of one finish.
    pub batch: usize,
    /// Items in one append or finish: each one is a row of the same transaction.
    pub batch_items: usize,
    /// Unacknowledged items of one turn. One push may go beyond it; a recovered answer waits far below it.
    pub stream: usize,
    /// Unacknowledged items of all turns. With it an outage of hours costs less than 10 MB.
    pub total: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch: 256 * 1024,
            batch_items: 256,
            stream: 4 * 1024 * 1024,
            total: 8 * 1024 * 1024,
        }
    }
}

/// In whose name a turn is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    pub token: Arc<WorkerToken>,
    pub epoch: u64,
}

/// How much of what was handed over has its place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Whole,
    /// There was no room for the rest.
    InPart,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushError {
    /// No stream is open for the turn, or it has ended.
    Unknown,
    Refused(String),
}

/// One turn's share of an append.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub turn: TurnId,
    pub right: Right,
    pub items: Vec<Item>,
}

/// The deployment's answer for one turn of an append.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppendResult {
    pub turn: TurnId,
    pub status: AppendStatus,
    /// The index after the last one that the deployment has.
    pub next_index: u64,
    #[serde(default)]
    pub message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppendStatus {
    Ok,
    Closed,
    Displaced,
    Unauthorized,
    Revoked,
    Unknown,
    Invalid,
}

/// Why the deployment takes no more of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable: the status of the answer, or `rejected` for an item that no call gets through with.
    pub code: &'static str,
    pub message: String,
    /// Another token or epoch may still write the turn, so its items are kept.
    pub curable: bool,
}

impl Refusal {
    /// Whether the items were at fault, and are gone; else it is the turn that takes none.
    pub fn is_of_content(&self) -> bool {
        matches!(self.code, "rejected" | "invalid")
    }
}

/// What a turn that ends may do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Rest {
    /// More has to be appended first.
    Appending,
    /// These belong into the finish. What was `lost` before was refused for good: the turn must not end as if it were whole.
    Last {
        right: Right,
        items: Vec<Item>,
        lost: Option<Refusal>,
    },
    /// Its writer has no right to it.
    Refused(Refusal),
    /// There is no such stream.
    Gone,
}
