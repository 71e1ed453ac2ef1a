//! What a loop says about itself: each step as it begins, and the figures of a task at its end. Whoever listens writes
//! logs, shows progress or keeps figures; the loop does none of it.

use crate::domain::ids::TaskId;
use crate::domain::task::{BranchName, Doubt, Failure};
pub use crate::ports::tasks::Metrics;
use crate::ports::tasks::{Artifact, TurnCount};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A task was taken.
    Began {
        task: TaskId,
        title: String,
        attempt: u32,
    },
    /// Somebody else works in the directory.
    Waits {
        task: TaskId,
        why: String,
    },
    /// The assistant was given the task.
    Asked {
        task: TaskId,
        turns: TurnCount,
    },
    /// What a dead supervisor had under way is picked up.
    Resumed {
        task: TaskId,
        title: String,
        attempt: u32,
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
    /// Whether a push that was given up has arrived could not be found out.
    InDoubt {
        task: TaskId,
        doubt: Doubt,
    },
}

/// Writes it into the log, as one of this worker's, if there is one.
pub fn tell(progress: &Progress, worker: Option<&str>) {
    match progress {
        Progress::Began { task, attempt, .. } => {
            tracing::info!(%task, worker, attempt, "task begun");
        }
        Progress::Resumed { task, phase, .. } => {
            tracing::info!(%task, worker, phase, "task resumed");
        }
        Progress::Waits { task, why } => tracing::debug!(%task, worker, why, "task waits"),
        Progress::Asked { task, .. } => tracing::debug!(%task, worker, "assistant asked"),
        Progress::Phase { task, phase } => tracing::debug!(%task, worker, phase, "task phase"),
        Progress::Branched { task, branch } => {
            tracing::info!(%task, worker, %branch, "task branched");
        }
        Progress::Again { task, why, tried } => {
            tracing::warn!(%task, worker, why, tried, "tried again");
        }
        Progress::Done {
            task,
            artifact,
            metrics,
        } => tracing::info!(
            %task, worker, branch = %artifact.branch, commit = %artifact.commit, pushed = artifact.pushed,
            run_ms = metrics.run_ms, push_ms = metrics.push_ms, "task done"
        ),
        Progress::Failed {
            task,
            failure,
            metrics,
        } => tracing::warn!(
            %task, worker, class = ?failure.class, why = %failure, run_ms = metrics.run_ms, "task failed"
        ),
        Progress::Returned { task, why } => tracing::info!(%task, worker, why, "task given back"),
        Progress::InDoubt { task, doubt } => tracing::warn!(
            %task, worker, branch = %doubt.branch, why = doubt.why, "push not taken back"
        ),
        Progress::NotCleaned { task, why } => {
            tracing::error!(%task, worker, why, "task not undone");
        }
    }
}
