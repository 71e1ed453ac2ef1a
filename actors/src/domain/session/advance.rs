//! What comes next, decided from the state alone: after every input the machine asks itself this, so no input has to know
//! what another one left undone.

use super::machine::{Child, SessionMachine};
use super::turn::{Stage, Turn};
use super::{Closing, Effect, Saying};
use crate::domain::turn::{Ending, OnInterrupt, Outcome, Then};

impl SessionMachine {
    /// What comes next, from the state alone.
    pub(super) fn advance(&mut self, now: u64, out: &mut Vec<Effect>) {
        if self.closing.is_some() {
            return self.advance_closing(out);
        }
        if self.turn.is_none()
            && let Some(open) = self.wanted.take()
        {
            self.turn = Some(Turn::new(&open, now));
            self.idle_since = None;
        }
        let Some(turn) = &self.turn else {
            if self.child == Child::Up && self.idle_since.is_none() {
                self.idle_since = Some(now);
            }
            return;
        };
        if turn.stage == Stage::NeedsChild {
            self.advance_waiting(now, out);
        } else if turn.is_running() {
            self.advance_running(now, out);
        } else if turn.stage == Stage::Finishing {
            self.advance_finishing(now, out);
        }
    }

    fn advance_waiting(&mut self, now: u64, out: &mut Vec<Effect>) {
        if now < self.not_before {
            return;
        }
        if self.ledger.is_parked() {
            let reason = self.parked_reason();
            let ending = Ending::because(Outcome::Failed, "parked", reason);
            return self.finish_unasked(ending, out);
        }
        let Some(turn) = &mut self.turn else { return };
        match self.child {
            Child::None => {
                self.child = Child::Opening;
                out.push(Effect::OpenChild);
            }
            Child::Up => match &turn.granted {
                None => {
                    turn.stage = Stage::Claiming;
                    out.push(Effect::Claim(turn.id.clone()));
                }
                Some(granted) => {
                    turn.stage = Stage::Conversing;
                    out.push(Effect::Converse {
                        known: granted.conversation.clone(),
                        title: granted.title.clone(),
                    });
                }
            },
            Child::Opening | Child::Stopping => {}
        }
    }

    /// An end that was not taken is said again.
    fn advance_finishing(&mut self, now: u64, out: &mut Vec<Effect>) {
        let Some(turn) = &mut self.turn else { return };
        if turn.again_at.take_if(|at| *at <= now).is_some()
            && let Some(ending) = turn.ending.clone()
        {
            out.push(Effect::FinishAgain(turn.id.clone(), ending));
        }
    }

    pub(super) fn parked_reason(&self) -> String {
        format!(
            "the assistant crashed {} times ({}); `orchestrator restart session/{}` gives it another chance",
            self.ledger.total(),
            self.last_error.as_deref().unwrap_or("no reason known"),
            self.session
        )
    }

    fn advance_closing(&mut self, out: &mut Vec<Effect>) {
        match self.child {
            Child::Opening | Child::Up => self.stop_child(out),
            Child::None if !self.done => {
                self.done = true;
                if self.closing == Some(Closing::Ended) {
                    if self
                        .turn
                        .as_ref()
                        .is_some_and(|turn| turn.stage != Stage::Finishing)
                    {
                        self.finish(
                            Ending::because(Outcome::Aborted, "ended", "the session was ended"),
                            out,
                        );
                    }
                    self.say(Saying::Ended, None, out);
                }
                self.tell_the_deployment(out);
                out.push(Effect::Done);
            }
            Child::Stopping | Child::None => {}
        }
    }

    /// Hands the end of the current turn to the link.
    pub(super) fn finish(&mut self, mut ending: Ending, out: &mut Vec<Effect>) {
        let goes_on = ending.outcome == Outcome::Interrupted
            && self.limits.on_interrupt == OnInterrupt::Continue;
        if goes_on && ending.then.is_none() {
            ending.then = Some(Then::Continue);
        }
        if let Some(turn) = &mut self.turn {
            turn.stage = Stage::Finishing;
            turn.requests.clear();
            turn.ending = Some(ending.clone());
            out.push(Effect::Finish(turn.id.clone(), ending));
        }
    }

    /// The end of a turn without a look into the assistant's store. One that had been claimed may be answered there.
    pub(super) fn finish_unasked(&mut self, ending: Ending, out: &mut Vec<Effect>) {
        if let Some(known) = self.turn.as_mut().and_then(|turn| turn.ended.take()) {
            return self.finish(known, out);
        }
        let may_be_answered = self.turn.as_ref().is_some_and(Turn::is_claimed);
        let ending = self.ending_without_answer(ending);
        let ending = if may_be_answered {
            ending.provisionally()
        } else {
            ending
        };
        self.finish(ending, out);
    }
}
