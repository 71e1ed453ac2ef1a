//! The parts of the followed turn. A text part is open, then closed with its final text; what OpenCode abandons is reset.
//! A tool part is replaced as a whole, and its status only moves forward.

use orchestrator_actors::domain::item::ItemKind;

use super::shown::Shown;
use super::turn::Turn;
use super::{Effect, TOOL_EVERY_MS};
use crate::adapters::opencode::content;
use crate::adapters::opencode::wire::Part;

#[derive(Debug)]
pub(super) struct PartState {
    pub(super) kind: ItemKind,
    pub(super) message: String,
    /// What was streamed and not reset.
    pub(super) shown: Shown,
    pub(super) phase: Phase,
    /// Of a tool: its last status and when its last output was shown.
    pub(super) status: String,
    pub(super) shown_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Events were missed: what comes before its end would have a hole.
    Stalled,
    /// Abandoned. Should it be closed all the same, its whole text counts.
    Superseded,
    Closed,
}

impl Turn {
    pub(super) fn has_step(&self, message: &str) -> bool {
        self.steps
            .iter()
            .any(|step| step.id == message && !step.is_compaction())
    }

    pub(super) fn part(&mut self, part: &Part, now: u64, out: &mut Vec<Effect>) {
        if part.message == self.user {
            self.arrive(out);
            return;
        }
        if !self.has_step(&part.message) {
            return;
        }
        match content::kind_of(part) {
            Some(ItemKind::Tool) => self.tool(part, now, out),
            Some(kind) => {
                self.open(part, kind, Phase::Open, out);
                if part.is_closed() {
                    self.close(part, out);
                }
            }
            None => self.alive(now, out),
        }
    }

    /// A part that is new takes the place of one of its kind that is still open in the same message.
    pub(super) fn open(
        &mut self,
        part: &Part,
        kind: ItemKind,
        phase: Phase,
        out: &mut Vec<Effect>,
    ) {
        if self.parts.contains_key(&part.id) {
            return;
        }
        let mut replaced: Vec<String> = self
            .parts
            .iter()
            .filter(|(_, other)| {
                other.kind == kind
                    && other.message == part.message
                    && matches!(other.phase, Phase::Open | Phase::Stalled)
            })
            .map(|(id, _)| id.clone())
            .collect();
        replaced.sort();
        for id in replaced {
            self.reset(&id, Phase::Superseded, out);
        }
        let state = PartState {
            kind,
            message: part.message.clone(),
            shown: Shown::default(),
            phase,
            status: String::new(),
            shown_at: 0,
        };
        self.parts.insert(part.id.clone(), state);
    }

    pub(super) fn delta(&mut self, part: &str, message: &str, delta: &str, out: &mut Vec<Effect>) {
        let Some(state) = self.parts.get_mut(part) else {
            return;
        };
        if state.phase != Phase::Open || state.kind == ItemKind::Tool || state.message != message {
            return;
        }
        state.shown.push_str(delta);
        let drafts = content::pieces(part, state.kind, delta);
        for draft in drafts {
            self.emit(draft, out);
        }
    }

    /// The final text is authoritative. What is missing at its end is appended, anything else replaces what was shown.
    pub(super) fn close(&mut self, part: &Part, out: &mut Vec<Effect>) {
        let Some(state) = self.parts.get_mut(&part.id) else {
            return;
        };
        state.phase = Phase::Closed;
        let kind = state.kind;
        let shown = std::mem::replace(&mut state.shown, Shown::of(&part.text));
        let missing = if let Some(missing) = shown.rest_of(&part.text) {
            missing
        } else {
            self.emit(content::reset(&part.id), out);
            &part.text
        };
        for draft in content::pieces(&part.id, kind, missing) {
            self.emit(draft, out);
        }
    }

    pub(super) fn reset(&mut self, id: &str, phase: Phase, out: &mut Vec<Effect>) {
        let Some(state) = self.parts.get_mut(id) else {
            return;
        };
        state.phase = phase;
        let had_content = !std::mem::take(&mut state.shown).is_empty() || !state.status.is_empty();
        state.status.clear();
        if had_content {
            self.emit(content::reset(id), out);
        }
    }

    pub(super) fn tool(&mut self, part: &Part, now: u64, out: &mut Vec<Effect>) {
        self.open_tool(part);
        let Some(state) = self.parts.get_mut(&part.id) else {
            return;
        };
        let status = part.state.status.as_str();
        // The store can be older than the events: a status only moves forward.
        if rank(status) < rank(&state.status) || state.phase == Phase::Closed {
            return;
        }
        let same = status == state.status;
        if same && (status == "pending" || now < state.shown_at + TOOL_EVERY_MS) {
            return;
        }
        status.clone_into(&mut state.status);
        state.shown_at = now;
        if rank(status) == rank("completed") {
            state.phase = Phase::Closed;
        }
        self.emit(content::tool_draft(part), out);
    }

    pub(super) fn open_tool(&mut self, part: &Part) {
        self.parts
            .entry(part.id.clone())
            .or_insert_with(|| PartState {
                kind: ItemKind::Tool,
                message: part.message.clone(),
                shown: Shown::default(),
                phase: Phase::Open,
                status: String::new(),
                shown_at: 0,
            });
    }
}

fn rank(status: &str) -> u8 {
    match status {
        "pending" => 1,
        "running" => 2,
        "completed" | "error" => 3,
        _ => 0,
    }
}
