//! How a task can fail, and the two questions that follow: is it worth running the *command* again at once (the runner's
//! decision, for what passes by itself), and is it worth trying the *task* again later (the queue's)? Neither counts
//! here; the counts are settings.

use serde::{Deserialize, Serialize};

use super::BranchName;

/// The classes of failure, as the queue stores them and people read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The assistant says it is done and nothing has changed.
    NoChanges,
    /// The provider refuses the key.
    Auth,
    /// The provider refuses the request for good.
    BadRequest,
    RateLimited,
    /// Out of credit: waiting does not help.
    Quota,
    /// The provider failed.
    Server,
    /// The provider could not be reached, or its answer broke off.
    Network,
    /// The conversation no longer fits into the model.
    Context,
    /// The assistant used up its turns.
    TurnLimit,
    /// It was asked to end because its time was over.
    ProcessTimeout,
    /// It did not end when asked, and was ended.
    HardTimeout,
    /// Somebody called it off.
    Aborted,
    /// The assistant is not installed, or cannot be started.
    Missing,
    /// The machine is short of something (descriptors, memory, disk), or what was there before is not gone yet.
    Shortage,
    /// The assistant ended in a way that none of the others describes.
    Assistant,
    /// The task itself cannot be done: empty, too large.
    BadTask,
    /// The task's branch is there already: the same task was done before.
    BranchExists,
    /// The remote does not take the branch.
    PushRejected,
    /// Any other trouble with git.
    Git,
    /// The repository is not in a state in which a task may begin, or was taken elsewhere on the way.
    Repository,
}

impl Class {
    /// Whether the same command can succeed a moment later although nothing else has changed.
    pub fn passes_by_itself(self) -> bool {
        matches!(self, Self::RateLimited | Self::Server | Self::Network)
    }

    /// Whether another attempt at the task, from a clean tree, can end differently.
    pub fn worth_another_attempt(self) -> bool {
        !matches!(
            self,
            Self::Auth
                | Self::BadRequest
                | Self::Quota
                | Self::Aborted
                | Self::Missing
                | Self::BadTask
                | Self::BranchExists
                | Self::PushRejected
        )
    }
}

/// Why a task did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub class: Class,
    /// For people; holds no secret.
    pub message: String,
    /// How long whoever refused asked us to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

impl Failure {
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            retry_after_s: None,
        }
    }

    /// Says where people find what the attempt left.
    #[must_use]
    pub fn with_kept(mut self, kept: Option<&str>) -> Self {
        self.message = saying_what_is_kept(self.message, kept);
        self
    }

    /// Says that the branch may be at the remote although the attempt was undone.
    #[must_use]
    pub fn with_doubt(mut self, doubt: Option<&Doubt>) -> Self {
        if let Some(Doubt { branch, why }) = doubt {
            self.message = format!(
                "{} (whether {branch} has reached the remote is not known: {why}; if it has, delete it there)",
                self.message
            );
        }
        self
    }
}

/// Why an attempt is over, and where people find what it left.
pub fn saying_what_is_kept(why: String, kept: Option<&str>) -> String {
    match kept {
        Some(name) => format!("{why} (what was there is kept: git show {name})"),
        None => why,
    }
}

/// A push that could not be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    pub branch: BranchName,
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_also_worth_another_attempt() {
        for class in [Class::RateLimited, Class::Server, Class::Network] {
            assert!(class.passes_by_itself() && class.worth_another_attempt());
        }
        for class in [
            Class::Auth,
            Class::Quota,
            Class::BranchExists,
            Class::Aborted,
        ] {
            assert!(!class.passes_by_itself() && !class.worth_another_attempt());
        }
        assert!(Class::NoChanges.worth_another_attempt() && !Class::NoChanges.passes_by_itself());
    }

    #[test]
    fn classes_have_stable_names() {
        let name = |class| serde_json::to_string(&class).unwrap();
        assert_eq!(name(Class::RateLimited), "\"rate_limited\"");
        assert_eq!(name(Class::NoChanges), "\"no_changes\"");
    }
}
