//! The machine itself: its state, one method per input, and `advance`, which decides what comes next.

use super::turn::{Stage, Turn};
use super::{Claim, Closing, ConverseError, Effect, Input, Saying};
use crate::domain::assistant::AgentEvent;
use crate::domain::call::{CallError, Finished, StreamError};
use crate::domain::ids::{ConversationId, SessionId, TurnId};
use crate::domain::inbox::OpenTurn;
use crate::domain::ledger::{Intensity, RestartLedger};
use crate::domain::phase::Phase;
use crate::domain::policy::Policy;
use crate::domain::turn::{Ending, OnInterrupt, Outcome};

/// Durations in milliseconds; `u64::MAX` switches a guard off.
#[derive(Clone, Debug)]
pub struct SessionLimits {
    pub idle_ms: u64,
    pub silence_ms: u64,
    pub retry_limit_ms: u64,
    /// How long an owner has for an answer.
    pub request_ms: u64,
    pub policy: Policy,
    pub on_interrupt: OnInterrupt,
}

/// What a reload changes of them. What is asked already stays with its owner, for as long as it was said.
#[derive(Clone, Debug)]
pub struct Changeable {
    pub idle_ms: u64,
    pub on_interrupt: OnInterrupt,
    pub request_ms: u64,
    pub policy: Policy,
}

/// The pause before a call that the deployment failed to answer properly is made again.
const AGAIN_MS: u64 = 2_000;
/// It doubles for an end that is not taken, up to this: functions of another version refuse it until somebody changes them.
const AGAIN_CAP_MS: u64 = 300_000;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Child {
    None,
    Opening,
    Up,
    Stopping,
}

#[derive(Debug)]
pub struct SessionMachine {
    pub(super) session: SessionId,
    pub(super) boot_id: String,
    pub(super) incarnation: u64,
    pub(super) limits: SessionLimits,
    pub(super) child: Child,
    pub(super) turn: Option<Turn>,
    /// The newest snapshot's open turn.
    pub(super) wanted: Option<OpenTurn>,
    /// Closed here; a stale snapshot may still name it.
    pub(super) last_closed: Option<TurnId>,
    pub(super) idle_since: Option<u64>,
    pub(super) closing: Option<Closing>,
    pub(super) ledger: RestartLedger,
    /// Boots in a row that did not succeed.
    pub(super) failed_boots: u32,
    /// Nothing is opened or claimed before this time.
    pub(super) not_before: u64,
    pub(super) last_error: Option<String>,
    /// Why the last child was given up early, until there is another one.
    pub(super) released_for: Option<String>,
    pub(super) turns_served: u64,
    /// What the session was called when this incarnation last heard of it.
    pub(super) title: Option<String>,
    /// What the deployment was told last; nothing by this incarnation so far.
    pub(super) said: Option<Saying>,
    /// A snapshot has reached this incarnation.
    pub(super) was_asked: bool,
    pub(super) done: bool,
}

/// What `ps` shows of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub phase: Phase,
    pub turn: Option<TurnId>,
    pub items: u64,
    pub turns_served: u64,
    pub crashes: u32,
    pub last_error: Option<String>,
    /// What the assistant waits for.
    pub waits_for: Option<String>,
    /// Why the last child was given up before its idle time was over.
    pub released_for: Option<String>,
    /// How often the deployment failed to take the end of the turn, and why the last time.
    pub refused: Option<String>,
}

impl SessionMachine {
    pub fn new(session: SessionId, boot_id: String, limits: SessionLimits) -> Self {
        Self {
            session,
            boot_id,
            incarnation: 0,
            limits,
            child: Child::None,
            turn: None,
            wanted: None,
            last_closed: None,
            idle_since: None,
            closing: None,
            ledger: RestartLedger::new(Intensity::SESSION),
            failed_boots: 0,
            not_before: 0,
            last_error: None,
            released_for: None,
            turns_served: 0,
            title: None,
            said: None,
            was_asked: false,
            done: false,
        }
    }

    /// Of the session's actor: what an earlier one was asked is nothing to this one.
    #[must_use]
    pub fn in_incarnation(self, incarnation: u64) -> Self {
        Self {
            incarnation,
            ..self
        }
    }

    /// Takes one input at `now_ms` (monotonic). `jitter` in 0..=1 spreads backoffs.
    pub fn on(&mut self, input: Input, now_ms: u64, jitter: f64) -> Vec<Effect> {
        let mut out = Vec::new();
        match input {
            Input::Wanted(open) => self.wanted(open),
            Input::Opened(result) => self.opened(result, now_ms, &mut out),
            Input::Claimed(result) => self.claimed(result, now_ms, &mut out),
            Input::Conversed(result) => self.conversed(result, now_ms, jitter, &mut out),
            Input::LookedUp(result) => self.looked_up(result, now_ms, jitter, &mut out),
            Input::Delivered(result) => self.delivered(result, now_ms, jitter, &mut out),
            Input::Event(AgentEvent::Exited { report }) => {
                self.exited(&report, now_ms, jitter, &mut out);
            }
            Input::Event(AgentEvent::ReleaseWanted { reason }) => {
                self.release_for(&reason, &mut out);
            }
            Input::Event(AgentEvent::Titled { title }) => self.titled(title, &mut out),
            Input::Event(event) => self.event(event, now_ms, &mut out),
            Input::RequestStands(key, result) => {
                self.request_stands(&key, result, now_ms, &mut out);
            }
            Input::RequestEnded(key) => self.request_ended(&key, &mut out),
            Input::Replied(id, result) => self.replied(&id, result, now_ms),
            Input::StreamRefused(turn, error) => self.stream_refused(&turn, &error),
            Input::Recovered(turn, result) => self.recovered(&turn, result, &mut out),
            Input::Finished(turn, result) => self.finished(&turn, result, now_ms, jitter),
            Input::Unsaid(saying) => self.unsaid(saying),
            Input::ChildStopped => self.child_stopped(now_ms, &mut out),
            Input::Tick => self.tick(now_ms, &mut out),
            Input::Release => self.release(&mut out),
            Input::Restart => self.restart(&mut out),
            Input::Wake => self.wake(now_ms, &mut out),
            Input::Close(closing) => self.closing = self.closing.or(Some(closing)),
        }
        self.advance(now_ms, &mut out);
        self.withdraw_lost(&mut out);
        self.tell_the_deployment(&mut out);
        out
    }

    fn wanted(&mut self, open: Option<OpenTurn>) {
        let open = open.filter(|open| self.last_closed.as_ref() != Some(&open.turn_id));
        if let Some(turn) = &mut self.turn {
            match &open {
                Some(open) if open.turn_id == turn.id => turn.abort |= open.abort,
                // Nothing was given to the assistant yet, and the deployment has closed it.
                _ if turn.granted.is_none() && turn.stage == Stage::NeedsChild => self.turn = None,
                // The deployment has closed it, so it takes the end now.
                _ if turn.again_at.is_some() => turn.again_at = Some(0),
                _ => {}
            }
        }
        self.wanted = open;
        self.was_asked = true;
    }

    fn claimed(&mut self, result: Result<Claim, CallError>, now: u64, out: &mut Vec<Effect>) {
        let Some(turn) = self
            .turn
            .as_mut()
            .filter(|turn| turn.stage == Stage::Claiming)
        else {
            return;
        };
        match result {
            Ok(Claim::Granted(granted)) => {
                turn.abort |= granted.abort;
                out.push(Effect::OpenStream {
                    turn: turn.id.clone(),
                    next_index: granted.next_index,
                });
                out.push(Effect::Title(granted.title.clone()));
                self.title = Some(granted.title.clone());
                turn.granted = Some(*granted);
                turn.stage = Stage::NeedsChild;
            }
            Ok(Claim::Closed) => {
                let closed = turn.id.clone();
                self.leave(&closed);
                self.last_closed = Some(closed);
            }
            Err(error) if error.is_transient() => {
                self.last_error = Some(error.to_string());
                self.not_before = now + AGAIN_MS;
                turn.stage = Stage::NeedsChild;
            }
            // The next snapshot names the right one.
            Ok(Claim::NotNext) | Err(_) => {
                let refused = turn.id.clone();
                self.leave(&refused);
            }
        }
    }

    /// A name that the deployment gave comes back from the assistant as news, too.
    fn titled(&mut self, title: String, out: &mut Vec<Effect>) {
        if self.title.as_ref() != Some(&title) {
            out.push(Effect::Title(title.clone()));
            out.push(Effect::Retitle(title.clone()));
            self.title = Some(title);
        }
    }

    /// This turn is not for us (any more). A newer snapshot may want another one already.
    fn leave(&mut self, id: &TurnId) {
        self.turn = None;
        self.wanted.take_if(|open| open.turn_id == *id);
    }

    fn conversed(
        &mut self,
        result: Result<ConversationId, ConverseError>,
        now: u64,
        jitter: f64,
        out: &mut Vec<Effect>,
    ) {
        let Some(turn) = self
            .turn
            .as_mut()
            .filter(|turn| turn.stage == Stage::Conversing)
        else {
            return;
        };
        match result {
            Ok(conversation) => {
                turn.stage = Stage::LookingUp;
                let confirmed = turn
                    .granted
                    .as_mut()
                    .map(|granted| granted.conversation.get_or_insert(conversation.clone()));
                // Another one than the session had cannot be gone on with (the directory has changed): the prompt may
                // have been given in that one.
                turn.left = confirmed.filter(|known| **known != conversation).cloned();
                turn.conversation = Some(conversation);
                out.extend(turn.next_lookup());
            }
            Err(ConverseError::Agent(error)) => {
                self.not_answered(error.to_string(), now, jitter, out);
            }
            Err(ConverseError::Call(error)) if error.is_transient() => {
                self.last_error = Some(error.to_string());
                self.not_before = now + AGAIN_MS;
                turn.stage = Stage::NeedsChild;
            }
            Err(ConverseError::Call(_)) => {
                let refused = turn.id.clone();
                self.leave(&refused);
            }
        }
    }

    fn stream_refused(&mut self, id: &TurnId, error: &StreamError) {
        if let Some(turn) = self
            .turn
            .as_mut()
            .filter(|turn| turn.id == *id && !turn.is_settled())
            && turn.verdict.is_none()
        {
            if *error == StreamError::Missed {
                turn.missed = true;
                return;
            }
            turn.verdict = Some(Ending::because(
                Outcome::Failed,
                "stream_refused",
                error.to_string(),
            ));
        }
    }

    fn finished(
        &mut self,
        id: &TurnId,
        result: Result<Finished, CallError>,
        now: u64,
        jitter: f64,
    ) {
        let Some(turn) = self
            .turn
            .as_mut()
            .filter(|turn| turn.id == *id && turn.stage == Stage::Finishing)
        else {
            return;
        };
        self.idle_since = Some(now);
        match result {
            // The link has what was not stored yet, and keeps it: only the end is said again. A claim and a look into the store
            // would write the whole answer once more each time.
            Err(error) if error.is_transient() => {
                let pause = AGAIN_MS << turn.refusals.min(16);
                let spread = 0.8 + 0.4 * jitter.clamp(0.0, 1.0);
                turn.refusals += 1;
                turn.again_at = Some(now + (pause.min(AGAIN_CAP_MS) as f64 * spread) as u64);
                self.last_error = Some(format!(
                    "the deployment did not take the end of a turn: {error}"
                ));
            }
            _ => {
                if turn.refusals > 0 {
                    self.last_error = None;
                }
                self.turns_served += 1;
                self.leave(id);
                self.last_closed = Some(id.clone());
            }
        }
    }

    fn restart(&mut self, out: &mut Vec<Effect>) {
        self.ledger.forgive();
        self.not_before = 0;
        self.last_error = None;
        if let Some(turn) = &mut self.turn {
            turn.again_at = turn.again_at.and(Some(0));
        }
        self.stop_child(out);
    }

    /// What a reload changes.
    pub fn configure(&mut self, change: Changeable) {
        let Changeable {
            idle_ms,
            on_interrupt,
            request_ms,
            policy,
        } = change;
        self.limits = SessionLimits {
            idle_ms,
            request_ms,
            policy,
            on_interrupt,
            ..self.limits
        };
    }

    /// Whether time matters now; otherwise no [`Input::Tick`] is needed.
    pub fn has_timers(&self) -> bool {
        self.turn.is_some() || self.child == Child::Up
    }

    /// The turns whose streams are open here: the present one, and an earlier one that is being recovered.
    pub fn streaming(&self) -> impl Iterator<Item = &TurnId> {
        let turn = self.turn.as_ref();
        let own = turn.filter(|turn| turn.granted.is_some() && turn.stage != Stage::Finishing);
        let own = own.map(|turn| &turn.id);
        let recovering = turn.and_then(|turn| turn.recovering.as_ref());
        let recovering = recovering.map(|(id, _)| id);
        let earlier = recovering.filter(|id| own != Some(*id));
        own.into_iter().chain(earlier)
    }

    /// For `ps` and the worker's planning.
    pub fn view(&self) -> View {
        View {
            phase: self.phase(),
            turn: self.turn.as_ref().map(|turn| turn.id.clone()),
            items: self.turn.as_ref().map_or(0, |turn| turn.items),
            turns_served: self.turns_served,
            crashes: self.ledger.total(),
            last_error: self.last_error.clone(),
            waits_for: self
                .turn
                .as_ref()
                .and_then(|turn| turn.requests.iter().find(|request| request.waits()))
                .map(|request| request.what().to_owned()),
            released_for: self.released_for.clone(),
            refused: self.refused(),
        }
    }

    fn refused(&self) -> Option<String> {
        let turn = self
            .turn
            .as_ref()
            .filter(|turn| turn.waits_to_be_finished())?;
        let error = self.last_error.as_deref().unwrap_or_default();
        Some(format!("tried {} times: {error}", turn.refusals))
    }

    fn phase(&self) -> Phase {
        if self.closing.is_some() {
            return Phase::Stopping;
        }
        if self.ledger.is_parked() {
            return Phase::Parked;
        }
        match (&self.child, &self.turn) {
            (Child::Stopping, _) => Phase::Stopping,
            (Child::Up, Some(turn)) if turn.waits_for_owner() => Phase::Waiting,
            (Child::Up, Some(_)) => Phase::Active,
            (Child::Up, None) => Phase::Ready,
            (Child::Opening, _) => Phase::Starting,
            (Child::None, Some(_)) => Phase::Restarting,
            (Child::None, None) => Phase::Idle,
        }
    }
}
