//! Settling a turn: from the assistant's store, from its events, by guards, by the owner's abort.

use super::machine::{Child, SessionMachine};
use super::turn::{Request, Stage};
use super::{Effect, Prompt, Unsettled};
use crate::domain::assistant::{AgentError, AgentEvent, TurnEnd};
use crate::domain::item::Draft;
use crate::domain::turn::{Ending, Outcome, StoredTurn};

/// The abort is asked for again after this time, until the turn is over.
const ABORT_AGAIN_MS: u64 = 2_000;
/// An assistant that has not stopped this long after the first abort is replaced.
const ABORT_LIMIT_MS: u64 = 15_000;

impl SessionMachine {
    /// The table of "a prompt is given once".
    pub(super) fn looked_up(
        &mut self,
        result: Result<StoredTurn, AgentError>,
        now: u64,
        jitter: f64,
        out: &mut Vec<Effect>,
    ) {
        let Some(turn) = self
            .turn
            .as_mut()
            .filter(|turn| turn.stage == Stage::LookingUp)
        else {
            return;
        };
        if let Some(granted) = &mut turn.granted
            && !granted.unsettled.is_empty()
        {
            match result {
                Ok(stored) => {
                    let earlier = granted.unsettled.remove(0);
                    settle_earlier(earlier, stored, out);
                    out.extend(turn.next_lookup());
                }
                Err(error) => self.child_failed(error.to_string(), now, jitter, out),
            }
            return;
        }
        let result = match (result, turn.left.take(), &turn.conversation) {
            (Ok(StoredTurn::Absent), Some(_), Some(conversation)) => {
                out.push(Effect::Lookup(conversation.clone(), turn.id.clone()));
                return;
            }
            // Given there, and cannot be gone on with here.
            (Ok(StoredTurn::Unanswered), Some(_), _) => Ok(StoredTurn::Begun),
            (result, ..) => result,
        };
        match result {
            Err(error) => self.child_failed(error.to_string(), now, jitter, out),
            Ok(StoredTurn::Absent | StoredTurn::Unanswered) => self.deliver_or_close(now, out),
            Ok(StoredTurn::Complete { parts, usage }) => {
                self.recover(parts, out);
                self.finish(Ending::complete(usage), out);
            }
            Ok(StoredTurn::Failed {
                parts,
                error,
                aborted,
                usage,
            }) => {
                self.recover(parts, out);
                let failed = Ending {
                    outcome: Outcome::Failed,
                    error: Some(error),
                    usage,
                    then: None,
                };
                let ending = if aborted {
                    // An assistant that is told to end writes down an abort, too; the owner's is known here.
                    let begun = self.begun();
                    Ending {
                        usage: failed.usage,
                        ..self.ending_without_answer(begun)
                    }
                } else {
                    failed
                };
                self.finish(ending, out);
            }
            Ok(StoredTurn::Begun) => {
                let begun = self.begun();
                let ending = self.ending_without_answer(begun);
                self.finish(ending, out);
            }
        }
    }

    /// How a turn ends that the assistant had taken up before it ended.
    fn begun(&self) -> Ending {
        let reason = match &self.last_error {
            Some(error) => format!("the answer had begun when its assistant ended ({error})"),
            None => "the answer had begun when its supervisor or assistant ended".to_owned(),
        };
        Ending::because(Outcome::Interrupted, "begun", reason)
    }

    fn deliver_or_close(&mut self, now: u64, out: &mut Vec<Effect>) {
        let Some(turn) = &mut self.turn else { return };
        let Some(granted) = &turn.granted else { return };
        let Some(conversation) = turn.conversation.clone() else {
            return;
        };
        if turn.abort {
            return self.finish(aborted(), out);
        }
        if let Some(verdict) = turn.verdict.take() {
            return self.finish(verdict, out);
        }
        if granted.claimed_boot != self.boot_id {
            return self.finish(
                Ending::because(
                    Outcome::Interrupted,
                    "machine_restarted",
                    "the machine restarted after this message was taken; whether the assistant saw it is not certain",
                ),
                out,
            );
        }
        turn.stage = Stage::Delivering;
        turn.last_event_ms = now;
        out.push(Effect::Deliver(Box::new(Prompt {
            conversation,
            turn: turn.id.clone(),
            content: granted.content.clone(),
            model: granted.model.clone(),
        })));
    }

    /// What the store has replaces what was streamed: the parts come with a reset each.
    fn recover(&mut self, parts: Vec<Draft>, out: &mut Vec<Effect>) {
        let Some(turn) = &mut self.turn else { return };
        turn.items += parts.len() as u64;
        out.push(Effect::Push(turn.id.clone(), parts));
    }

    pub(super) fn delivered(
        &mut self,
        result: Result<(), AgentError>,
        now: u64,
        jitter: f64,
        out: &mut Vec<Effect>,
    ) {
        let Some(turn) = self
            .turn
            .as_mut()
            .filter(|turn| turn.stage == Stage::Delivering)
        else {
            return;
        };
        match result {
            Ok(()) => {
                turn.stage = Stage::Streaming;
                turn.last_event_ms = now;
            }
            // Nothing is wrong with the child: only this turn ends.
            Err(AgentError::Unacceptable(reason)) => {
                self.finish(
                    Ending::because(Outcome::Failed, "prompt_refused", reason),
                    out,
                );
            }
            // Whether it arrived is looked up again, in a new child.
            Err(error) => self.child_failed(error.to_string(), now, jitter, out),
        }
    }

    pub(super) fn event(&mut self, event: AgentEvent, now: u64, out: &mut Vec<Effect>) {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.is_running()) else {
            return;
        };
        match event {
            AgentEvent::Item { turn: id, draft } if id == turn.id => {
                turn.stage = Stage::Streaming;
                turn.last_event_ms = now;
                turn.items += 1;
                if turn.verdict.is_none() {
                    out.push(Effect::Push(id, vec![draft]));
                }
            }
            AgentEvent::Retrying {
                turn: id,
                next_ms,
                message,
                ..
            } if id == turn.id => {
                turn.last_event_ms = now;
                if next_ms > self.limits.retry_limit_ms && turn.verdict.is_none() {
                    turn.verdict = Some(Ending::because(
                        Outcome::Failed,
                        "provider_retry",
                        format!("the provider asks to wait {} s: {message}", next_ms / 1_000),
                    ));
                }
            }
            AgentEvent::Asked {
                turn: id,
                request,
                what,
            } if id == turn.id => {
                turn.last_event_ms = now;
                turn.requests.push(Request {
                    id: request,
                    what,
                    since_ms: now,
                    rejected: false,
                });
            }
            AgentEvent::Settled { request } => {
                turn.last_event_ms = now;
                turn.requests.retain(|pending| pending.id != request);
            }
            AgentEvent::Alive { turn: id } if id == turn.id => turn.last_event_ms = now,
            AgentEvent::TurnEnded { turn: id, ended } if id == turn.id => {
                self.turn_ended(ended, out);
            }
            _ => {}
        }
    }

    fn turn_ended(&mut self, ended: TurnEnd, out: &mut Vec<Effect>) {
        let ending = match ended {
            // An answer that was complete before a stop reached it stays complete.
            TurnEnd::Complete { usage } => Ending::complete(usage),
            TurnEnd::Failed { error, usage } => Ending {
                outcome: Outcome::Failed,
                error: Some(error),
                usage,
                then: None,
            },
            TurnEnd::Aborted { usage } => {
                let otherwise = if self.child == Child::Stopping {
                    Ending::because(
                        Outcome::Interrupted,
                        "stopped",
                        "the supervisor stopped during the answer",
                    )
                } else {
                    Ending::because(
                        Outcome::Aborted,
                        "aborted",
                        "the answer was stopped in the assistant",
                    )
                };
                Ending {
                    usage,
                    ..self.ending_without_answer(otherwise)
                }
            }
        };
        self.finish(ending, out);
    }

    /// How a turn ends whose answer will not be complete: by its guard's verdict, the owner's abort, or `otherwise`.
    pub(super) fn ending_without_answer(&mut self, otherwise: Ending) -> Ending {
        let Some(turn) = &mut self.turn else {
            return otherwise;
        };
        match turn.verdict.take() {
            Some(verdict) => verdict,
            None if turn.abort => aborted(),
            None => otherwise,
        }
    }

    /// Silence and requests that nobody answers.
    pub(super) fn guard_turn(&mut self, now: u64, out: &mut Vec<Effect>) {
        let limits = self.limits.clone();
        let Some(turn) = self
            .turn
            .as_mut()
            .filter(|turn| turn.stage == Stage::Streaming)
        else {
            return;
        };
        for request in turn.requests.iter_mut().filter(|request| !request.rejected) {
            if now.saturating_sub(request.since_ms) >= limits.request_ms {
                request.rejected = true;
                let reason = format!("nobody answered within {} s", limits.request_ms / 1_000);
                out.push(Effect::Reject(request.id.clone(), reason));
                turn.last_event_ms = now;
            }
        }
        let waiting = turn.requests.iter().any(|request| !request.rejected);
        if !waiting
            && turn.verdict.is_none()
            && now.saturating_sub(turn.last_event_ms) >= limits.silence_ms
        {
            turn.verdict = Some(Ending::because(
                Outcome::Failed,
                "silent",
                format!(
                    "the assistant was silent for {} s",
                    limits.silence_ms / 1_000
                ),
            ));
        }
    }

    /// Asks a running turn to stop, again and again, when it has to.
    pub(super) fn advance_running(&mut self, now: u64, out: &mut Vec<Effect>) {
        let Some(turn) = self
            .turn
            .as_mut()
            .filter(|turn| turn.stage == Stage::Streaming)
        else {
            return;
        };
        if !turn.abort && turn.verdict.is_none() {
            return;
        }
        let Some(conversation) = turn.conversation.clone() else {
            return;
        };
        match turn.abort_asked {
            Some((first, _)) if now.saturating_sub(first) >= ABORT_LIMIT_MS => self.stop_child(out),
            Some((_, last)) if now.saturating_sub(last) < ABORT_AGAIN_MS => {}
            asked => {
                turn.abort_asked = Some((asked.map_or(now, |(first, _)| first), now));
                out.push(Effect::Abort(conversation));
            }
        }
    }
}

/// An earlier turn was closed before the store could be asked. What the store says now replaces that, for good.
fn settle_earlier(earlier: Unsettled, stored: StoredTurn, out: &mut Vec<Effect>) {
    let Unsettled { turn, next_index } = earlier;
    let (parts, ending) = match stored {
        StoredTurn::Complete { parts, usage } => (parts, Ending::complete(usage)),
        StoredTurn::Failed {
            parts,
            error,
            aborted,
            usage,
        } => {
            let outcome = if aborted {
                Outcome::Interrupted
            } else {
                Outcome::Failed
            };
            let ending = Ending {
                outcome,
                error: Some(error),
                usage,
                then: None,
            };
            (parts, ending)
        }
        StoredTurn::Begun => (
            Vec::new(),
            Ending::because(
                Outcome::Interrupted,
                "begun",
                "the answer had begun when its assistant ended",
            ),
        ),
        StoredTurn::Absent | StoredTurn::Unanswered => (
            Vec::new(),
            Ending::because(
                Outcome::Failed,
                "not_answered",
                "the assistant never answered it, and it is too late now: later messages may have been",
            ),
        ),
    };
    out.push(Effect::OpenStream {
        turn: turn.clone(),
        next_index,
    });
    if !parts.is_empty() {
        out.push(Effect::Push(turn.clone(), parts));
    }
    out.push(Effect::Finish(turn, ending));
}

fn aborted() -> Ending {
    Ending::because(Outcome::Aborted, "aborted", "stopped by its owner")
}
