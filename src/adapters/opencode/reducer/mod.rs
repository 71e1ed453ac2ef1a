//! OpenCode's events in, ours out. Pure: no clock, no socket; the pump feeds it and does what it asks.
//!
//! It follows one turn. Texts stream as they come; a part that is abandoned (a provider's retry, a new part in its place
//! while it was open) or whose final text is another is reset. The end of a turn is **not** the first `session.idle`:
//! it is an idle after work, confirmed by the store, which is asked once more so that nothing streamed can differ from what is kept.
//! Exactly one `TurnEnded` is given for each turn, and nothing of the turn after it.

mod parts;
mod shown;
mod turn;

use std::collections::{HashMap, HashSet};

use orchestrator_actors::domain::ids::{ConversationId, TurnId};
use orchestrator_actors::domain::item::ItemKind;
use orchestrator_actors::ports::agent::{AgentEvent, RequestId, TurnEnd};

use self::parts::{PartState, Phase};
use self::turn::Turn;
use super::stored;
use super::wire::{Event, Request, Stored};

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
    /// Sessions of sub-agents, which work for the conversation, and what they are called.
    children: HashMap<String, String>,
    /// Requests of turns that are over: OpenCode keeps those that an abort left behind.
    stale: HashSet<String>,
    /// The conversation of the last turn, and what it was called when it was last heard of.
    named: Option<(String, Option<String>)>,
}

/// What is asked, read at one moment. Events can be missed (an event that is too large, a stream that was away), and a request
/// that nobody hears of would wait for ever.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    pub requests: Vec<Request>,
    /// Sessions that ask and descend from the conversation.
    pub within: Vec<String>,
    /// What was known to be asked when the reading began.
    pub known: HashSet<String>,
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
        if self.named.as_ref().map(|(id, _)| id.as_str()) != Some(conversation.as_str()) {
            self.named = Some((conversation.as_str().to_owned(), None));
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
            title,
        } = &event
        {
            let ours = self
                .turn
                .as_ref()
                .is_some_and(|turn| turn.conversation == *parent);
            if ours || self.children.contains_key(parent) {
                self.children.insert(id.clone(), title.clone());
            }
        }
        let mut out = Vec::new();
        if let Event::Session { id, title, .. } = &event {
            self.called(id, title, &mut out);
        }
        let Some(turn) = &mut self.turn else {
            // A turn that has ended is still told about by what it left: no later one's, whoever finds it.
            if let Event::Asked(request) = event {
                self.stale.insert(request.id);
            }
            return out;
        };
        match event {
            Event::Message(info) if info.session == turn.conversation => {
                turn.message(info, &mut out);
            }
            Event::Part(part) if part.session == turn.conversation => {
                if let Some(child) = part.state.metadata["sessionId"].as_str() {
                    self.children.entry(child.to_owned()).or_default();
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
            Event::Asked(request) if !self.stale.contains(&request.id) => {
                let child = self.children.get(&request.session);
                if child.is_some() || request.session == turn.conversation {
                    turn.asked(&request, child.map(String::as_str), &mut out);
                }
            }
            Event::Answered { request, rejected } => turn.answered(&request, rejected, &mut out),
            other => {
                let session = session_of(&other);
                let ours = session.is_some_and(|session| {
                    session == turn.conversation || self.children.contains_key(session)
                });
                if ours {
                    turn.alive(now, &mut out);
                }
            }
        }
        turn.note_sign(now, &out);
        out
    }

    /// The first name that is heard is the one that it has; people can give another one also between turns.
    fn called(&mut self, id: &str, title: &str, out: &mut Vec<Effect>) {
        let Some((_, known)) = self.named.as_mut().filter(|(named, _)| named == id) else {
            return;
        };
        if title.trim().is_empty() || known.as_deref() == Some(title) {
            return;
        }
        if known.replace(title.to_owned()).is_some() {
            out.push(Effect::Emit(AgentEvent::Titled {
                title: title.to_owned(),
            }));
        }
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

    /// What is asked at present, for [`Asking::known`].
    pub fn asked(&self) -> HashSet<String> {
        let turn = self.turn.as_ref();
        turn.map(|turn| turn.pending.clone()).unwrap_or_default()
    }

    /// What the store says after a reconnect. Only closed parts count: an open one is stored empty. Of requests only those
    /// can be gone that were there before the store was read: what was asked since is not in it yet.
    pub fn caught_up(
        &mut self,
        messages: &[Stored],
        busy: bool,
        asking: &Asking,
        now: u64,
    ) -> Vec<Effect> {
        let mut out = Vec::new();
        let Some(turn) = &mut self.turn else {
            return out;
        };
        turn.read_store(messages, now, &mut out);
        // Of a sub-agent that was started meanwhile its session's event was missed.
        let parts = messages.iter().flat_map(|message| &message.parts);
        for part in parts.filter(|part| turn.parts.contains_key(&part.id)) {
            if let Some(child) = part.state.metadata["sessionId"].as_str() {
                self.children.entry(child.to_owned()).or_default();
            }
        }
        self.requested(asking, &mut out);
        let Some(turn) = &mut self.turn else {
            return out;
        };
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

    /// What OpenCode says is asked, whether its events have arrived or not.
    fn requested(&mut self, asking: &Asking, out: &mut Vec<Effect>) {
        let Some(turn) = &mut self.turn else {
            return;
        };
        for session in &asking.within {
            self.children.entry(session.clone()).or_default();
        }
        let requests = &asking.requests;
        for request in requests {
            if self.stale.contains(&request.id) {
                continue;
            }
            let child = self.children.get(&request.session);
            // What another turn left behind names a message of that turn.
            let ours = request.session == turn.conversation && turn.is_of_turn(request);
            if child.is_some() || ours {
                turn.asked(request, child.map(String::as_str), out);
            }
        }
        let waiting: HashSet<&str> = requests.iter().map(|request| request.id.as_str()).collect();
        let gone: Vec<String> = turn
            .pending
            .iter()
            .filter(|id| asking.known.contains(*id) && !waiting.contains(id.as_str()))
            .cloned()
            .collect();
        for id in gone {
            turn.answered(&id, false, out);
        }
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
    pub fn polled(&mut self, busy: bool, asking: Option<&Asking>, now: u64) -> Vec<Effect> {
        let mut out = Vec::new();
        if let Some(asking) = asking {
            self.requested(asking, &mut out);
        }
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
            self.stale.insert(id.clone());
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
mod tests;
