//! The book of streams: what every running turn has said and the deployment has not acknowledged yet.
//!
//! It decides what goes into the one append in flight (round robin over the turns, bounded), what an answer
//! means, which turn a failing batch belongs to, and what is left for a turn's finish. It holds items until
//! they are acknowledged, so whatever is resent arrives exactly once: the deployment skips an index it has.
//! Pure: no clock, no socket; `src/adapters/convex` drives it.

mod buffer;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::Deserialize;

use self::buffer::Buffer;
pub use self::buffer::weight;
use super::ids::TurnId;
use super::item::{Draft, Item};
use super::token::WorkerToken;

/// How often a single item may fail together with its call before its turn is given up.
const SINGLE_ITEM_TRIES: u32 = 3;

/// The bounds of a book, in bytes of [`weight`] unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// One append, and the items of one finish.
    pub batch: usize,
    /// Items in one append or finish: each one is a row of the same transaction.
    pub batch_items: usize,
    /// Unacknowledged items of one turn.
    pub stream: usize,
    /// Unacknowledged items of all turns.
    pub total: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch: 256 * 1024,
            batch_items: 256,
            stream: 32 * 1024 * 1024,
            total: 128 * 1024 * 1024,
        }
    }
}

/// In whose name a turn is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    pub token: Arc<WorkerToken>,
    pub epoch: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushError {
    /// No stream is open for the turn, or it has ended.
    Unknown,
    /// The turn's or the book's bound is reached; nothing of the push was taken.
    Full,
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

/// What a turn that ends may do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Rest {
    /// More has to be appended first.
    Appending,
    /// These belong into the finish.
    Last { right: Right, items: Vec<Item> },
    /// Its writer has no right to it.
    Refused(Refusal),
    /// There is no such stream.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Ended here; the rest is appended until it fits into the finish.
    Ending,
    /// The rest is under way with the finish: appends leave it alone.
    Finishing,
}

#[derive(Debug)]
struct Stream {
    right: Right,
    buffer: Buffer,
    phase: Phase,
    /// A finish with items failed: append all of them, so that a bad one is found.
    drain: bool,
    refusal: Option<Refusal>,
}

impl Stream {
    fn is_ready(&self) -> bool {
        self.refusal.is_none() && self.phase != Phase::Finishing && !self.buffer.is_empty()
    }

    fn refuse(&mut self, code: &'static str, message: Option<String>) -> Refusal {
        let curable = matches!(code, "displaced" | "unauthorized" | "revoked");
        let refusal = Refusal {
            code,
            message: message.unwrap_or_else(|| code.to_owned()),
            curable,
        };
        if !curable {
            self.buffer.clear();
        }
        self.refusal = Some(refusal.clone());
        refusal
    }

    fn adopt(&mut self, right: Right) {
        if self.right != right {
            self.right = right;
            self.refusal.take_if(|refusal| refusal.curable);
        }
    }
}

/// The append in flight: of each turn the first index and the one after the last.
#[derive(Debug)]
struct Flight {
    shares: Vec<(TurnId, u64, u64)>,
    items: usize,
}

#[derive(Debug, Default)]
pub struct StreamBook {
    limits: Limits,
    streams: BTreeMap<TurnId, Stream>,
    /// Whose turn it is to be first in the next batch.
    ring: VecDeque<TurnId>,
    flight: Option<Flight>,
    /// So many items at the front are known to hold one that makes calls fail.
    suspects: Option<usize>,
    single_failures: u32,
}

impl StreamBook {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Opens a turn's stream at `next_index`. One that is there keeps what it holds and changes its right only.
    pub fn open(&mut self, turn: TurnId, right: Right, next_index: u64) {
        self.enter(turn, right, Phase::Open, || Buffer::starting_at(next_index));
    }

    /// Writes a stream under another right from now on, if it is there.
    pub fn adopt(&mut self, turn: &TurnId, right: Right) {
        if let Some(stream) = self.streams.get_mut(turn) {
            stream.adopt(right);
        }
    }

    /// Puts back the rest of a turn whose finish was not acknowledged in an earlier life.
    pub fn restore(&mut self, turn: TurnId, right: Right, items: Vec<Item>) {
        self.enter(turn, right, Phase::Ending, || Buffer::restored(items));
    }

    fn enter(&mut self, turn: TurnId, right: Right, phase: Phase, buffer: impl FnOnce() -> Buffer) {
        if let Some(stream) = self.streams.get_mut(&turn) {
            stream.adopt(right);
            return;
        }
        self.ring.push_back(turn.clone());
        let stream = Stream {
            right,
            buffer: buffer(),
            phase,
            drain: false,
            refusal: None,
        };
        self.streams.insert(turn, stream);
    }

    /// Gives the drafts their indexes. Returns the index that the next one will get.
    pub fn push(
        &mut self,
        turn: &TurnId,
        drafts: Vec<Draft>,
        now_wall_ms: u64,
    ) -> Result<u64, PushError> {
        let total = self.weight();
        let stream = self.streams.get_mut(turn).ok_or(PushError::Unknown)?;
        if stream.phase != Phase::Open {
            return Err(PushError::Unknown);
        }
        if let Some(refusal) = &stream.refusal {
            return Err(PushError::Refused(refusal.message.clone()));
        }
        let more: usize = drafts.iter().map(|d| d.content.len()).sum();
        if stream.buffer.weight() + more > self.limits.stream || total + more > self.limits.total {
            return Err(PushError::Full);
        }
        for draft in drafts {
            stream.buffer.push(draft, now_wall_ms);
        }
        Ok(stream.buffer.next_index())
    }

    /// The next append, or `None` while one is in flight or nothing is there.
    pub fn next_batch(&mut self) -> Option<Vec<Batch>> {
        if self.flight.is_some() {
            return None;
        }
        let shares = self.fair_shares();
        let mut flight = Flight {
            shares: Vec::new(),
            items: 0,
        };
        let mut batches = Vec::new();
        for (turn, count) in shares {
            let Some(stream) = self.streams.get_mut(&turn) else {
                continue;
            };
            let items: Vec<Item> = stream.buffer.items().take(count).cloned().collect();
            let (Some(first), Some(last)) = (items.first(), items.last()) else {
                continue;
            };
            stream.buffer.freeze_below(last.index + 1);
            flight.items += items.len();
            flight
                .shares
                .push((turn.clone(), first.index, last.index + 1));
            batches.push(Batch {
                turn,
                right: stream.right.clone(),
                items,
            });
        }
        if batches.is_empty() {
            return None;
        }
        self.flight = Some(flight);
        Some(batches)
    }

    /// One item of each turn after the other until the call is full.
    fn fair_shares(&self) -> Vec<(TurnId, usize)> {
        let most_items = self
            .suspects
            .map_or(self.limits.batch_items, |suspects| (suspects / 2).max(1));
        let ready = self
            .ring
            .iter()
            .filter(|turn| self.streams.get(*turn).is_some_and(Stream::is_ready));
        let mut shares: Vec<(TurnId, usize)> = ready.map(|turn| (turn.clone(), 0)).collect();
        let (mut items, mut bytes, mut took) = (0, 0, true);
        'full: while took {
            took = false;
            for (turn, count) in &mut shares {
                let next = self.streams.get(turn).and_then(|s| s.buffer.get(*count));
                let Some(item) = next else { continue };
                let fits = items == 0 || bytes + weight(item) <= self.limits.batch;
                if items == most_items || !fits {
                    break 'full;
                }
                items += 1;
                bytes += weight(item);
                *count += 1;
                took = true;
            }
        }
        shares
    }

    /// Takes the answer of the append in flight. Returns the turns that are refused from now on.
    pub fn acknowledge(&mut self, results: &[AppendResult]) -> Vec<(TurnId, Refusal)> {
        let Some(flight) = self.flight.take() else {
            return Vec::new();
        };
        self.single_failures = 0;
        self.suspects = self
            .suspects
            .map(|suspects| suspects.saturating_sub(flight.items))
            .filter(|left| *left > 0);
        if let Some((first, ..)) = flight.shares.first() {
            self.send_to_the_back(first);
        }
        let mut refused = Vec::new();
        for (turn, from, _) in flight.shares {
            let Some(stream) = self.streams.get_mut(&turn) else {
                continue;
            };
            let result = results.iter().find(|result| result.turn == turn);
            if let Some(refusal) = settle(stream, from, result) {
                refused.push((turn, refusal));
            }
        }
        refused
    }

    fn send_to_the_back(&mut self, turn: &TurnId) {
        if let Some(at) = self.ring.iter().position(|one| one == turn)
            && let Some(turn) = self.ring.remove(at)
        {
            self.ring.push_back(turn);
        }
    }

    /// The append in flight failed as a whole and changed nothing. Its items are tried again in halves until
    /// one is left that fails alone; its turn is then refused and returned. With `permanent` (the deployment
    /// said that these arguments are wrong) a single item is not tried again.
    pub fn call_failed(&mut self, reason: &str, permanent: bool) -> Option<(TurnId, Refusal)> {
        let flight = self.flight.take()?;
        if flight.items > 1 {
            self.suspects = Some(flight.items);
            return None;
        }
        self.single_failures += 1;
        if !permanent && self.single_failures < SINGLE_ITEM_TRIES {
            return None;
        }
        self.single_failures = 0;
        self.suspects = None;
        let (turn, ..) = flight.shares.into_iter().next()?;
        let stream = self.streams.get_mut(&turn)?;
        if stream.phase == Phase::Finishing {
            return None;
        }
        let refusal = stream.refuse("rejected", Some(reason.to_owned()));
        Some((turn, refusal))
    }

    /// Ends a turn's stream: nothing can be pushed any more. Returns the rest, for the outbox.
    pub fn seal(&mut self, turn: &TurnId, right: Right) -> Vec<Item> {
        self.open(turn.clone(), right, 0);
        let Some(stream) = self.streams.get_mut(turn) else {
            return Vec::new();
        };
        if stream.phase == Phase::Open {
            stream.phase = Phase::Ending;
        }
        stream.buffer.items().cloned().collect()
    }

    /// Asks what a sealed turn may do. After [`Rest::Last`] its items are left to the finish.
    pub fn rest(&mut self, turn: &TurnId) -> Rest {
        let limits = self.limits;
        let Some(stream) = self.streams.get_mut(turn) else {
            return Rest::Gone;
        };
        match &stream.refusal {
            Some(refusal) if refusal.curable => return Rest::Refused(refusal.clone()),
            _ => {}
        }
        let fits =
            stream.buffer.weight() <= limits.batch && stream.buffer.len() <= limits.batch_items;
        if !stream.buffer.is_empty() && (stream.drain || !fits) {
            return Rest::Appending;
        }
        stream.phase = Phase::Finishing;
        stream.buffer.freeze_below(stream.buffer.next_index());
        Rest::Last {
            right: stream.right.clone(),
            items: stream.buffer.items().cloned().collect(),
        }
    }

    /// The finish failed and may be tried again. With `drain` all its items are appended first.
    pub fn unfinished(&mut self, turn: &TurnId, drain: bool) {
        if let Some(stream) = self.streams.get_mut(turn) {
            stream.phase = Phase::Ending;
            stream.drain |= drain;
        }
    }

    /// The right that the turn is written under now.
    pub fn right(&self, turn: &TurnId) -> Option<&Right> {
        self.streams.get(turn).map(|stream| &stream.right)
    }

    /// Forgets a turn: the deployment has its end, or never will.
    pub fn close(&mut self, turn: &TurnId) {
        self.streams.remove(turn);
        self.ring.retain(|one| one != turn);
    }

    /// Bytes that wait for an acknowledgement.
    pub fn weight(&self) -> usize {
        self.streams.values().map(|s| s.buffer.weight()).sum()
    }

    /// Of each turn that waits for an acknowledgement: the index that the deployment has to reach.
    pub fn waiting(&self) -> Vec<(TurnId, u64)> {
        let waits = self.streams.iter().filter(|(_, s)| !s.buffer.is_empty());
        waits
            .map(|(turn, stream)| (turn.clone(), stream.buffer.next_index()))
            .collect()
    }

    /// Whether the deployment has everything of the turn below `index` (or the turn is gone or refused).
    pub fn has_reached(&self, turn: &TurnId, index: u64) -> bool {
        self.streams
            .get(turn)
            .is_none_or(|stream| stream.refusal.is_some() || stream.buffer.first_index() >= index)
    }
}

/// What one turn's answer means for its stream.
fn settle(stream: &mut Stream, from: u64, result: Option<&AppendResult>) -> Option<Refusal> {
    let Some(result) = result else {
        let message = "the deployment gave no answer for this turn".to_owned();
        return Some(stream.refuse("rejected", Some(message)));
    };
    let says = || result.message.clone();
    match result.status {
        AppendStatus::Ok => {
            if result.next_index > stream.buffer.frozen_below() {
                let message = "somebody else writes this turn".to_owned();
                return Some(stream.refuse("rejected", Some(message)));
            }
            if result.next_index <= from {
                let message = "the deployment took nothing of it".to_owned();
                return Some(stream.refuse("rejected", Some(message)));
            }
            stream.buffer.acknowledge_below(result.next_index);
            None
        }
        // Behind what we hold: those items are gone. Exactly ours: it is the item that is wrong.
        AppendStatus::Invalid if result.next_index <= from => {
            Some(stream.refuse("invalid", says()))
        }
        AppendStatus::Invalid if result.next_index > stream.buffer.frozen_below() => {
            Some(stream.refuse("invalid", says()))
        }
        AppendStatus::Invalid => {
            stream.buffer.acknowledge_below(result.next_index);
            None
        }
        AppendStatus::Closed => Some(stream.refuse("closed", says())),
        AppendStatus::Displaced => Some(stream.refuse("displaced", says())),
        AppendStatus::Unauthorized => Some(stream.refuse("unauthorized", says())),
        AppendStatus::Revoked => Some(stream.refuse("revoked", says())),
        AppendStatus::Unknown => Some(stream.refuse("unknown", says())),
    }
}
