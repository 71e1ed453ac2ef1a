//! The turn that a session works on.

use crate::domain::ids::{ConversationId, RequestKey, TurnId};
use crate::domain::inbox::{OpenState, OpenTurn};
use crate::domain::turn::{Ending, TurnError};

use super::requests::Request;
use super::{Effect, Granted};

/// How far the current turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a child.
    NeedsChild,
    Claiming,
    Conversing,
    LookingUp,
    Delivering,
    /// The assistant answers.
    Streaming,
    /// What the store has of it, or of an earlier turn, waits for room in its stream. No child is needed for that.
    Recovering,
    /// Its end is handed to the link.
    Finishing,
}

#[derive(Debug)]
pub(super) struct Turn {
    pub id: TurnId,
    pub stage: Stage,
    /// The deployment says that it was claimed; by whom is told by the claim.
    claimed: bool,
    pub granted: Option<Granted>,
    /// Where it is answered.
    pub conversation: Option<ConversationId>,
    /// The session's conversation before that one, while it is looked up first.
    pub left: Option<ConversationId>,
    /// This incarnation has given it to an assistant.
    pub given: bool,
    /// The owner wants it stopped.
    pub abort: bool,
    /// How it ends once the assistant has stopped, whatever the assistant says.
    pub verdict: Option<Ending>,
    /// When the assistant was asked to stop: first and last time.
    pub abort_asked: Option<(u64, u64)>,
    pub last_event_ms: u64,
    pub requests: Vec<Request>,
    /// Of a child that is gone, and not withdrawn yet.
    pub lost_requests: Vec<RequestKey>,
    /// The last rejection, should the assistant end the turn for it.
    pub rejected: Option<TurnError>,
    pub items: u64,
    /// Questions to the present child that it did not answer, in a row.
    pub unanswered: u32,
    /// Children that were lost while they worked on it.
    pub lost_children: u32,
    /// A part of what was streamed had no room.
    pub missed: bool,
    /// How the assistant ended it, while its store is asked for what was missed.
    pub ended: Option<Ending>,
    /// Its end, once that is handed to the link.
    pub ending: Option<Ending>,
    /// How often the deployment failed to take it, and when it gets it again.
    pub refusals: u32,
    pub again_at: Option<u64>,
    /// The end that follows when a recovery is through, of this turn or an earlier one.
    pub recovering: Option<(TurnId, Ending)>,
}

impl Turn {
    pub fn new(open: &OpenTurn, now: u64) -> Self {
        Self {
            id: open.turn_id.clone(),
            stage: Stage::NeedsChild,
            claimed: open.state == OpenState::Claimed,
            granted: None,
            conversation: None,
            left: None,
            given: false,
            abort: open.abort,
            verdict: None,
            abort_asked: None,
            last_event_ms: now,
            requests: Vec::new(),
            lost_requests: Vec::new(),
            rejected: None,
            items: 0,
            unanswered: 0,
            lost_children: 0,
            missed: false,
            ended: None,
            ending: None,
            refusals: 0,
            again_at: None,
            recovering: None,
        }
    }

    /// It may have been given to the assistant, by this incarnation or an earlier one.
    pub fn is_claimed(&self) -> bool {
        self.claimed || self.granted.is_some()
    }

    /// It was in somebody's hands before: only the store can tell that it was not given.
    pub fn may_have_been_given(&self) -> bool {
        self.given || self.granted.as_ref().is_some_and(|granted| !granted.first)
    }

    /// What to ask the store for: the earlier turns first, then this one, where the session was before if it has moved.
    pub fn next_lookup(&self) -> Option<Effect> {
        let conversation = self.left.clone().or_else(|| self.conversation.clone())?;
        let earlier = self.granted.as_ref()?.unsettled.first();
        let turn = earlier.map_or(&self.id, |earlier| &earlier.turn);
        Some(Effect::Lookup(conversation, turn.clone()))
    }

    /// Its end is decided: nothing that happens to a child changes it.
    pub fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Finishing | Stage::Recovering)
    }

    /// Everything of it is at the deployment but its end, which that fails to take.
    pub fn waits_to_be_finished(&self) -> bool {
        self.stage == Stage::Finishing && self.refusals > 0
    }

    /// The assistant may be working on it.
    pub fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Delivering | Stage::Streaming)
    }

    /// A person can still answer something of it.
    pub fn waits_for_owner(&self) -> bool {
        self.is_running() && self.requests.iter().any(Request::waits)
    }

    /// The child it was worked on with is gone: back to the step that looks the truth up.
    pub fn lose_child(&mut self) {
        if !matches!(
            self.stage,
            Stage::Finishing | Stage::Recovering | Stage::Claiming
        ) {
            self.stage = Stage::NeedsChild;
        }
        let waiting = self.requests.iter().filter(|request| request.waits());
        let waiting: Vec<RequestKey> = waiting.map(|request| request.key.clone()).collect();
        self.lost_requests.extend(waiting);
        self.requests.clear();
        self.abort_asked = None;
        self.unanswered = 0;
    }
}
