//! Git behind the [`Git`] port, by its command line only: an assistant in the same repository uses plain git, so both mean
//! the same thing by everything.
//!
//! An assistant can write `.git`, and our calls run in it. So they trust nothing in there: no hook, no file system
//! monitor, no pager, no editor, and a repository whose own configuration names programs is refused ([`trust`]). Directory
//! and work tree are named in every call, because a configuration could point them elsewhere. All calls have a limit
//! and run under a warden ([`call`]); dropping a future ends its git, which gives its lock up on the way.

mod call;
mod chain;
mod changes;
mod cleanup;
mod diff;
mod dump;
mod place;
mod status;
mod trust;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use orchestrator_actors::domain::task::Isolation;
use orchestrator_actors::domain::task::{BranchChange, BranchName, CommitId};
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::git::{
    ChainLink, Cleanliness, Evidence, Git, GitError, Relationship, StateDump, Undo,
};

use crate::adapters::process::directories;
use crate::adapters::process::lease::session_lock;
use crate::adapters::process::marker::file_key;

pub use diff::{DiffStat, FileStat};

/// Who commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub email: String,
}

#[derive(Clone, Debug)]
pub struct GitConfig {
    pub directory: PathBuf,
    /// `None`: as git is configured.
    pub identity: Option<Identity>,
    pub isolation: Isolation,
    /// Where branches are pushed; a repository without it is worked in without pushing.
    pub remote: String,
    /// Whether branches are pushed at all.
    pub push: bool,
    /// Whether commits that the upstream lacks, or has in addition, keep a task from beginning.
    pub in_sync: bool,
    /// The environment that git's is made of; only what git and ssh need is taken.
    pub environment: BTreeMap<String, String>,
    /// The binary that becomes the warden.
    pub warden: PathBuf,
    /// Held by the warden of each call: a git that is being ended, or that a dead supervisor left, is waited for.
    pub lock: CallLock,
    pub limits: Limits,
}

/// Which lock the calls in a directory take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallLock {
    /// This file.
    File(PathBuf),
    /// One in this folder for all directories of a work tree.
    OfWorkTree(PathBuf),
}

impl CallLock {
    fn file(&self, directory: &Path) -> PathBuf {
        match self {
            Self::File(file) => file.clone(),
            Self::OfWorkTree(folder) => {
                let root = directories::root_of(directory);
                session_lock(folder, &file_key(&format!("git/{}", root.display())))
            }
        }
    }
}

impl<P: Into<PathBuf>> From<P> for CallLock {
    fn from(file: P) -> Self {
        Self::File(file.into())
    }
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub local: Duration,
    pub remote: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            local: Duration::from_mins(2),
            remote: Duration::from_mins(5),
        }
    }
}

impl GitConfig {
    /// With everything else as it is by default.
    pub fn new(
        directory: impl Into<PathBuf>,
        environment: BTreeMap<String, String>,
        warden: impl Into<PathBuf>,
        lock: impl Into<CallLock>,
    ) -> Self {
        Self {
            directory: directory.into(),
            identity: None,
            isolation: Isolation::Off,
            remote: "origin".to_owned(),
            push: true,
            in_sync: true,
            environment,
            warden: warden.into(),
            lock: lock.into(),
            limits: Limits::default(),
        }
    }
}

/// A directory's repository. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GitCli {
    config: Arc<GitConfig>,
}

impl GitCli {
    pub fn new(config: GitConfig) -> Self {
        Self {
            config: Arc::new(config),
        }
    }

    /// In the isolation in which the attempt began: a work tree of its own is not ended in the user's, nor the other way round.
    fn of(&self, change: &BranchChange) -> Self {
        match &change.isolation {
            Some(isolation) if *isolation != self.config.isolation => {
                let mut config = (*self.config).clone();
                config.isolation = isolation.clone();
                Self::new(config)
            }
            _ => self.clone(),
        }
    }

    /// Looked for in every call: git may be installed, replaced or removed at any time. Not on a runtime's thread, because
    /// some folder of the PATH may be on a disk that does not answer.
    async fn program_and_lock(&self) -> Result<(PathBuf, PathBuf), GitError> {
        let config = self.config.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let program = find_git(config.environment.get("PATH"))?;
            Some((program, config.lock.file(&config.directory)))
        });
        looked.await.ok().flatten().ok_or(GitError::Missing)
    }
}

/// Only absolute folders: others depend on the directory, in which an assistant can put a program.
fn find_git(path: Option<&String>) -> Option<PathBuf> {
    std::env::split_paths(path?)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("git"))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

impl Git for GitCli {
    fn is_clean(&self) -> Pending<Result<Cleanliness, GitError>> {
        let git = self.clone();
        Box::pin(async move { status::is_clean(&git).await })
    }

    fn prepare(&self, name: BranchName) -> Pending<Result<BranchChange, GitError>> {
        let git = self.clone();
        Box::pin(async move { changes::prepare(&git, name).await })
    }

    fn branch(&self, change: BranchChange) -> Pending<Result<(), GitError>> {
        let git = self.of(&change);
        Box::pin(async move { changes::branch(&git, &change).await })
    }

    fn evidence(&self, change: BranchChange) -> Pending<Result<Evidence, GitError>> {
        let git = self.of(&change);
        Box::pin(async move { changes::evidence(&git, &change).await })
    }

    fn commit(&self, change: BranchChange, message: String) -> Pending<Result<CommitId, GitError>> {
        let git = self.of(&change);
        Box::pin(async move { changes::commit(&git, &change, &message).await })
    }

    fn push(&self, change: BranchChange) -> Pending<Result<bool, GitError>> {
        let git = self.of(&change);
        Box::pin(async move { changes::push(&git, &change).await })
    }

    fn settle(&self, change: BranchChange) -> Pending<Result<(), GitError>> {
        let git = self.of(&change);
        Box::pin(async move { changes::settle(&git, &change).await })
    }

    fn clean_up(&self, undo: Undo) -> Pending<Result<Option<String>, GitError>> {
        let git = self.of(&undo.change);
        Box::pin(async move { cleanup::clean_up(&git, &undo).await })
    }

    fn take_back(&self, change: BranchChange, commit: CommitId) -> Pending<Result<(), GitError>> {
        let git = self.of(&change);
        Box::pin(async move { cleanup::take_back(&git, &change, &commit).await })
    }

    fn verify_chain(&self, links: Vec<ChainLink>) -> Pending<Result<Vec<Relationship>, GitError>> {
        let git = self.clone();
        Box::pin(async move { chain::verify(&git, &links).await })
    }

    fn dump_state(&self, label: String) -> Pending<Result<StateDump, GitError>> {
        let git = self.clone();
        Box::pin(async move { dump::dump(&git, label).await })
    }
}
