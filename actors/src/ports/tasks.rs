//! What the task loop needs besides git: a queue to take tasks from, somebody who does them, and a journal that
//! survives a kill. Implemented by `src/adapters`; scripted in tests.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::Pending;
use super::git::{Git, GitError};
use crate::domain::ids::{TaskId, WorkerDir, WorkerId};
use crate::domain::task::{BranchName, Class, CommitId, Entry, Failure, Isolation, TaskSettings};

/// A task that was taken from the queue. It is ours until it is acknowledged or withdrawn.
#[derive(Clone, Debug)]
pub struct Task {
    pub id: TaskId,
    pub description: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The right under which it was taken; every word about it carries it.
    pub lease: String,
    /// Cancelled when its owner calls it off, or the queue has given it to somebody else.
    pub withdrawn: CancellationToken,
}

/// What a pull came to.
#[derive(Clone, Debug)]
pub enum Pulled {
    Task(Task),
    /// There will be none: the queue is closed, or the pull was called off.
    Ended,
}

/// What the queue hears about a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    Done(Artifact),
    /// It was tried and failed; the queue decides whether it is tried again.
    Failed(Failure),
    /// It was not tried, or the try does not count: it goes back to its place.
    Returned(String),
}

/// Where the work is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    pub branch: BranchName,
    pub previous: BranchName,
    pub base: CommitId,
    pub commit: CommitId,
    /// `false`: the repository has no remote.
    pub pushed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The task belongs to somebody else by now; nothing more may be said about it.
    #[error("the task was given to somebody else")]
    Lost,
    /// The queue does not work for us any more.
    #[error("{0}")]
    Refused(String),
}

/// A queue with one task in hand at a time.
pub trait Queue: Send + Sync + 'static {
    /// Waits for a task. With `known`, the lease of a task that a dead supervisor had in hand: that one first, if it is
    /// still ours.
    fn pull(&self, known: Option<Entry>) -> Pending<Result<Pulled, QueueError>>;

    /// Resolves when somebody has changed the queue since now: has added a task, or called one off. For a loop that is
    /// blocked: its owner is there.
    fn news(&self) -> Pending<()> {
        Box::pin(std::future::pending())
    }

    /// Resolves when the queue has it. Saying it twice is harmless.
    fn acknowledge(
        &self,
        task: Task,
        what: Acknowledgement,
        metrics: Metrics,
    ) -> Pending<Result<(), QueueError>>;
}

/// What the assistant is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub task: TaskId,
    pub description: String,
    pub directory: PathBuf,
    /// Where the runner says how far the assistant has come.
    pub turns: TurnCount,
}

/// Turns of a run that is under way. Shared by who runs and who shows it.
#[derive(Clone, Debug, Default)]
pub struct TurnCount(Arc<AtomicU32>);

impl TurnCount {
    pub fn set(&self, turns: u32) {
        self.0.store(turns, Ordering::Relaxed);
    }

    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl PartialEq for TurnCount {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for TurnCount {}

/// What a run that did not fail says about itself. Whether it did any work is git's to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// The end of what the assistant said.
    pub summary: String,
    pub turns: u32,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// How often the command was started.
    pub tries: u32,
}

/// Milliseconds of each step of an attempt, and what the run took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// For whoever worked in the directory.
    pub wait_ms: u64,
    pub check_ms: u64,
    pub branch_ms: u64,
    pub run_ms: u64,
    pub commit_ms: u64,
    pub push_ms: u64,
    pub clean_up_ms: u64,
    /// `None`: it succeeded, or was given back.
    pub class: Option<Class>,
    pub run: Option<RunReport>,
}

/// Does tasks: one command for each, of which nothing is left when the future is done.
pub trait Runner: Send + Sync + 'static {
    /// When `abort` is cancelled the assistant is asked to end, then ended; the answer is a failure of the class `aborted`.
    /// Dropping the future ends it at once.
    fn run(
        &self,
        assignment: Assignment,
        abort: CancellationToken,
    ) -> Pending<Result<RunReport, Failure>>;

    /// The right to one more living assistant on this machine, as soon as there is one.
    fn place(&self) -> Pending<Held> {
        Box::pin(async { Box::new(()) as Held })
    }

    /// Whether it can do tasks at all; if not, what has to be done about it.
    fn ready(&self) -> Pending<Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JournalError(pub String);

/// One entry, on disk.
pub trait TaskJournal: Send + Sync + 'static {
    /// Resolves when the entry has taken the place of the one before (fsync).
    fn write(&self, entry: Entry) -> Pending<Result<(), JournalError>>;
    fn clear(&self) -> Pending<Result<(), JournalError>>;
    fn read(&self) -> Pending<Result<Option<Entry>, JournalError>>;
}

/// A right that ends when it is dropped.
pub type Held = Box<dyn Any + Send + Sync>;

/// What a task needs of its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub task: TaskId,
    /// Of an attempt that is taken up again: how it began. `None`: as the settings say.
    pub isolation: Option<Isolation>,
    /// Somebody who has ended had the task in hand, and its assistant may not be gone yet.
    pub after_restart: bool,
}

impl Wanted {
    pub fn for_an_attempt(task: &TaskId) -> Self {
        Self {
            task: task.clone(),
            isolation: None,
            after_restart: false,
        }
    }
}

/// The right to work in a directory alone. It outlives whoever drops it until the task's assistant is gone.
pub trait Directory: Send + Sync + 'static {
    /// `None`: somebody works there, or waits to, or the assistant of an earlier attempt is not gone yet.
    fn try_take(&self, wanted: Wanted) -> Pending<Result<Option<Held>, String>>;
}

/// Whose tasks, where, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub worker: WorkerId,
    pub directory: WorkerDir,
    pub settings: Arc<TaskSettings>,
}

/// What one worker's tasks are done with.
#[derive(Clone)]
pub struct Workshop {
    pub runner: Arc<dyn Runner>,
    pub git: Arc<dyn Git>,
    pub journal: Arc<dyn TaskJournal>,
    pub directory: Arc<dyn Directory>,
}

/// Where tasks are done on this machine.
pub trait Workshops: Send + Sync + 'static {
    /// Touches nothing yet.
    fn open(&self, site: &Site) -> Workshop;

    /// Whether a task was in hand when its supervisor ended.
    fn has_left(&self, worker: &WorkerId) -> Pending<bool>;
}

/// Why a loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoopEnd {
    /// It was told to stop, or the queue has ended.
    Stopped,
    /// Nothing can be done here until somebody has looked. The task was given back.
    Blocked(Blocked),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// What keeps a task from beginning.
    #[error("{0}")]
    NotClean(String),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("the task journal cannot be written: {0}")]
    Journal(#[from] JournalError),
    #[error("the queue refuses: {0}")]
    Queue(String),
    /// Nobody is there to do the task.
    #[error("{0}")]
    Assistant(String),
    /// The right to the directory cannot be asked for.
    #[error("{0}")]
    Directory(String),
    /// The machine cannot run an assistant just now.
    #[error("{0}")]
    Shortage(String),
}

impl Blocked {
    /// No task has a part in it, so none is used up by it.
    pub fn is_nobodys_fault(&self) -> bool {
        match self {
            Self::Git(error) => error.is_nobodys_fault(),
            Self::NotClean(_) => false,
            Self::Journal(_)
            | Self::Queue(_)
            | Self::Assistant(_)
            | Self::Directory(_)
            | Self::Shortage(_) => true,
        }
    }
}
