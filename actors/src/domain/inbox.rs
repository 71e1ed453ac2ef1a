//! A snapshot of `work:inbox`: what the deployment wants of one worker, in ids and states only.

use serde::Deserialize;

use super::command::OpenCommand;
use super::ids::{RequestKey, SessionId, TurnId};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inbox {
    pub state: WorkerState,
    /// Another supervisor has the token now.
    pub displaced: bool,
    /// Of each session its oldest unfinished turn.
    pub turns: Vec<OpenTurn>,
    /// Sessions that this worker said it serves, ended ones too.
    pub sessions: Vec<ServedSession>,
    /// What owners were asked, while its supervisor has yet to hear how it ended.
    #[serde(default)]
    pub requests: Vec<LiveRequest>,
    /// What owners ask of the machine: to be taken, or taken by this worker and not ended. A deployment of older functions
    /// gives none.
    #[serde(default)]
    pub commands: Vec<OpenCommand>,
    /// Tasks wait, or one is in somebody's hand. Of a deployment of older functions there are none.
    #[serde(default)]
    pub tasks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    Pending,
    Approved,
    Revoked,
    Removed,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenTurn {
    pub turn_id: TurnId,
    pub session_id: SessionId,
    pub state: OpenState,
    /// The owner wants it stopped.
    pub abort: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenState {
    Queued,
    Claimed,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveRequest {
    pub request_id: RequestKey,
    pub session_id: SessionId,
    pub state: LiveState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LiveState {
    Open,
    Answered,
    Withdrawn,
    Expired,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedSession {
    pub session_id: SessionId,
    pub status: SessionStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionStatus {
    Pending,
    Active,
    Idle,
    Ended,
    Failed,
}
