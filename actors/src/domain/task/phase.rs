//! The way of a task as it is written down before each step, and what a restarted loop makes of what it finds. The
//! rule: until the work is committed an attempt is undone and the task given back; from then on it is brought to its end.
//! A phase is written *before* its step begins, so that nothing has been done that the record does not name.

use serde::{Deserialize, Serialize};

use super::{BranchChange, CommitId, Failure};

/// How far the task has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// It was taken from the queue; the repository is untouched.
    Pulled,
    /// The tree was clean, and the branch is being made.
    Branching { change: BranchChange },
    /// The assistant is at work.
    Running { change: BranchChange },
    /// The assistant is done and there is work to commit.
    Committing { change: BranchChange },
    /// The work is committed.
    Pushing {
        change: BranchChange,
        commit: CommitId,
    },
    /// Done; the queue has to hear of it.
    Acknowledging {
        change: BranchChange,
        commit: CommitId,
        pushed: bool,
    },
    /// It failed, and what it left is being undone. `commit` is there when it may have reached the remote.
    CleaningUp {
        change: BranchChange,
        commit: Option<CommitId>,
        failure: Failure,
    },
    /// It failed and is undone; the queue has to hear of it.
    Failing { failure: Failure },
}

impl Phase {
    /// What has been changed by then, or is about to be.
    pub fn change(&self) -> Option<&BranchChange> {
        match self {
            Self::Pulled | Self::Failing { .. } => None,
            Self::Branching { change }
            | Self::Running { change }
            | Self::Committing { change }
            | Self::Pushing { change, .. }
            | Self::Acknowledging { change, .. }
            | Self::CleaningUp { change, .. } => Some(change),
        }
    }

    /// For people and for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pulled => "pulled",
            Self::Branching { .. } => "branching",
            Self::Running { .. } => "running",
            Self::Committing { .. } => "committing",
            Self::Pushing { .. } => "pushing",
            Self::Acknowledging { .. } => "acknowledging",
            Self::CleaningUp { .. } => "cleaning up",
            Self::Failing { .. } => "failing",
        }
    }
}

/// What the journal holds: one task at most, because a directory does one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The right under which the task was taken; the same one is shown again after a restart.
    pub lease: String,
    pub task: String,
    pub description: String,
    pub attempt: u32,
    #[serde(flatten)]
    pub phase: Phase,
}

/// Where a restarted loop picks a task up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Nothing was done: give it back.
    Return,
    /// Undo what was begun, then give it back.
    Undo {
        change: BranchChange,
    },
    /// There is work: commit what is not yet committed and go on.
    Commit {
        change: BranchChange,
    },
    Push {
        change: BranchChange,
        commit: CommitId,
    },
    Acknowledge {
        change: BranchChange,
        commit: CommitId,
        pushed: bool,
    },
    CleanUp {
        change: BranchChange,
        commit: Option<CommitId>,
        failure: Failure,
    },
    Fail {
        failure: Failure,
    },
}

impl From<Phase> for Resume {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Pulled => Self::Return,
            Phase::Branching { change } | Phase::Running { change } => Self::Undo { change },
            Phase::Committing { change } => Self::Commit { change },
            Phase::Pushing { change, commit } => Self::Push { change, commit },
            Phase::Acknowledging {
                change,
                commit,
                pushed,
            } => Self::Acknowledge {
                change,
                commit,
                pushed,
            },
            Phase::CleaningUp {
                change,
                commit,
                failure,
            } => Self::CleanUp {
                change,
                commit,
                failure,
            },
            Phase::Failing { failure } => Self::Fail { failure },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BranchName, Class, Isolation};
    use super::*;

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let change = BranchChange {
            route: None,
            previous: BranchName::new("main").unwrap(),
            created: BranchName::of_task("", "a").unwrap(),
            base: CommitId::new("c0ffee"),
            directory: "/work".into(),
            isolation: Some(Isolation::Worktree("/trees".into())),
        };
        for phase in [
            Phase::Pulled,
            Phase::Running {
                change: change.clone(),
            },
            Phase::CleaningUp {
                change,
                commit: None,
                failure: Failure::new(Class::Quota, "no credit"),
            },
        ] {
            let entry = Entry {
                lease: "l".to_owned(),
                task: "t".to_owned(),
                description: "a".to_owned(),
                attempt: 2,
                phase,
            };
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
        }
    }
}
