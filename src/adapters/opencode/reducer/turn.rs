//! The turn that the reducer follows: its messages, its status, its requests, and how it ended.

use std::collections::{HashMap, HashSet};

use orchestrator_actors::domain::ids::TurnId;
use orchestrator_actors::domain::item::{Draft, ItemKind};
use orchestrator_actors::ports::agent::{AgentEvent, RequestId, TurnEnd};

use super::parts::{PartState, Phase};
use super::{ALIVE_EVERY_MS, Effect};
use crate::adapters::opencode::wire::{Info, Request, Status, Stored, WireError};
use crate::adapters::opencode::{asking, content, stored};

#[derive(Debug)]
pub(super) struct Turn {
    pub(super) id: TurnId,
    pub(super) conversation: String,
    pub(super) user: String,
    /// User messages whose answers belong to the turn: its own, and those that OpenCode makes when it compacts.
    pub(super) parents: HashSet<String>,
    pub(super) user_created: f64,
    pub(super) steps: Vec<Info>,
    pub(super) parts: HashMap<String, PartState>,
    pub(super) pending: HashSet<String>,
    pub(super) arrived: bool,
    pub(super) busy_seen: bool,
    pub(super) idle_since: Option<u64>,
    pub(super) idle_polls: u32,
    pub(super) asked_store: bool,
    pub(super) abort_asked: bool,
    pub(super) rejected: bool,
    pub(super) error: Option<WireError>,
    pub(super) last_sign: u64,
}

impl Turn {
    pub(super) fn arrive(&mut self, out: &mut Vec<Effect>) {
        if !self.arrived {
            self.arrived = true;
            out.push(Effect::Arrived);
        }
    }

    pub(super) fn emit(&self, draft: Draft, out: &mut Vec<Effect>) {
        out.push(Effect::Emit(AgentEvent::Item {
            turn: self.id.clone(),
            draft,
        }));
    }

    pub(super) fn alive(&mut self, now: u64, out: &mut Vec<Effect>) {
        if now >= self.last_sign + ALIVE_EVERY_MS {
            out.push(Effect::Emit(AgentEvent::Alive {
                turn: self.id.clone(),
            }));
        }
    }

    pub(super) fn note_sign(&mut self, now: u64, out: &[Effect]) {
        if out.iter().any(|effect| matches!(effect, Effect::Emit(_))) {
            self.last_sign = now;
        }
    }

    pub(super) fn message(&mut self, info: Info, out: &mut Vec<Effect>) {
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

    pub(super) fn status(&mut self, status: &Status, now: u64, out: &mut Vec<Effect>) {
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

    pub(super) fn idle(&mut self, now: u64, out: &mut Vec<Effect>) {
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

    pub(super) fn ask_store(&mut self, out: &mut Vec<Effect>) {
        if !self.asked_store {
            self.asked_store = true;
            out.push(Effect::AskStore);
        }
    }

    /// Whether a step of this turn asks; a request that names none is taken for one.
    pub(super) fn is_of_turn(&self, request: &Request) -> bool {
        request.tool.as_ref().is_none_or(|call| {
            call.message.is_empty() || self.steps.iter().any(|step| step.id == call.message)
        })
    }

    pub(super) fn asked(&mut self, request: &Request, from: Option<&str>, out: &mut Vec<Effect>) {
        if self.pending.insert(request.id.clone()) {
            out.push(Effect::Emit(AgentEvent::Asked {
                turn: self.id.clone(),
                request: RequestId(request.id.clone()),
                asked: Box::new(asking::asked(request, from)),
            }));
        }
    }

    pub(super) fn answered(&mut self, request: &str, rejected: bool, out: &mut Vec<Effect>) {
        if self.pending.remove(request) {
            self.rejected |= rejected;
            out.push(Effect::Emit(AgentEvent::Settled {
                request: RequestId(request.to_owned()),
            }));
        }
    }

    pub(super) fn read_store(&mut self, messages: &[Stored], now: u64, out: &mut Vec<Effect>) {
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

    pub(super) fn end(&self) -> TurnEnd {
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
