//! Which repository a directory belongs to. Found once per operation and then named in every call, so that neither an
//! environment nor `core.worktree` in a configuration can move `git clean` into another folder.

use std::fs;
use std::path::{Path, PathBuf};

use orchestrator_actors::domain::task::BranchChange;
use orchestrator_actors::ports::git::GitError;

use super::GitCli;
use super::call::Call;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub work_tree: PathBuf,
    pub git_dir: PathBuf,
    /// Shared by all work trees of the repository.
    pub common_dir: PathBuf,
}

/// The repository of the configured directory.
pub async fn find(git: &GitCli) -> Result<Place, GitError> {
    find_at(git, &git.config.directory).await
}

pub async fn find_at(git: &GitCli, directory: &Path) -> Result<Place, GitError> {
    let nowhere = || GitError::NotARepository(directory.to_owned());
    if !directory.is_dir() {
        return Err(nowhere());
    }
    let asked = [
        "rev-parse",
        "--path-format=absolute",
        "--show-toplevel",
        "--absolute-git-dir",
        "--git-common-dir",
    ];
    let finished = Call::somewhere(git, directory)
        .reading()
        .try_run(asked)
        .await?;
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    let mut lines = text.lines().map(PathBuf::from);
    let (Some(work_tree), Some(git_dir), Some(common_dir), true) =
        (lines.next(), lines.next(), lines.next(), finished.success())
    else {
        return Err(nowhere());
    };
    let place = Place {
        work_tree,
        git_dir,
        common_dir,
    };
    if !is_at_home(&place) {
        return Err(GitError::Untrusted(vec!["core.worktree".to_owned()]));
    }
    Ok(place)
}

/// The place of an attempt that is under way, if it is still in the repository in which it began: a scaffold or an assistant can
/// have made another one inside.
pub async fn of_attempt(
    git: &GitCli,
    change: &BranchChange,
    directory: &Path,
) -> Result<Place, GitError> {
    let place = find_at(git, directory).await?;
    match &change.repository {
        Some(expected) if *expected != place.common_dir => Err(GitError::Elsewhere {
            directory: directory.to_owned(),
            expected: expected.clone(),
            found: place.common_dir,
        }),
        _ => Ok(place),
    }
}

/// Whether the work tree itself says that this is its repository.
fn is_at_home(place: &Place) -> bool {
    let marker = place.work_tree.join(".git");
    let named = match fs::read_to_string(&marker) {
        Ok(text) => {
            let Some(path) = text.trim().strip_prefix("gitdir: ") else {
                return false;
            };
            place.work_tree.join(path)
        }
        Err(_) => marker,
    };
    match (named.canonicalize(), place.git_dir.canonicalize()) {
        (Ok(named), Ok(found)) => named == found,
        _ => false,
    }
}
