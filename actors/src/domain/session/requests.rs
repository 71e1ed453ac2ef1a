//! What the assistant asks while a turn runs: the worker's policy decides, or the owner is asked through the deployment.
//! The deployment alone knows which answer was the first and when nobody answered in time, so its word decides as long as
//! it can be heard; one that stays away does not hold a turn for ever. Each request gets one reply: what has been decided
//! for it is never decided anew, and what was not asked by the child that lives is not answered.

use super::Effect;
use super::machine::SessionMachine;
use super::turn::Stage;
use crate::domain::assistant::{AgentError, RequestId};
use crate::domain::call::CallError;
use crate::domain::ids::RequestKey;
use crate::domain::permission::{Asked, AskedKind, Reply, Standing};
use crate::domain::policy::Decision;
use crate::domain::turn::{Ending, Outcome, TurnError};

/// After the owner's time, for the deployment to say that it is over.
const GRACE_MS: u64 = 60_000;
/// The pause before a call is made again that the deployment or the assistant failed to answer.
const AGAIN_MS: u64 = 2_000;
/// Replies that the assistant did not take. After the last one its turn ends: a tool that waits for its answer is no silence.
const MOST_REPLIES: u32 = 5;
/// The longest time that a deployment lets a request wait.
const MOST_MS: u64 = 7 * 24 * 3_600_000;

/// A permission or question that the assistant waits for.
#[derive(Debug)]
pub(super) struct Request {
    pub id: RequestId,
    pub key: RequestKey,
    asked: Box<Asked>,
    step: Step,
    /// Since the deployment has it; before that since it was asked.
    since_ms: u64,
    /// Its owner's time, as it was said when it was asked.
    limit_ms: u64,
    again_at: Option<u64>,
    tries: u32,
}

#[derive(Debug)]
enum Step {
    /// On its way to the deployment.
    Asking,
    /// Before its owner.
    Open,
    /// It has ended there, and how is being asked.
    Taking,
    /// It is decided.
    Replying(Reply),
}

impl Request {
    /// A person can still decide it.
    pub fn waits(&self) -> bool {
        !matches!(self.step, Step::Replying(_))
    }

    pub fn what(&self) -> &str {
        &self.asked.title
    }
}

impl SessionMachine {
    pub(super) fn asked(
        &mut self,
        id: RequestId,
        asked: Box<Asked>,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        let incarnation = self.incarnation;
        let decision = self.limits.policy.decide(&asked);
        let limit_ms = self.limits.request_ms.clamp(1_000, MOST_MS);
        let Some(turn) = &mut self.turn else { return };
        if turn.requests.iter().any(|request| request.id == id) {
            return;
        }
        turn.last_event_ms = now;
        let key = RequestKey::of(&turn.id, &id, incarnation);
        turn.requests.push(Request {
            id: id.clone(),
            key: key.clone(),
            asked,
            step: Step::Asking,
            since_ms: now,
            limit_ms,
            again_at: None,
            tries: 0,
        });
        match decision {
            Decision::Allow => self.reply(&id, Reply::Once, now, out),
            Decision::Deny => {
                let reason = "the policy of this directory's worker denies it";
                self.reply_with(&id, Reply::rejection(reason), "denied", reason, now, out);
            }
            // It is about to stop: nobody need be asked.
            Decision::Ask if turn.abort || turn.verdict.is_some() => {}
            Decision::Ask => self.put(&key, out),
        }
    }

    fn put(&self, key: &RequestKey, out: &mut Vec<Effect>) {
        let Some(turn) = &self.turn else { return };
        if let Some(request) = turn.requests.iter().find(|request| request.key == *key) {
            out.push(Effect::Ask {
                key: key.clone(),
                turn: turn.id.clone(),
                asked: request.asked.clone(),
                timeout_ms: request.limit_ms,
            });
        }
    }

    /// The deployment says how a request stands: asked with it, or asked for it.
    pub(super) fn request_stands(
        &mut self,
        key: &RequestKey,
        result: Result<Standing, CallError>,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        let policy = self.limits.policy.clone();
        let Some(request) = self.request_by_key(key) else {
            return;
        };
        let (id, limit_ms) = (request.id.clone(), request.limit_ms);
        let is_once_only = request.asked.incomplete || policy.denies_some(&request.asked);
        match result {
            // What was said when it was put there is old news to one that has ended since.
            Ok(Standing::Open) if matches!(request.step, Step::Asking) => {
                request.step = Step::Open;
                request.since_ms = now;
            }
            // Not ended after all: heard of again by the inbox.
            Ok(Standing::Open) if matches!(request.step, Step::Taking) => request.step = Step::Open,
            _ if !request.waits() => {}
            Ok(Standing::Open) => {}
            Ok(Standing::Answered(reply)) => match &reply {
                Reply::Reject { message: None } => {
                    let reason =
                        format!("its owner rejected what it asked for: {}", request.what());
                    self.reply_with(&id, reply, "rejected", &reason, now, out);
                }
                // Asked no more, it would pass what the policy denies; and nobody has seen what was cut off.
                Reply::Always if is_once_only => self.reply(&id, Reply::Once, now, out),
                _ => self.reply(&id, reply, now, out),
            },
            Ok(Standing::Expired) => {
                let reason = format!("nobody answered within {}", spoken(limit_ms));
                self.reject_unanswered(&id, &reason, now, out);
            }
            // The deployment has closed the turn, or its abort is on the way here; else the time is over some day.
            Ok(Standing::Withdrawn) => request.step = Step::Open,
            // Under the right to write that the worker has by then, should this one have been replaced on the way.
            Err(error) if error.is_transient() || error.code() == "displaced" => {
                request.again_at = Some(now + AGAIN_MS);
            }
            Err(error) => {
                let reason = format!("its owner could not be asked: {error}");
                self.reject_unanswered(&id, &reason, now, out);
            }
        }
    }

    /// The inbox says that it has ended.
    pub(super) fn request_ended(&mut self, key: &RequestKey, out: &mut Vec<Effect>) {
        if let Some(request) = self.request_by_key(key)
            && matches!(request.step, Step::Asking | Step::Open)
        {
            request.step = Step::Taking;
            request.again_at = None;
            out.push(Effect::Take(key.clone()));
        }
    }

    /// The assistant waits for it no longer: it has our reply, or was answered in the assistant itself.
    pub(super) fn request_settled(&mut self, id: &RequestId, now: u64, out: &mut Vec<Effect>) {
        let Some(turn) = &mut self.turn else { return };
        turn.last_event_ms = now;
        turn.requests.retain(|request| {
            if request.id == *id && request.waits() {
                out.push(Effect::Withdraw(request.key.clone()));
            }
            request.id != *id
        });
    }

    pub(super) fn replied(&mut self, id: &RequestId, result: Result<(), AgentError>, now: u64) {
        let Some(turn) = &mut self.turn else { return };
        let Some(request) = turn.requests.iter_mut().find(|request| request.id == *id) else {
            return;
        };
        match result {
            // Its event is on the way.
            Ok(()) => {}
            Err(error) => {
                request.tries += 1;
                let why = format!("the assistant did not take an answer: {error}");
                if request.tries < MOST_REPLIES {
                    request.again_at = Some(now + AGAIN_MS);
                } else if turn.verdict.is_none() {
                    turn.verdict = Some(Ending::because(
                        Outcome::Failed,
                        "reply_refused",
                        why.clone(),
                    ));
                }
                self.last_error = Some(why);
            }
        }
    }

    /// Calls that are to be made again, and the end of waiting for a deployment that does not say that time is over.
    pub(super) fn guard_requests(&mut self, now: u64, out: &mut Vec<Effect>) {
        let Some(turn) = self
            .turn
            .as_mut()
            .filter(|turn| turn.stage == Stage::Streaming)
        else {
            return;
        };
        let mut put_again = Vec::new();
        let mut given_up = Vec::new();
        for request in &mut turn.requests {
            let is_due = request.again_at.take_if(|at| *at <= now).is_some();
            match &request.step {
                Step::Replying(reply) if is_due => {
                    out.push(Effect::Reply(request.id.clone(), reply.clone()));
                }
                Step::Replying(_) => {}
                _ if now.saturating_sub(request.since_ms)
                    >= request.limit_ms.saturating_add(GRACE_MS) =>
                {
                    out.push(Effect::Withdraw(request.key.clone()));
                    given_up.push((request.id.clone(), request.limit_ms));
                }
                Step::Asking if is_due => put_again.push(request.key.clone()),
                Step::Taking if is_due => out.push(Effect::Take(request.key.clone())),
                _ => {}
            }
        }
        for key in put_again {
            self.put(&key, out);
        }
        for (id, limit_ms) in given_up {
            let reason = format!("no answer of its owner came within {}", spoken(limit_ms));
            self.reject_unanswered(&id, &reason, now, out);
        }
    }

    /// Requests of a child that is gone are nobody's to answer.
    pub(super) fn withdraw_lost(&mut self, out: &mut Vec<Effect>) {
        if let Some(turn) = &mut self.turn {
            out.extend(turn.lost_requests.drain(..).map(Effect::Withdraw));
        }
    }

    /// No answer came, or none can come.
    fn reject_unanswered(&mut self, id: &RequestId, reason: &str, now: u64, out: &mut Vec<Effect>) {
        self.reply_with(id, Reply::rejection(reason), "unanswered", reason, now, out);
    }

    /// The same, and why the turn may end by it: an assistant can take a rejection for the end of its work.
    fn reply_with(
        &mut self,
        id: &RequestId,
        reply: Reply,
        code: &str,
        reason: &str,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        if let Some(turn) = &mut self.turn {
            let request = turn.requests.iter().find(|request| request.id == *id);
            let what = request.map_or("", Request::what);
            let is_question =
                request.is_some_and(|request| request.asked.kind == AskedKind::Question);
            let message = if is_question && code != "rejected" {
                format!("{reason} to its question: {what}")
            } else {
                reason.to_owned()
            };
            turn.rejected = Some(TurnError::new(code, message));
        }
        self.reply(id, reply, now, out);
    }

    fn reply(&mut self, id: &RequestId, reply: Reply, now: u64, out: &mut Vec<Effect>) {
        let Some(turn) = &mut self.turn else { return };
        turn.last_event_ms = now;
        if let Some(request) = turn.requests.iter_mut().find(|request| request.id == *id) {
            request.step = Step::Replying(reply.clone());
            request.again_at = None;
            out.push(Effect::Reply(id.clone(), reply));
        }
    }

    fn request_by_key(&mut self, key: &RequestKey) -> Option<&mut Request> {
        let turn = self.turn.as_mut().filter(|turn| turn.is_running())?;
        turn.requests.iter_mut().find(|request| request.key == *key)
    }
}

/// For people and assistants: `30 minutes`, `90 s`.
fn spoken(ms: u64) -> String {
    let seconds = ms / 1_000;
    if seconds >= 120 && seconds.is_multiple_of(60) {
        format!("{} minutes", seconds / 60)
    } else {
        format!("{seconds} s")
    }
}
