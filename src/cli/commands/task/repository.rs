//! A repository of this machine, for looking: with our git, which trusts nothing in it, and a lock of this process's own.

use std::path::{Path, PathBuf};

use orchestrator_actors::ports::git::GitError;

use crate::adapters::git::{GitCli, GitConfig};
use crate::adapters::identity::Machine;
use crate::adapters::process::{environment, own_binary};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::WorkerRow;
use crate::config::paths::private_dir;

pub fn at(app: &App, directory: &Path) -> Result<GitCli, Failure> {
    let locks = app.paths.state.join("locks");
    private_dir(&locks)?;
    // Nothing that only looks has to wait for a supervisor's git.
    let lock = locks.join(format!("looking-{}", std::process::id()));
    Ok(GitCli::new(GitConfig::new(
        directory,
        environment::ours().into_iter().collect(),
        own_binary(),
        lock,
    )))
}

/// Where a worker's repository is, if it is on this machine.
pub fn of_worker(app: &App, worker: &WorkerRow) -> Option<PathBuf> {
    let here = Machine::load(&app.paths.machine_file()).ok().flatten()?;
    let directory = PathBuf::from(&worker.directory);
    (here.id().as_str() == worker.machine_id && directory.is_dir()).then_some(directory)
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        let message = error.to_string();
        match error {
            GitError::Missing => Self::new(Exit::ToolMissing, message),
            GitError::NotARepository(_) => Self::usage(message),
            _ => Self::failed(message),
        }
    }
}
