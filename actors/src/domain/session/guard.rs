//! The guards of a running turn: silence, requests that nobody answers, and the stop that is asked for again until the
//! assistant has obeyed.

use super::Effect;
use super::machine::SessionMachine;
use super::turn::Stage;
use crate::domain::turn::{Ending, Outcome};

/// The abort is asked for again after this time, until the turn is over.
const ABORT_AGAIN_MS: u64 = 2_000;
/// An assistant that has not stopped this long after the first abort is replaced.
const ABORT_LIMIT_MS: u64 = 15_000;

impl SessionMachine {
    /// Silence and requests that nobody answers.
    pub(super) fn guard_turn(&mut self, now: u64, out: &mut Vec<Effect>) {
        self.guard_requests(now, out);
        let limits = self.limits.clone();
        let Some(turn) = self
            .turn
            .as_mut()
            .filter(|turn| turn.stage == Stage::Streaming)
        else {
            return;
        };
        let waiting = turn.waits_for_owner();
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
