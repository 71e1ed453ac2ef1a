//! The phases of every kind of actor, as people see them.

use serde::Serialize;

/// Where an actor stands, in the words that `ps` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It has begun and is not useful yet.
    #[default]
    Starting,
    /// A bridge without a connection.
    Connecting,
    /// A bridge whose subscriptions are current.
    Synced,
    /// A bridge that lost its deployment and tries again.
    Offline,
    /// A worker that waits for its owner's approval.
    Pending,
    /// A worker that finishes what it has begun and takes no new turn, until it is resumed.
    Paused,
    /// A machine, deployment or worker that serves; a session whose child waits for a prompt.
    Ready,
    /// A session with a running turn.
    Active,
    /// A session whose turn waits for its owner's answer; tasks that wait for who works in the directory now.
    Waiting,
    /// A session without a child.
    Idle,
    /// Tasks that cannot go on until somebody has changed something; `detail` says what. It is looked at again and again.
    Blocked,
    /// It crashed and will be started again.
    Restarting,
    /// It crashed too often; `orchestrator restart` un-parks it.
    Parked,
    /// It cannot serve; `detail` says why.
    Failed,
    /// Its owner took the right away.
    Revoked,
    /// Another supervisor took the token over.
    Displaced,
    Stopping,
}
