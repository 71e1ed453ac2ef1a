//! What the assistant's store has of a turn, on its way into the turn's stream: of the present one, or of an earlier one
//! whose end was provisional (that is written before anything new is delivered). It waits for room in the stream; the
//! end follows it.

use super::machine::{Child, SessionMachine};
use super::turn::Stage;
use super::{Effect, Unsettled};
use crate::domain::call::StreamError;
use crate::domain::ids::TurnId;
use crate::domain::item::Draft;
use crate::domain::turn::{Ending, Outcome, StoredTurn};

impl SessionMachine {
    /// What the store has replaces what was streamed: the parts come with a reset each.
    pub(super) fn recover(&mut self, parts: Vec<Draft>, ending: Ending, out: &mut Vec<Effect>) {
        let Some(turn) = &mut self.turn else { return };
        if parts.is_empty() {
            return self.finish(ending, out);
        }
        turn.items += parts.len() as u64;
        turn.stage = Stage::Recovering;
        turn.recovering = Some((turn.id.clone(), ending));
        out.push(Effect::Recover(turn.id.clone(), parts));
    }

    /// An earlier turn was closed before the store could be asked. What the store says now replaces that, for good.
    pub(super) fn settle_earlier(
        &mut self,
        earlier: Unsettled,
        stored: StoredTurn,
        out: &mut Vec<Effect>,
    ) {
        let Some(turn) = &mut self.turn else { return };
        let Unsettled {
            turn: id,
            next_index,
        } = earlier;
        let (parts, ending) = verdict(stored);
        out.push(Effect::OpenStream {
            turn: id.clone(),
            next_index,
        });
        turn.stage = Stage::Recovering;
        turn.recovering = Some((id.clone(), ending));
        if parts.is_empty() {
            self.recovered(&id, Ok(()), out);
        } else {
            out.push(Effect::Recover(id, parts));
        }
    }

    /// A recovery is in its stream: the end follows, then whatever waited for it.
    pub(super) fn recovered(
        &mut self,
        id: &TurnId,
        result: Result<(), StreamError>,
        out: &mut Vec<Effect>,
    ) {
        let Some(turn) = self.turn.as_mut() else {
            return;
        };
        let Some((id, ending)) = turn.recovering.take_if(|(waiting, _)| waiting == id) else {
            return;
        };
        let ending = match result {
            Err(error) if ending.outcome == Outcome::Complete => Ending {
                usage: ending.usage,
                ..Ending::because(Outcome::Failed, "stream_refused", error.to_string())
            },
            _ => ending,
        };
        if id == turn.id {
            return self.finish(ending, out);
        }
        out.push(Effect::Finish(id, ending));
        if self.child == Child::Up {
            turn.stage = Stage::LookingUp;
            out.extend(turn.next_lookup());
        } else {
            turn.stage = Stage::NeedsChild;
        }
    }

    /// The answer is complete, and a part of it had no room in its stream: the store has it. False when nothing was missed.
    pub(super) fn look_for_what_was_missed(
        &mut self,
        complete: &Ending,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.missed) else {
            return false;
        };
        turn.missed = false;
        turn.ended = Some(complete.clone());
        turn.requests.clear();
        turn.stage = Stage::LookingUp;
        out.extend(turn.next_lookup());
        true
    }
}

/// What an earlier turn's answer is, and how it ends for good.
fn verdict(stored: StoredTurn) -> (Vec<Draft>, Ending) {
    match stored {
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
    }
}
