//! What a loop says about itself: each step as it begins, and the figures of a task at its end. Whoever listens writes
//! logs, shows progress or keeps figures; the loop does none of it.

use serde::{Deserialize, Serialize};

use crate::domain::ids::TaskId;
use crate::domain::task::{BranchName, Class, Failure};
use crate::ports::tasks::{Artifact, RunReport};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A task was taken.
    Began {
        task: TaskId,
        attempt: u32,
    },
    /// What a dead supervisor had under way is picked up.
    Resumed {
        task: TaskId,
        phase: &'static str,
    },
    Phase {
        task: TaskId,
        phase: &'static str,
    },
    Branched {
        task: TaskId,
        branch: BranchName,
    },
    /// Something that passes by itself is tried again.
    Again {
        task: TaskId,
        why: String,
        tried: u32,
    },
    Done {
        task: TaskId,
        artifact: Artifact,
        metrics: Metrics,
    },
    Failed {
        task: TaskId,
        failure: Failure,
        metrics: Metrics,
    },
    /// It goes back to the queue untried.
    Returned {
        task: TaskId,
        why: String,
    },
    /// What was left could not be undone.
    NotCleaned {
        task: TaskId,
        why: String,
    },
}

/// Milliseconds of each step, and what the run took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    pub check_ms: u64,
    pub branch_ms: u64,
    pub run_ms: u64,
    pub commit_ms: u64,
    pub push_ms: u64,
    pub clean_up_ms: u64,
    /// `None`: it succeeded.
    pub class: Option<Class>,
    pub run: Option<RunReport>,
}
