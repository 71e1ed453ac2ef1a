//! The child's life: opening, crashing, the planned stop, idling.

use super::machine::{Child, SessionMachine};
use super::turn::Stage;
use super::{Effect, Saying};
use crate::domain::assistant::{AgentError, ExitReport};
use crate::domain::ledger::Verdict;
use crate::domain::turn::{Ending, Outcome};

/// Boots in a row that a turn gets.
const MOST_BOOTS: u32 = 3;
const BOOT_AGAIN_MS: u64 = 250;
/// Children that a turn may lose, however slowly: the ledger counts those of a minute.
const MOST_LOST_CHILDREN: u32 = 5;
/// Times that a child is asked the same before it is replaced: it may only be slow, and a boot costs more.
const MOST_ASKS: u32 = 3;
const ASK_AGAIN_MS: u64 = 500;

impl SessionMachine {
    pub(super) fn opened(
        &mut self,
        result: Result<(), AgentError>,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        if self.child != Child::Opening {
            return;
        }
        match result {
            Ok(()) => {
                self.child = Child::Up;
                self.failed_boots = 0;
                self.released_for = None;
                // Again after a crash, too: with its reason gone.
                self.said = None;
                self.say(Saying::Active, None, out);
            }
            Err(error) if error.is_transient() => {
                self.child = Child::None;
                self.boot_failed(error.to_string(), now, out);
            }
            Err(error) => {
                self.child = Child::None;
                self.last_error = Some(error.to_string());
                let code = match error {
                    AgentError::Missing(_) => "agent_missing",
                    _ => "agent_misconfigured",
                };
                let ending = Ending::because(Outcome::Failed, code, error.to_string());
                self.finish_unasked(ending, out);
            }
        }
    }

    /// A boot may take its whole deadline, so crashes in a window say little about it: the turn ends after a few boots
    /// in a row, with the last one's reason, and the next message tries again.
    fn boot_failed(&mut self, error: String, now: u64, out: &mut Vec<Effect>) {
        self.last_error = Some(error.clone());
        self.failed_boots += 1;
        if self.failed_boots < MOST_BOOTS {
            self.not_before = self
                .not_before
                .max(now + BOOT_AGAIN_MS * u64::from(self.failed_boots));
        } else {
            self.failed_boots = 0;
            let reason = format!("the assistant did not start, {MOST_BOOTS} times: {error}");
            let ending = Ending::because(Outcome::Failed, "agent_boot", reason);
            self.finish_unasked(ending, out);
        }
    }

    /// The child ended without being asked.
    pub(super) fn exited(
        &mut self,
        report: &ExitReport,
        now: u64,
        jitter: f64,
        out: &mut Vec<Effect>,
    ) {
        if self.child == Child::Stopping || self.child == Child::None {
            // A planned stop reports by itself.
            return;
        }
        self.child = Child::None;
        self.crashed(report.to_string(), now, jitter, out);
    }

    /// The child did not answer a question that changes nothing. It is asked again; then it is replaced.
    pub(super) fn not_answered(
        &mut self,
        error: String,
        now: u64,
        jitter: f64,
        out: &mut Vec<Effect>,
    ) {
        if let Some(turn) = self
            .turn
            .as_mut()
            .filter(|turn| self.child == Child::Up && turn.unanswered + 1 < MOST_ASKS)
        {
            turn.unanswered += 1;
            turn.stage = Stage::NeedsChild;
            self.last_error = Some(error);
            self.not_before = self.not_before.max(now + ASK_AGAIN_MS);
        } else {
            self.child_failed(error, now, jitter, out);
        }
    }

    /// The child answers, but not as it should: it is replaced.
    pub(super) fn child_failed(
        &mut self,
        error: String,
        now: u64,
        jitter: f64,
        out: &mut Vec<Effect>,
    ) {
        self.stop_child(out);
        self.crashed(error, now, jitter, out);
    }

    fn crashed(&mut self, error: String, now: u64, jitter: f64, out: &mut Vec<Effect>) {
        self.last_error = Some(error);
        self.idle_since = None;
        let mut has_lost_too_many = false;
        if let Some(turn) = &mut self.turn {
            turn.lose_child();
            turn.lost_children += 1;
            has_lost_too_many = turn.lost_children >= MOST_LOST_CHILDREN && !turn.is_settled();
        }
        match self.ledger.on_crash(now, jitter) {
            Verdict::Restart { after_ms } => {
                self.not_before = self.not_before.max(now + after_ms);
            }
            // What it works on is closed by what comes next.
            Verdict::Park => return,
        }
        if has_lost_too_many {
            let reason = format!(
                "the assistant was lost {MOST_LOST_CHILDREN} times during this turn: {}",
                self.last_error.as_deref().unwrap_or("no reason known")
            );
            let ending = Ending::because(Outcome::Failed, "agent_lost", reason);
            self.finish_unasked(ending, out);
        }
    }

    pub(super) fn stop_child(&mut self, out: &mut Vec<Effect>) {
        if matches!(self.child, Child::Opening | Child::Up) {
            self.child = Child::Stopping;
            out.push(Effect::StopChild);
            // A streaming turn is settled when the child has stopped; every earlier step starts over.
            if let Some(turn) = self
                .turn
                .as_mut()
                .filter(|turn| turn.stage != Stage::Streaming)
            {
                turn.lose_child();
            }
        }
    }

    pub(super) fn child_stopped(&mut self, now: u64, out: &mut Vec<Effect>) {
        self.child = Child::None;
        self.idle_since = None;
        if self
            .turn
            .as_ref()
            .is_some_and(|turn| turn.stage == Stage::Streaming)
        {
            let ending = self.ending_without_answer(Ending::because(
                Outcome::Interrupted,
                "stopped",
                "the supervisor stopped during the answer",
            ));
            self.finish(ending, out);
        }
        if let Some(turn) = &mut self.turn {
            turn.lose_child();
            turn.last_event_ms = now;
        }
    }

    pub(super) fn release(&mut self, out: &mut Vec<Effect>) {
        let is_idle = match &self.turn {
            Some(turn) => turn.waits_to_be_finished(),
            None => self.wanted.is_none(),
        };
        if is_idle && self.child == Child::Up {
            self.stop_child(out);
        }
    }

    /// The same, on the child's own wish.
    pub(super) fn release_for(&mut self, reason: &str, out: &mut Vec<Effect>) {
        let was_up = self.child == Child::Up;
        self.release(out);
        if was_up && self.child == Child::Stopping {
            self.released_for = Some(reason.to_owned());
        }
    }

    /// Without a turn: one that is up counts as used now, another one is opened. A person asked, so what went wrong before
    /// is forgiven; one attempt is made, and its error is shown.
    pub(super) fn wake(&mut self, now: u64, out: &mut Vec<Effect>) {
        match self.child {
            Child::Up if self.turn.is_none() => self.idle_since = Some(now),
            Child::None if self.closing.is_none() => {
                self.ledger.forgive();
                self.not_before = 0;
                self.last_error = None;
                // A turn that waits for its child opens it itself.
                if self.turn.is_none() && self.wanted.is_none() {
                    self.child = Child::Opening;
                    out.push(Effect::OpenChild);
                }
            }
            _ => {}
        }
    }

    pub(super) fn tick(&mut self, now: u64, out: &mut Vec<Effect>) {
        self.guard_turn(now, out);
        let idle = self
            .idle_since
            .is_some_and(|since| now.saturating_sub(since) >= self.limits.idle_ms);
        if idle {
            self.release(out);
        }
    }
}
