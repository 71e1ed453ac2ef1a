//! The book of streams: what every running turn has said and the deployment has not acknowledged yet.
//!
//! It decides what goes into the one append in flight (round robin over the turns, bounded), what an answer
//! means, which turn a failing batch belongs to, and what is left for a turn's finish. It holds items until
//! they are acknowledged, so whatever is resent arrives exactly once: the deployment skips an index it has.
//! At its bound the turn goes on and what did not fit is named in its place; an answer that comes out of the assistant's
//! store waits for room instead, and takes such a note back. A call that fails with a single item is followed by an
//! empty one, so that a deployment that is ill as a whole is not taken for a bad item.
//! Pure: no clock, no socket; `src/adapters/convex` drives it.

mod buffer;
mod terms;
#[cfg(test)]
mod tests;
mod turn_stream;

use std::collections::{BTreeMap, VecDeque};

use self::buffer::Buffer;
pub use self::buffer::weight;
pub use self::terms::{
    AppendResult, AppendStatus, Batch, Limits, PushError, Refusal, Rest, Right, Taken,
};
use self::turn_stream::{Phase, Share, TurnStream, half};
use super::ids::{TurnId, WorkerId};
use super::item::{Draft, Item};

/// How often a single item may fail together with its call before its turn is given up.
const SINGLE_ITEM_TRIES: u32 = 3;

/// A recovered answer uses this part of the bounds: what streams at this moment cannot wait, and needs the rest.
const RECOVERED: usize = 4;
/// So much beyond the bounds is for the final states of tools.
const BEYOND: usize = 8;

/// The append in flight.
#[derive(Debug, Default)]
struct Flight {
    shares: Vec<Share>,
    items: usize,
}

#[derive(Debug, Default)]
pub struct StreamBook {
    limits: Limits,
    streams: BTreeMap<TurnId, TurnStream>,
    /// Whose turn it is to be first in the next batch.
    ring: VecDeque<TurnId>,
    flight: Option<Flight>,
    /// So many items at the front are known to hold one that makes calls fail.
    suspects: Option<usize>,
    single_failures: u32,
    /// A single item failed: is it the item, or the deployment?
    in_doubt: bool,
    /// In whose name each worker writes now, whatever older right somebody still comes with.
    current: BTreeMap<WorkerId, Right>,
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

    /// A worker writes under this right from now on: what is here, and what comes from somebody who has not heard of it yet.
    pub fn renew(&mut self, right: Right) {
        let worker = right.token.worker().clone();
        let streams = self.streams.values_mut();
        for stream in streams.filter(|stream| *stream.right.token.worker() == worker) {
            stream.adopt(right.clone());
        }
        self.current.insert(worker, right);
    }

    fn current(&self, right: Right) -> Right {
        let current = self.current.get(right.token.worker());
        current.cloned().unwrap_or(right)
    }

    /// Writes a stream under another right from now on, if it is there.
    pub fn adopt(&mut self, turn: &TurnId, right: Right) {
        let right = self.current(right);
        if let Some(stream) = self.streams.get_mut(turn) {
            stream.adopt(right);
        }
    }

    /// Puts back the rest of a turn whose finish was not acknowledged in an earlier life.
    pub fn restore(&mut self, turn: TurnId, right: Right, items: Vec<Item>) {
        self.enter(turn, right, Phase::Ending, || Buffer::restored(items));
    }

    fn enter(&mut self, turn: TurnId, right: Right, phase: Phase, buffer: impl FnOnce() -> Buffer) {
        let right = self.current(right);
        if let Some(stream) = self.streams.get_mut(&turn) {
            stream.adopt(right);
            return;
        }
        self.ring.push_back(turn.clone());
        let stream = TurnStream::new(right, buffer(), phase);
        self.streams.insert(turn, stream);
    }

    /// Gives the drafts their indexes. Beyond the bounds nothing is taken until half of them is free again; a note in the
    /// stream then says how much is missing there.
    pub fn push(
        &mut self,
        turn: &TurnId,
        drafts: Vec<Draft>,
        now_wall_ms: u64,
    ) -> Result<Taken, PushError> {
        let (total, limits) = (self.weight(), self.limits);
        let stream = self.open_stream(turn)?;
        let bound = if stream.hole.is_some() { 2 } else { 1 };
        let has_room =
            stream.buffer.weight() < limits.stream / bound && total < limits.total / bound;
        if has_room {
            stream.name_the_hole(now_wall_ms);
            for draft in drafts {
                stream.buffer.push(draft, now_wall_ms);
            }
            return Ok(Taken::Whole);
        }
        let room = (limits.stream + limits.stream / BEYOND)
            .saturating_sub(stream.buffer.weight())
            .min((limits.total + limits.total / BEYOND).saturating_sub(total));
        Ok(stream.miss(drafts, room, now_wall_ms))
    }

    /// Moves what the assistant's store has of a turn into its stream, from the front and only as far as there is room;
    /// the rest stays with the caller, who comes back when something was acknowledged. Nothing is missing any more: what
    /// said so is void.
    pub fn recover(
        &mut self,
        turn: &TurnId,
        drafts: &mut VecDeque<Draft>,
        now_wall_ms: u64,
    ) -> Result<Taken, PushError> {
        let (total, limits) = (self.weight(), self.limits);
        let stream = self.open_stream(turn)?;
        let others = total - stream.buffer.weight();
        stream.void_the_notes(now_wall_ms);
        while !drafts.is_empty() {
            let held = stream.buffer.weight();
            if held >= limits.stream / RECOVERED || others + held >= limits.total / RECOVERED {
                return Ok(Taken::InPart);
            }
            if let Some(draft) = drafts.pop_front() {
                stream.buffer.push(draft, now_wall_ms);
            }
        }
        Ok(Taken::Whole)
    }

    /// The stream of a turn that may still be written into.
    fn open_stream(&mut self, turn: &TurnId) -> Result<&mut TurnStream, PushError> {
        let stream = self.streams.get_mut(turn).ok_or(PushError::Unknown)?;
        if stream.phase != Phase::Open {
            return Err(PushError::Unknown);
        }
        // Under another right all of it may still be written.
        if let Some(refusal) = stream.refusal.as_ref().filter(|refusal| !refusal.curable) {
            return Err(PushError::Refused(refusal.message.clone()));
        }
        Ok(stream)
    }

    /// The next append, or `None` while one is in flight or nothing is there. An empty one asks whether appends work at all.
    pub fn next_batch(&mut self) -> Option<Vec<Batch>> {
        if self.flight.is_some() {
            return None;
        }
        if self.in_doubt {
            self.in_doubt = self.streams.values().any(TurnStream::is_ready);
            self.flight = self.in_doubt.then(Flight::default);
            return self.flight.as_ref().map(|_| Vec::new());
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
            flight.shares.push(Share {
                turn: turn.clone(),
                from: first.index,
                to: last.index + 1,
                right: stream.right.clone(),
            });
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
        let most_items = self.suspects.map_or(self.limits.batch_items, half);
        let ready = self
            .ring
            .iter()
            .filter(|turn| self.streams.get(*turn).is_some_and(TurnStream::is_ready));
        let mut shares: Vec<(TurnId, usize)> = ready.map(|turn| (turn.clone(), 0)).collect();
        let (mut items, mut bytes, mut took) = (0, 0, true);
        'full: while took {
            took = false;
            for (turn, count) in &mut shares {
                let next = self.streams.get(turn).and_then(|s| s.offer(*count));
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
        if flight.items == 0 {
            self.in_doubt = false;
            return Vec::new();
        }
        self.single_failures = 0;
        self.suspects = self
            .suspects
            .map(|suspects| suspects.saturating_sub(flight.items))
            .filter(|left| *left > 0);
        if let Some(first) = flight.shares.first() {
            self.send_to_the_back(&first.turn);
        }
        let mut refused = Vec::new();
        for share in flight.shares {
            let Some(stream) = self.streams.get_mut(&share.turn) else {
                continue;
            };
            let result = results.iter().find(|result| result.turn == share.turn);
            if let Some(refusal) = stream.settle(&share, result) {
                refused.push((share.turn, refusal));
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
        if flight.items == 0 {
            // Nothing works there now: no item is at fault.
            self.single_failures = 0;
            return None;
        }
        if flight.items > 1 {
            self.suspects = Some(flight.items);
            return None;
        }
        self.single_failures += 1;
        if !permanent && self.single_failures < SINGLE_ITEM_TRIES {
            self.in_doubt = true;
            return None;
        }
        self.single_failures = 0;
        self.suspects = None;
        let Share { turn, .. } = flight.shares.into_iter().next()?;
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
        if let Some(hole) = &stream.hole {
            let since = hole.since_wall_ms;
            stream.name_the_hole(since);
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
        let may_append = stream.refusal.is_none() && !stream.buffer.is_empty();
        if may_append && (stream.drain || !fits) {
            return Rest::Appending;
        }
        stream.phase = Phase::Finishing;
        stream.buffer.freeze_below(stream.buffer.next_index());
        Rest::Last {
            right: stream.right.clone(),
            items: stream.buffer.items().cloned().collect(),
            lost: stream.refusal.clone().filter(Refusal::is_of_content),
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

    /// Forgets a turn whose finish was given up on: it begins anew.
    pub fn close_sealed(&mut self, turn: &TurnId) {
        if self
            .streams
            .get(turn)
            .is_some_and(|stream| stream.phase != Phase::Open)
        {
            self.close(turn);
        }
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
