//! One turn in the book: its items, in whose name they are written, and whether the deployment takes them.

use super::buffer::{Buffer, lean_final_tool};
use super::terms::{AppendResult, AppendStatus, Refusal, Right, Taken};
use crate::domain::ids::TurnId;
use crate::domain::item::{Draft, Item, ItemKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Ended here; the rest is appended until it fits into the finish.
    Ending,
    /// The rest is under way with the finish: appends leave it alone.
    Finishing,
}

#[derive(Debug)]
pub(super) struct TurnStream {
    pub(super) right: Right,
    pub(super) buffer: Buffer,
    pub(super) phase: Phase,
    /// A finish with items failed: append all of them, so that a bad one is found.
    pub(super) drain: bool,
    /// So many items at its front were answered `invalid`: one of them is wrong.
    pub(super) suspects: Option<usize>,
    pub(super) refusal: Option<Refusal>,
    /// What was said while there was no room for it.
    pub(super) hole: Option<Hole>,
    /// The parts in which the stream itself says what is missing.
    notes: Vec<String>,
}

/// What an append in flight has of a turn, and in whose name it was sent.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) turn: TurnId,
    pub(super) from: u64,
    /// The one after the last.
    pub(super) to: u64,
    pub(super) right: Right,
}

/// A stretch of a turn that is lost.
#[derive(Debug)]
pub(super) struct Hole {
    bytes: usize,
    pub(super) since_wall_ms: u64,
}

impl TurnStream {
    pub(super) fn new(right: Right, buffer: Buffer, phase: Phase) -> Self {
        Self {
            right,
            buffer,
            phase,
            drain: false,
            suspects: None,
            refusal: None,
            hole: None,
            notes: Vec::new(),
        }
    }

    /// There is no room for these. A reset is taken all the same, it is a few bytes: what it voids would otherwise stand beside
    /// what comes in its place. So is the last state of a tool, without its bulk, while `room` is left for it: the tool would
    /// seem to run for ever.
    pub(super) fn miss(&mut self, drafts: Vec<Draft>, mut room: usize, now_wall_ms: u64) -> Taken {
        let mut missing = 0;
        for draft in drafts {
            let before = self.buffer.weight();
            let bytes = draft.content.len();
            let taken = match draft.kind {
                ItemKind::Reset => Some(draft),
                ItemKind::Tool => match lean_final_tool(draft) {
                    Some(lean) => (lean.content.len() < room).then_some(lean),
                    // Another one follows and wins.
                    None => continue,
                },
                ItemKind::Text | ItemKind::Reasoning => None,
            };
            missing += bytes - taken.as_ref().map_or(0, |taken| taken.content.len());
            if let Some(draft) = taken {
                self.buffer.push(draft, now_wall_ms);
            }
            room = room.saturating_sub(self.buffer.weight().saturating_sub(before));
        }
        if missing == 0 {
            return Taken::Whole;
        }
        let hole = self.hole.get_or_insert(Hole {
            bytes: 0,
            since_wall_ms: now_wall_ms,
        });
        hole.bytes += missing;
        Taken::InPart
    }

    /// The whole answer comes: nothing of it is missing.
    pub(super) fn void_the_notes(&mut self, now_wall_ms: u64) {
        self.hole = None;
        for part_id in std::mem::take(&mut self.notes) {
            let reset = Draft {
                part_id,
                kind: ItemKind::Reset,
                content: String::new(),
            };
            self.buffer.push(reset, now_wall_ms);
        }
    }

    /// Says in the stream itself what is missing there, as a part of its own.
    pub(super) fn name_the_hole(&mut self, now_wall_ms: u64) {
        let Some(hole) = self.hole.take() else { return };
        let note = Draft {
            part_id: format!("missing-{}", self.buffer.next_index()),
            kind: ItemKind::Text,
            content: format!(
                "\n[{} bytes of this answer are missing here: its deployment was out of reach for too long]\n",
                hole.bytes
            ),
        };
        self.notes.push(note.part_id.clone());
        self.buffer.push(note, now_wall_ms);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.refusal.is_none() && self.phase != Phase::Finishing && !self.buffer.is_empty()
    }

    /// The item that may leave after `count` others in the same batch.
    pub(super) fn offer(&self, count: usize) -> Option<&Item> {
        let most = self.suspects.map_or(usize::MAX, half);
        self.buffer.get(count).filter(|_| count < most)
    }

    pub(super) fn refuse(&mut self, code: &'static str, message: Option<String>) -> Refusal {
        let curable = is_curable(code);
        let refusal = Refusal {
            code,
            message: message.unwrap_or_else(|| code.to_owned()),
            curable,
        };
        if !curable {
            self.buffer.clear();
            // A note behind what is gone would leave a gap, and the finish with it would be refused for ever.
            self.hole = None;
        }
        self.refusal = Some(refusal.clone());
        refusal
    }

    pub(super) fn adopt(&mut self, right: Right) {
        if self.right != right {
            self.right = right;
            self.refusal.take_if(|refusal| refusal.curable);
        }
    }

    /// What the deployment's answer means for the items that were in flight.
    pub(super) fn settle(
        &mut self,
        share: &Share,
        result: Option<&AppendResult>,
    ) -> Option<Refusal> {
        let Some(result) = result else {
            return Some(self.reject("the deployment gave no answer for this turn"));
        };
        let code = match result.status {
            AppendStatus::Ok | AppendStatus::Invalid => return self.advance(share, result),
            AppendStatus::Closed => "closed",
            AppendStatus::Displaced => "displaced",
            AppendStatus::Unauthorized => "unauthorized",
            AppendStatus::Revoked => "revoked",
            AppendStatus::Unknown => "unknown",
        };
        // The right was replaced while this was under way: the same is sent again under the new one.
        if is_curable(code) && share.right != self.right {
            return None;
        }
        Some(self.refuse(code, result.message.clone()))
    }

    fn advance(
        &mut self,
        &Share { from, to, .. }: &Share,
        result: &AppendResult,
    ) -> Option<Refusal> {
        let next = result.next_index;
        if next > self.buffer.frozen_below() {
            return Some(self.reject("somebody else writes this turn"));
        }
        if next > from {
            self.buffer.acknowledge_below(next);
            let left = self
                .suspects
                .map(|n| n.saturating_sub((next - from) as usize));
            self.suspects = left.filter(|left| *left > 0);
            return None;
        }
        let count = (to - from) as usize;
        if result.status == AppendStatus::Invalid && next == from && count > 1 {
            // Nothing of the share was taken: one of its items is wrong.
            self.suspects = Some(count);
            return None;
        }
        let message = result.message.clone();
        let message = message.unwrap_or_else(|| "the deployment took nothing of it".to_owned());
        // Behind what we hold: those items are gone. Exactly ours: it is this item.
        Some(self.refuse("invalid", Some(message)))
    }

    fn reject(&mut self, message: &str) -> Refusal {
        self.refuse("rejected", Some(message.to_owned()))
    }
}

/// Whether another right may get through.
fn is_curable(code: &str) -> bool {
    matches!(code, "displaced" | "unauthorized" | "revoked")
}

/// How many items to try of so many that hold a bad one.
pub(super) fn half(suspects: usize) -> usize {
    (suspects / 2).max(1)
}
