//! The turn that a session works on.

use crate::domain::assistant::RequestId;
use crate::domain::ids::{ConversationId, TurnId};
use crate::domain::inbox::{OpenState, OpenTurn};
use crate::domain::turn::Ending;

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

/// A permission or question that the assistant waits for.
#[derive(Debug)]
pub(super) struct Request {
    pub id: RequestId,
    pub what: String,
    pub since_ms: u64,
    pub rejected: bool,
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

    /// The child it was worked on with is gone: back to the step that looks the truth up.
    pub fn lose_child(&mut self) {
        if !matches!(
            self.stage,
            Stage::Finishing | Stage::Recovering | Stage::Claiming
        ) {
            self.stage = Stage::NeedsChild;
        }
        self.requests.clear();
        self.abort_asked = None;
        self.unanswered = 0;
    }
}
