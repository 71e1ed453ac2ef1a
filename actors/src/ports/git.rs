//! A repository, as the task loop uses it. Implemented over the git command line by `src/adapters/git`; scripted in tests.
//!
//! Dropping a future ends what it had started. None of the calls touches what was there before the task came: a
//! tree that is not clean is never reset, and what a failed attempt leaves is kept under a ref before it is cleared away.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Pending;
use crate::domain::task::{BranchChange, BranchName, Class, CommitId, Failure};

pub trait Git: Send + Sync + 'static {
    /// Whether a task may begin: nothing uncommitted and nothing that the remote lacks or has in addition. An error
    /// says that tasks cannot be done here at all: no repository, no commit, no branch, an operation under way.
    fn is_clean(&self) -> Pending<Result<Cleanliness, GitError>>;

    /// What [`Git::branch`] would do. Changes nothing.
    fn prepare(&self, name: BranchName) -> Pending<Result<BranchChange, GitError>>;

    /// Makes the task's branch and goes onto it.
    fn branch(&self, change: BranchChange) -> Pending<Result<(), GitError>>;

    /// What has been done on the branch since it was made.
    fn evidence(&self, change: BranchChange) -> Pending<Result<Evidence, GitError>>;

    /// Commits all there is and returns the branch's tip; without anything uncommitted, the tip alone.
    fn commit(&self, change: BranchChange, message: String) -> Pending<Result<CommitId, GitError>>;

    /// Whether it was pushed, this commit and nothing that came after it: a repository without the remote is worked in all
    /// the same. Repeating it is harmless.
    fn push(&self, change: BranchChange, commit: CommitId) -> Pending<Result<bool, GitError>>;

    /// The end of a task that succeeded: nothing uncommitted is left, and a work tree of its own is removed.
    fn settle(&self, change: BranchChange) -> Pending<Result<(), GitError>>;

    /// Undoes an attempt here, however far it came. May be repeated. Under which ref what was cleared away is kept, if
    /// anything was.
    fn clean_up(&self, undo: Undo) -> Pending<Result<Option<String>, GitError>>;

    /// Deletes the branch at the remote if it is exactly this commit there: a push that got no answer may have arrived.
    /// May be repeated.
    fn take_back(&self, change: BranchChange, commit: CommitId) -> Pending<Result<(), GitError>>;

    /// A person has looked: where pushes go now is where they are meant to go.
    fn accept(&self) {}

    /// Checks recorded branches against the repository, in the order they were made.
    fn verify_chain(&self, links: Vec<ChainLink>) -> Pending<Result<Vec<Relationship>, GitError>>;

    /// The repository's state for people.
    fn dump_state(&self, label: String) -> Pending<Result<StateDump, GitError>>;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleanliness {
    /// Uncommitted paths, the first few of them.
    pub changed: Vec<String>,
    pub changed_count: usize,
    /// Commits that the upstream lacks, and that it has in addition, as far as this repository has heard.
    pub ahead: u64,
    pub behind: u64,
}

impl Cleanliness {
    pub fn is_clean(&self) -> bool {
        self.changed_count == 0 && self.ahead == 0 && self.behind == 0
    }

    /// What has to be done before a task can begin; `None` when it can.
    pub fn obstacle(&self) -> Option<String> {
        if self.changed_count > 0 {
            let more = self.changed_count - self.changed.len();
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            return Some(format!(
                "there are uncommitted changes ({}{more}): commit them, stash them, or ignore them in .gitignore",
                self.changed.join(", ")
            ));
        }
        match (self.ahead, self.behind) {
            (0, 0) => None,
            (1, 0) => Some("a commit is not pushed: push it first".to_owned()),
            (ahead, 0) => Some(format!("{ahead} commits are not pushed: push them first")),
            (0, 1) => {
                Some("the remote has a commit that is missing here: pull it first".to_owned())
            }
            (0, behind) => Some(format!(
                "the remote has {behind} commits that are missing here: pull them first"
            )),
            (ahead, behind) => Some(format!(
                "the branch and its upstream have diverged ({ahead} commits here, {behind} there): bring them together first"
            )),
        }
    }
}

/// Proof that something was done: a run that changed nothing has failed, whatever it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Uncommitted paths.
    pub changed: usize,
    /// The assistant committed by itself.
    pub commits: u64,
}

impl Evidence {
    pub fn is_work(&self) -> bool {
        self.changed > 0 || self.commits > 0
    }
}

/// What to undo, and how sure it is that all of it is the task's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    pub change: BranchChange,
    /// We were not there all the time, so somebody else may have worked here since: only what is certainly the task's
    /// is touched.
    pub after_restart: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainLink {
    pub branch: BranchName,
    pub previous: BranchName,
    pub base: CommitId,
    pub commit: CommitId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Relationship {
    pub from: BranchName,
    pub to: BranchName,
    pub kind: RelationshipKind,
    /// What is wrong, for people.
    pub why: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RelationshipKind {
    Chains,
    Diverged,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateDump {
    pub label: String,
    pub branch: Option<String>,
    pub commit: Option<String>,
    /// The lock file of a git that is at work, or that has ended without removing it.
    pub locked: Option<String>,
    /// Short id and subject by branch, at most a hundred.
    pub branches: Vec<(String, String)>,
    /// The last commits of all branches, as a drawing.
    pub log: String,
    pub changed: Vec<String>,
    pub changed_count: usize,
    /// The first files of the working directory.
    pub files: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GitError {
    #[error("git is not installed: it is not on the PATH")]
    Missing,
    #[error("{} is not in a git repository: run `git init` there, or give the worker another directory", .0.display())]
    NotARepository(PathBuf),
    #[error("the repository has no commit yet: a task needs one to start from")]
    NoCommits,
    #[error("no branch is checked out (detached HEAD at {0}): switch to a branch first")]
    Detached(String),
    #[error("a {0} is under way: finish or abort it first")]
    InProgress(&'static str),
    #[error(
        "the branch {0} is there already: the same task was done before, or somebody has made a branch of that name"
    )]
    BranchExists(BranchName),
    /// Passes by itself when the other git is done.
    #[error("another git has locked the repository ({0}): if none is running, remove the file")]
    Locked(String),
    #[error(
        "git does not know who commits: set `git.user` of the worker (name and email), or `git config user.name` and `git config user.email` in the repository"
    )]
    NoIdentity,
    #[error("the remote does not take {branch}: {said}")]
    Rejected { branch: BranchName, said: String },
    /// Passes by itself, perhaps.
    #[error("the remote cannot be reached (it is tried again by itself): {0}")]
    Unreachable(String),
    #[error(
        "the remote does not let us in: {0}: give git what it needs to push without asking (an ssh agent, or a credential helper in your global configuration)"
    )]
    Denied(String),
    #[error(
        "where branches are pushed has changed since tasks are done here ({0} in .git/config): if that is meant, `orchestrator restart task/WORKER` accepts it; if not, put it back"
    )]
    Redirected(String),
    #[error("the branch cannot be pushed: {0}")]
    NotPushed(String),
    /// Ours, of another task of the same work tree or of a step that is being ended.
    #[error("another step of git of this supervisor is at work in the repository ({0})")]
    Busy(String),
    #[error("{} is in another repository by now ({}, not {}): move that away; then the task ends", .directory.display(), .found.display(), .expected.display())]
    Elsewhere {
        directory: PathBuf,
        expected: PathBuf,
        found: PathBuf,
    },
    /// Files that nothing can be made of that could be kept.
    #[error(
        "what the attempt left cannot be kept aside and so is not cleared away ({}): make it readable, move it or remove it; then the task ends", .0.join(", ")
    )]
    NotKept(Vec<String>),
    #[error(
        "the repository is on {found}, not on the task's branch {expected}: what is there is left as it is{}; tasks go on when {expected} or the branch before it is checked out, with nothing uncommitted", told(.kept.as_deref())
    )]
    Moved {
        expected: BranchName,
        found: String,
        /// The ref under which the tree is kept that was found there.
        kept: Option<String>,
    },
    #[error("the repository's own configuration would make git start programs ({}): take these settings out of .git/config or into your global configuration", .0.join(", "))]
    Untrusted(Vec<String>),
    #[error("there are changes that are not in the task's commit ({}): commit, stash or remove them; then the task ends", .0.join(", "))]
    StillDirty(Vec<String>),
    /// Of descriptors, memory or disk. Passes by itself, perhaps.
    #[error("the machine is short of something that git needs: {0}")]
    Shortage(String),
    #[error("`git {what}` took longer than {} s", .within.as_secs())]
    TimedOut { what: String, within: Duration },
    #[error("`git {what}` failed: {said}")]
    Failed { what: String, said: String },
}

fn told(kept: Option<&str>) -> String {
    kept.map_or_else(String::new, |name| {
        format!(", and a copy of it is kept as {name}")
    })
}

impl GitError {
    pub fn passes_by_itself(&self) -> bool {
        matches!(
            self,
            Self::Locked(_) | Self::Busy(_) | Self::Unreachable(_) | Self::Shortage(_)
        )
    }

    /// Tasks cannot be done in this repository until somebody has looked at it.
    pub fn stops_the_loop(&self) -> bool {
        matches!(
            self,
            Self::Missing
                | Self::NotARepository(_)
                | Self::NoCommits
                | Self::Detached(_)
                | Self::InProgress(_)
                | Self::Moved { .. }
                | Self::Locked(_)
                | Self::NoIdentity
                | Self::Untrusted(_)
                | Self::StillDirty(_)
                | Self::Unreachable(_)
                | Self::Denied(_)
                | Self::Redirected(_)
                | Self::NotKept(_)
                | Self::NotPushed(_)
                | Self::Busy(_)
                | Self::Elsewhere { .. }
                | Self::Shortage(_)
                | Self::TimedOut { .. }
        )
    }

    /// Another attempt at another task would end in the same way, whatever the assistant did.
    pub fn is_nobodys_fault(&self) -> bool {
        matches!(
            self,
            Self::Missing
                | Self::Locked(_)
                | Self::Busy(_)
                | Self::NoIdentity
                | Self::Redirected(_)
                | Self::Shortage(_)
        )
    }
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        let class = match &error {
            GitError::BranchExists(_) => Class::BranchExists,
            GitError::Rejected { .. } => Class::PushRejected,
            GitError::Unreachable(_) | GitError::Denied(_) => Class::Network,
            GitError::Shortage(_) => Class::Shortage,
            GitError::TimedOut { .. } => Class::Git,
            error if error.stops_the_loop() => Class::Repository,
            _ => Class::Git,
        };
        Self::new(class, error.to_string())
    }
}
