//! Settling a turn: from the assistant's store, from its events, by guards, by the owner's abort.

use super::machine::{Child, SessionMachine};
use super::turn::Stage;
use super::{Effect, Prompt};
use crate::domain::assistant::{AgentError, AgentEvent, REJECTED, TurnEnd};
use crate::domain::turn::{Ending, Outcome, StoredTurn, TurnError};

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
                    self.settle_earlier(earlier, stored, out);
                }
                Err(error) => self.not_answered(error.to_string(), now, jitter, out),
            }
            return;
        }
        if result.is_ok() {
            turn.unanswered = 0;
        }
        let may_have_been_given = turn.may_have_been_given();
        let result = match (result, turn.left.take(), &turn.conversation) {
            // That conversation may be gone, with its store or without: then nothing says that the prompt was not given in it.
            (Ok(StoredTurn::Absent), Some(_), _) if may_have_been_given => Ok(StoredTurn::Begun),
            (Ok(StoredTurn::Absent), Some(_), Some(conversation)) => {
                out.push(Effect::Lookup(conversation.clone(), turn.id.clone()));
                return;
            }
            // Given there, and cannot be gone on with here.
            (Ok(StoredTurn::Unanswered), Some(_), _) => Ok(StoredTurn::Begun),
            (result, ..) => result,
        };
        // Asked only for what was missed: without it the end stays as the assistant told it.
        let ended = match &result {
            Err(_) | Ok(StoredTurn::Complete { .. }) => None,
            Ok(_) => turn.ended.take(),
        };
        if let Some(ended) = ended {
            return self.finish(ended, out);
        }
        match result {
            Err(error) => self.not_answered(error.to_string(), now, jitter, out),
            Ok(StoredTurn::Absent | StoredTurn::Unanswered) => self.deliver_or_close(now, out),
            Ok(StoredTurn::Complete { parts, usage }) => {
                self.recover(parts, Ending::complete(usage), out);
            }
            Ok(StoredTurn::Failed {
                parts,
                error,
                aborted,
                usage,
            }) => {
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
                self.recover(parts, ending, out);
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
        turn.given = true;
        turn.last_event_ms = now;
        out.push(Effect::Deliver(Box::new(Prompt {
            conversation,
            turn: turn.id.clone(),
            content: granted.content.clone(),
            model: granted.model.clone(),
            agent: granted.agent.clone(),
            attachments: granted.attachments.clone(),
        })));
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
                asked,
            } if id == turn.id => self.asked(request, asked, now, out),
            AgentEvent::Settled { request } => self.request_settled(&request, now, out),
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
            TurnEnd::Complete { usage } if !self.has_lost_items() => {
                let complete = Ending::complete(usage);
                if self.look_for_what_was_missed(&complete, out) {
                    return;
                }
                complete
            }
            TurnEnd::Complete { usage } => {
                let incomplete = Ending::because(
                    Outcome::Failed,
                    "stream_refused",
                    "the deployment refused a part of the answer",
                );
                Ending {
                    usage,
                    ..self.ending_without_answer(incomplete)
                }
            }
            TurnEnd::Failed { error, usage } => Ending {
                outcome: Outcome::Failed,
                error: Some(self.told_by_rejection(error)),
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

    /// An assistant that ends its work for a rejection does not know whose it was.
    fn told_by_rejection(&mut self, error: TurnError) -> TurnError {
        let rejected = self.turn.as_mut().and_then(|turn| turn.rejected.take());
        rejected.filter(|_| error.code == REJECTED).unwrap_or(error)
    }

    /// The assistant's answer is whole, and what the deployment has of it is not.
    fn has_lost_items(&self) -> bool {
        let verdict = self.turn.as_ref().and_then(|turn| turn.verdict.as_ref());
        let error = verdict.and_then(|ending| ending.error.as_ref());
        error.is_some_and(|error| error.code == "stream_refused")
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
}

fn aborted() -> Ending {
    Ending::because(Outcome::Aborted, "aborted", "stopped by its owner")
}
