//! Earlier turns of a session whose end was provisional: what the store says of them is written before anything new is
//! delivered.

use super::{Effect, Unsettled};
use crate::domain::turn::{Ending, Outcome, StoredTurn};

/// An earlier turn was closed before the store could be asked. What the store says now replaces that, for good.
pub(super) fn settle_earlier(earlier: Unsettled, stored: StoredTurn, out: &mut Vec<Effect>) {
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
