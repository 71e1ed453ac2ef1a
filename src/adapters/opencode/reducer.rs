//! OpenCode's events in, ours out. Pure: no clock, no socket; the pump feeds it and does what it asks.
//!
//! It follows one turn. Texts stream as they come; a part that is abandoned (a provider's retry, a new part in its place
//! while it was open) or whose final text is another is reset. The end of a turn is **not** the first `session.idle`:
//! it is an idle after work, confirmed by the store, which is asked once more so that nothing streamed can differ from what is kept.
//! Exactly one `TurnEnded` is given for each turn, and nothing of the turn after it.

use std::collections::{HashMap, HashSet};

use orchestrator_actors::domain::ids::{ConversationId, TurnId};
use orchestrator_actors::domain::item::{Draft, ItemKind};
use orchestrator_actors::ports::agent::{AgentEvent, RequestId, TurnEnd};

use super::content;
use super::stored;
use super::wire::{Event, Info, Part, Request, Status, Stored, WireError};

/// After an idle, how long the last message may still need to be completed (measured: 36 ms).
const IDLE_GRACE_MS: u64 = 500;

/// The least time between two outputs of a running tool.
const TOOL_EVERY_MS: u64 = 500;

/// The least time between two signs of life.
const ALIVE_EVERY_MS: u64 = 1000;

/// What the pump does next.
#[derive(Debug, PartialEq)]
pub enum Effect {
    Emit(AgentEvent),
    /// The store or an event shows that the prompt arrived.
    Arrived,
    /// Read messages and status, then call [`Reducer::settle`].
    AskStore,
}

#[derive(Debug, Default)]
pub struct Reducer {
    turn: Option<Turn>,
    /// Sessions of sub-agents, which work for the conversation.
    children: HashSet<String>,
}

#[derive(Debug)]
struct Turn {
    id: TurnId,
    conversation: String,
    user: String,
    /// User messages whose answers belong to the turn: its own, and those that OpenCode makes when it compacts.
    parents: HashSet<String>,
    user_created: f64,
    steps: Vec<Info>,
    parts: HashMap<String, PartState>,
    pending: HashSet<String>,
    arrived: bool,
    busy_seen: bool,
    idle_since: Option<u64>,
    idle_polls: u32,
    asked_store: bool,
    abort_asked: bool,
    rejected: bool,
    error: Option<WireError>,
    last_sign: u64,
}

#[derive(Debug)]
struct PartState {
    kind: ItemKind,
    message: String,
    /// What was streamed and not reset.
    shown: String,
    phase: Phase,
    /// Of a tool: its last status and when its last output was shown.
    status: String,
    shown_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Events were missed: what comes before its end would have a hole.
    Stalled,
    /// Abandoned. Should it be closed all the same, its whole text counts.
    Superseded,
    Closed,
}

impl Reducer {
    /// Begins to follow a turn. `false` while another one is followed.
    pub fn begin(
        &mut self,
        id: TurnId,
        conversation: &ConversationId,
        user: &str,
        now: u64,
    ) -> bool {
        if self.turn.is_some() {
            return false;
        }
        self.turn = Some(Turn {
            id,
            conversation: conversation.as_str().to_owned(),
            user: user.to_owned(),
            parents: HashSet::from([user.to_owned()]),
            user_created: f64::INFINITY,
            steps: Vec::new(),
            parts: HashMap::new(),
            pending: HashSet::new(),
            arrived: false,
            busy_seen: false,
            idle_since: None,
            idle_polls: 0,
            asked_store: false,
            abort_asked: false,
            rejected: false,
            error: None,
            last_sign: now,
        });
        true
    }

    /// The prompt did not arrive: nothing is followed any more.
    pub fn forget(&mut self, id: &TurnId) {
        if self.turn.as_ref().is_some_and(|turn| turn.id == *id) {
            self.turn = None;
        }
    }

    pub fn is_following(&self) -> bool {
        self.turn.is_some()
    }

    pub fn conversation(&self) -> Option<ConversationId> {
        self.turn
            .as_ref()
            .map(|turn| ConversationId::new(turn.conversation.clone()))
    }

    pub fn abort_asked(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.abort_asked = true;
        }
    }

    pub fn event(&mut self, event: Event, now: u64) -> Vec<Effect> {
        if let Event::Session {
            id,
            parent: Some(parent),
        } = &event
        {
            let ours = self
                .turn
                .as_ref()
                .is_some_and(|turn| turn.conversation == *parent);
            if ours || self.children.contains(parent) {
                self.children.insert(id.clone());
            }
        }
        let Some(turn) = &mut self.turn else {
            return Vec::new();
        };
        let mut out = Vec::new();
        match event {
            Event::Message(info) if info.session == turn.conversation => {
                turn.message(info, &mut out);
            }
            Event::Part(part) if part.session == turn.conversation => {
                if let Some(child) = part.state.metadata["sessionId"].as_str() {
                    self.children.insert(child.to_owned());
                }
                turn.part(&part, now, &mut out);
            }
            Event::Delta {
                session,
                part,
                message,
                delta,
            } if session == turn.conversation => {
                turn.delta(&part, &message, &delta, &mut out);
            }
            Event::PartRemoved { part } => turn.reset(&part, Phase::Closed, &mut out),
            Event::Status { session, status } if session == turn.conversation => {
                turn.status(&status, now, &mut out);
            }
            Event::Idle { session } if session == turn.conversation => turn.idle(now, &mut out),
            Event::Error { session, error }
                if session
                    .as_ref()
                    .is_none_or(|session| *session == turn.conversation) =>
            {
                turn.arrive(&mut out);
                // An error without a turn at work (an unknown agent) brings no idle: the store is asked after the grace.
                if turn.error.is_none() {
                    turn.error = Some(error);
                }
                if !turn.busy_seen && turn.idle_since.is_none() {
                    turn.idle_since = Some(now);
                }
            }
            Event::Asked(request)
                if request.session == turn.conversation
                    || self.children.contains(&request.session) =>
            {
                turn.asked(&request, &mut out);
            }
            Event::Answered { request, rejected } => turn.answered(&request, rejected, &mut out),
            other => {
                let session = session_of(&other);
                let ours = session.is_some_and(|session| {
                    session == turn.conversation || self.children.contains(session)
                });
                if ours {
                    turn.alive(now, &mut out);
                }
            }
        }
        turn.note_sign(now, &out);
        out
    }

    /// The connection was lost: what is open now may miss deltas.
    pub fn lost(&mut self) {
        if let Some(turn) = &mut self.turn {
            for part in turn
                .parts
                .values_mut()
                .filter(|part| part.phase == Phase::Open)
            {
                part.phase = Phase::Stalled;
            }
        }
    }

    /// What the store says after a reconnect. Only closed parts count: an open one is stored empty.
    pub fn caught_up(
        &mut self,
        messages: &[Stored],
        busy: bool,
        requests: &[Request],
        now: u64,
    ) -> Vec<Effect> {
        let mut out = Vec::new();
        let Some(turn) = &mut self.turn else {
            return out;
        };
        turn.read_store(messages, now, &mut out);
        for request in requests {
            if request.session == turn.conversation || self.children.contains(&request.session) {
                turn.asked(request, &mut out);
            }
        }
        let waiting: HashSet<&str> = requests.iter().map(|request| request.id.as_str()).collect();
        let gone: Vec<String> = turn
            .pending
            .iter()
            .filter(|id| !waiting.contains(id.as_str()))
            .cloned()
            .collect();
        for id in gone {
            turn.answered(&id, false, &mut out);
        }
        if busy {
            turn.busy_seen = true;
            turn.idle_since = None;
        } else if turn.busy_seen || !turn.steps.is_empty() {
            turn.busy_seen = true;
            turn.idle(now, &mut out);
        }
        turn.note_sign(now, &out);
        out
    }

    /// Time passes. To be called a few times a second while a turn is followed.
    pub fn tick(&mut self, now: u64) -> Vec<Effect> {
        let mut out = Vec::new();
        if let Some(turn) = &mut self.turn
            && turn
                .idle_since
                .is_some_and(|since| now >= since + IDLE_GRACE_MS)
        {
            turn.ask_store(&mut out);
        }
        out
    }

    /// What `/session/status` says, polled while a turn is followed, because an idle can get lost. A running tool counts as a
    /// sign of life: a long build is silent and healthy.
    pub fn polled(&mut self, busy: bool, now: u64) -> Vec<Effect> {
        let mut out = Vec::new();
        let Some(turn) = &mut self.turn else {
            return out;
        };
        if busy {
            turn.busy_seen = true;
            turn.idle_polls = 0;
            let at_work =
                |part: &PartState| part.kind == ItemKind::Tool && part.status == "running";
            if turn.parts.values().any(at_work) {
                turn.alive(now, &mut out);
                turn.note_sign(now, &out);
            }
            return out;
        }
        turn.idle_polls += 1;
        // A prompt that has just arrived is not busy yet.
        if turn.arrived && (turn.busy_seen || turn.idle_polls > 1) {
            turn.busy_seen = true;
            turn.idle(now, &mut out);
        }
        out
    }

    /// The answer to [`Effect::AskStore`]; `None` when the store cannot be read any more: then what was seen decides.
    pub fn settle(&mut self, store: Option<(&[Stored], bool)>, now: u64) -> Vec<Effect> {
        let mut out = Vec::new();
        let Some(turn) = &mut self.turn else {
            return out;
        };
        if let Some((messages, busy)) = store {
            turn.read_store(messages, now, &mut out);
            turn.asked_store = false;
            if busy {
                turn.busy_seen = true;
                turn.idle_since = None;
                return out;
            }
        }
        let end = turn.end();
        if matches!(end, TurnEnd::Complete { .. }) {
            // A complete answer has no open parts: these are leftovers of a try that was given up.
            let mut open: Vec<String> = turn
                .parts
                .iter()
                .filter(|(_, part)| {
                    store.is_some() && part.kind != ItemKind::Tool && part.phase != Phase::Closed
                })
                .map(|(id, _)| id.clone())
                .collect();
            open.sort();
            for id in open {
                turn.reset(&id, Phase::Closed, &mut out);
            }
        }
        for id in std::mem::take(&mut turn.pending) {
            out.push(Effect::Emit(AgentEvent::Settled {
                request: RequestId(id),
            }));
        }
        out.push(Effect::Emit(AgentEvent::TurnEnded {
            turn: turn.id.clone(),
            ended: end,
        }));
        self.turn = None;
        self.children.clear();
        out
    }

    /// The child is gone. A turn whose end was already seen ends by it; any other is the caller's to judge.
    pub fn child_gone(&mut self, now: u64) -> Vec<Effect> {
        let seen = self.turn.as_ref().is_some_and(|turn| {
            (turn.asked_store || turn.idle_since.is_some())
                && turn
                    .steps
                    .last()
                    .is_some_and(|last| stored::is_final(last) || last.error.is_some())
        });
        if seen {
            self.settle(None, now)
        } else {
            Vec::new()
        }
    }
}

impl Turn {
    fn arrive(&mut self, out: &mut Vec<Effect>) {
        if !self.arrived {
            self.arrived = true;
            out.push(Effect::Arrived);
        }
    }

    fn emit(&self, draft: Draft, out: &mut Vec<Effect>) {
        out.push(Effect::Emit(AgentEvent::Item {
            turn: self.id.clone(),
            draft,
        }));
    }

    fn alive(&mut self, now: u64, out: &mut Vec<Effect>) {
        if now >= self.last_sign + ALIVE_EVERY_MS {
            out.push(Effect::Emit(AgentEvent::Alive {
                turn: self.id.clone(),
            }));
        }
    }

    fn note_sign(&mut self, now: u64, out: &[Effect]) {
        if out.iter().any(|effect| matches!(effect, Effect::Emit(_))) {
            self.last_sign = now;
        }
    }

    fn message(&mut self, info: Info, out: &mut Vec<Effect>) {
        if info.id == self.user {
            self.user_created = info.time.created;
            self.arrive(out);
            return;
        }
        if !info.is_assistant() {
            // There are never two turns in one conversation: a later user message is one of OpenCode's own making.
            if info.time.created >= self.user_created {
                self.parents.insert(info.id);
            }
            return;
        }
        if !info
            .parent
            .as_deref()
            .is_some_and(|parent| self.parents.contains(parent))
        {
            return;
        }
        self.arrive(out);
        let completed = info.time.completed.is_some();
        match self.steps.iter_mut().find(|step| step.id == info.id) {
            Some(known) => merge(known, info),
            None => self.steps.push(info),
        }
        if completed && self.idle_since.is_some() {
            self.ask_store(out);
        }
    }

    fn has_step(&self, message: &str) -> bool {
        self.steps
            .iter()
            .any(|step| step.id == message && !step.is_compaction())
    }

    fn part(&mut self, part: &Part, now: u64, out: &mut Vec<Effect>) {
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
    fn open(&mut self, part: &Part, kind: ItemKind, phase: Phase, out: &mut Vec<Effect>) {
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
            shown: String::new(),
            phase,
            status: String::new(),
            shown_at: 0,
        };
        self.parts.insert(part.id.clone(), state);
    }

    fn delta(&mut self, part: &str, message: &str, delta: &str, out: &mut Vec<Effect>) {
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
    fn close(&mut self, part: &Part, out: &mut Vec<Effect>) {
        let Some(state) = self.parts.get_mut(&part.id) else {
            return;
        };
        state.phase = Phase::Closed;
        if state.shown == part.text {
            return;
        }
        let kind = state.kind;
        let shown = std::mem::replace(&mut state.shown, part.text.clone());
        let missing = if let Some(missing) = part.text.strip_prefix(&shown) {
            missing
        } else {
            self.emit(content::reset(&part.id), out);
            &part.text
        };
        for draft in content::pieces(&part.id, kind, missing) {
            self.emit(draft, out);
        }
    }

    fn reset(&mut self, id: &str, phase: Phase, out: &mut Vec<Effect>) {
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

    fn tool(&mut self, part: &Part, now: u64, out: &mut Vec<Effect>) {
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

    fn open_tool(&mut self, part: &Part) {
        self.parts
            .entry(part.id.clone())
            .or_insert_with(|| PartState {
                kind: ItemKind::Tool,
                message: part.message.clone(),
                shown: String::new(),
                phase: Phase::Open,
                status: String::new(),
                shown_at: 0,
            });
    }

    fn status(&mut self, status: &Status, now: u64, out: &mut Vec<Effect>) {
        match status.kind.as_str() {
            "busy" => {
                self.arrive(out);
                self.busy_seen = true;
                self.idle_since = None;
                self.alive(now, out);
            }
            "retry" => {
                self.arrive(out);
                self.busy_seen = true;
                self.idle_since = None;
                // The retry starts its text again in new parts; those that are open stay open for ever.
                let mut open: Vec<String> = self
                    .parts
                    .iter()
                    .filter(|(_, part)| {
                        part.kind != ItemKind::Tool
                            && matches!(part.phase, Phase::Open | Phase::Stalled)
                    })
                    .map(|(id, _)| id.clone())
                    .collect();
                open.sort();
                for id in open {
                    self.reset(&id, Phase::Superseded, out);
                }
                out.push(Effect::Emit(AgentEvent::Retrying {
                    turn: self.id.clone(),
                    attempt: status.attempt,
                    next_ms: status.next as u64,
                    message: status.message.chars().take(500).collect(),
                }));
            }
            "idle" => self.idle(now, out),
            _ => {}
        }
    }

    fn idle(&mut self, now: u64, out: &mut Vec<Effect>) {
        if !self.busy_seen && self.error.is_none() {
            return;
        }
        if self.idle_since.is_none() {
            self.idle_since = Some(now);
        }
        if self
            .steps
            .last()
            .is_some_and(|last| last.time.completed.is_some())
        {
            self.ask_store(out);
        }
    }

    fn ask_store(&mut self, out: &mut Vec<Effect>) {
        if !self.asked_store {
            self.asked_store = true;
            out.push(Effect::AskStore);
        }
    }

    fn asked(&mut self, request: &Request, out: &mut Vec<Effect>) {
        if self.pending.insert(request.id.clone()) {
            out.push(Effect::Emit(AgentEvent::Asked {
                turn: self.id.clone(),
                request: RequestId(request.id.clone()),
                what: request.what(),
            }));
        }
    }

    fn answered(&mut self, request: &str, rejected: bool, out: &mut Vec<Effect>) {
        if self.pending.remove(request) {
            self.rejected |= rejected;
            out.push(Effect::Emit(AgentEvent::Settled {
                request: RequestId(request.to_owned()),
            }));
        }
    }

    fn read_store(&mut self, messages: &[Stored], now: u64, out: &mut Vec<Effect>) {
        if let Some(user) = messages.iter().find(|message| message.info.id == self.user) {
            self.message(user.info.clone(), out);
        }
        for step in stored::steps(&self.user.clone(), messages) {
            if let Some(parent) = &step.info.parent {
                self.parents.insert(parent.clone());
            }
            self.message(step.info.clone(), out);
            if step.info.is_compaction() {
                continue;
            }
            for part in &step.parts {
                match content::kind_of(part) {
                    Some(ItemKind::Tool) => {
                        let over = step.info.time.completed.is_some();
                        let part = if over {
                            stored::ended(part)
                        } else {
                            part.clone()
                        };
                        self.tool(&part, now, out);
                    }
                    Some(kind) => {
                        // Open in the store and unknown here: its first deltas were missed.
                        self.open(part, kind, Phase::Stalled, out);
                        if part.is_closed() {
                            self.close(part, out);
                        }
                    }
                    None => {}
                }
            }
        }
    }

    fn end(&self) -> TurnEnd {
        let usage = content::usage(&self.steps);
        let last = self.steps.last();
        let error = last.and_then(|last| last.error.as_ref()).or_else(|| {
            // A step that completed after an error event is the retry's success.
            if last.is_some_and(stored::is_final) {
                None
            } else {
                self.error.as_ref()
            }
        });
        if let Some(error) = error {
            return if content::is_abort(error) {
                TurnEnd::Aborted { usage }
            } else {
                TurnEnd::Failed {
                    error: content::turn_error(error),
                    usage,
                }
            };
        }
        if last.is_some_and(stored::is_final) {
            return TurnEnd::Complete { usage };
        }
        // An abort between two tries completes the message without finish and error (measured).
        let stopped =
            last.is_some_and(|last| last.time.completed.is_some() && last.finish.is_none());
        if self.abort_asked || stopped {
            return TurnEnd::Aborted { usage };
        }
        let steps: Vec<&Info> = self.steps.iter().collect();
        TurnEnd::Failed {
            error: stored::unfinished(&steps, self.rejected),
            usage,
        }
    }
}

/// The store can be older than the events: what was known stays.
fn merge(known: &mut Info, newer: Info) {
    let earlier = std::mem::replace(known, newer);
    known.time.completed = known.time.completed.or(earlier.time.completed);
    known.finish = known.finish.take().or(earlier.finish);
    known.error = known.error.take().or(earlier.error);
}

fn rank(status: &str) -> u8 {
    match status {
        "pending" => 1,
        "running" => 2,
        "completed" | "error" => 3,
        _ => 0,
    }
}

fn session_of(event: &Event) -> Option<&str> {
    match event {
        Event::Message(info) => Some(&info.session),
        Event::Part(part) => Some(&part.session),
        Event::Delta { session, .. } | Event::Status { session, .. } | Event::Idle { session } => {
            Some(session)
        }
        Event::Error { session, .. } | Event::Other { session } => session.as_deref(),
        Event::Session { id, .. } => Some(id),
        _ => None,
    }
}

#[cfg(test)]
#[path = "reducer_tests.rs"]
mod tests;
