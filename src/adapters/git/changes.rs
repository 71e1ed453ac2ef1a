//! The steps that change a repository, of a task that goes well: its branch, its commit, its push, its end. What
//! undoes them is in [`super::cleanup`].

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use orchestrator_actors::domain::task::{BranchChange, BranchName, CommitId};
use orchestrator_actors::ports::git::{Evidence, GitError};

use super::call::Call;
use super::place::{self, Place};
use super::status::Status;
use super::{GitCli, Isolation, status, trust};
use crate::adapters::process::command::Finished;
use crate::adapters::process::speaks_of_shortage;

/// Names the branch of the last task that succeeded, where tasks have work trees of their own: the next one starts there,
/// although the user's checkout has stayed where it was.
const CHAIN: &str = "refs/orchestrator/chain";

/// Of a tree that is being removed.
const GONE: &str = ".gone";

/// Paths in one call: git looks for each of them among all that it knows.
const PATHS_AT_ONCE: usize = 2_000;
/// How often the paths are looked at again when one has vanished meanwhile.
const LOOKS: u32 = 3;

pub async fn prepare(git: &GitCli, created: BranchName) -> Result<BranchChange, GitError> {
    let place = place::find(git).await?;
    let now = status::read(git, &place).await?;
    let commit = now.commit.ok_or(GitError::NoCommits)?;
    let branch = now.branch.and_then(|name| BranchName::new(name).ok());
    let here = branch.ok_or_else(|| GitError::Detached(commit.chars().take(10).collect()))?;
    if tip(git, &place, &created.full()).await?.is_some() {
        return Err(GitError::BranchExists(created));
    }
    let settings = trust::Settings::read(git, &place).await?;
    let route = settings.route(&git.config.remote);
    if !git.route.goes(&route) {
        return Err(trust::redirected(git));
    }
    let (route, repository) = (Some(route), Some(place.common_dir.clone()));
    let base = CommitId::new(commit);
    let isolation = Some(git.config.isolation.clone());
    let Isolation::Worktree(folder) = &git.config.isolation else {
        return Ok(BranchChange {
            previous: here,
            created,
            base,
            directory: git.config.directory.clone(),
            isolation,
            route,
            repository,
        });
    };
    let (previous, base) = match end_of_chain(git, &place, &base).await? {
        Some(end) => end,
        None => (here, base),
    };
    let below = git.config.directory.canonicalize().unwrap_or_default();
    let below = below
        .strip_prefix(&place.work_tree)
        .unwrap_or(Path::new(""));
    let directory = own_tree(folder, &created).join(below);
    Ok(BranchChange {
        previous,
        created,
        base,
        directory,
        isolation,
        route,
        repository,
    })
}

/// The last task's branch, unless the user's checkout has gone on without it.
async fn end_of_chain(
    git: &GitCli,
    place: &Place,
    here: &CommitId,
) -> Result<Option<(BranchName, CommitId)>, GitError> {
    let named = Call::at(git, place)
        .reading()
        .try_run(["symbolic-ref", "-q", CHAIN])
        .await?;
    let named = named.stdout_text();
    let Some(last) = named
        .strip_prefix("refs/heads/")
        .and_then(|name| BranchName::new(name).ok())
    else {
        return Ok(None);
    };
    let Some(end) = tip(git, place, &last.full()).await? else {
        return Ok(None);
    };
    let goes_on = is_ancestor(git, place, here.as_str(), end.as_str()).await?;
    Ok(goes_on.then_some((last, end)))
}

/// The root of a task's own work tree.
pub fn own_tree(folder: &Path, branch: &BranchName) -> PathBuf {
    folder.join(branch.as_str().replace('/', "-"))
}

pub async fn branch(git: &GitCli, change: &BranchChange) -> Result<(), GitError> {
    let place = place::of_attempt(git, change, &git.config.directory).await?;
    let (name, base) = (change.created.as_str(), change.base.as_str());
    let made = match &git.config.isolation {
        Isolation::Worktree(folder) => {
            let tree = own_tree(folder, &change.created);
            let tree = tree.to_string_lossy();
            Call::at(git, &place).run(["worktree", "prune"]).await?;
            let args = [
                "worktree",
                "add",
                "-q",
                "--no-track",
                "-b",
                name,
                &*tree,
                base,
            ];
            Call::at(git, &place).run(args).await
        }
        Isolation::Off | Isolation::Config => {
            let args = ["switch", "-q", "--no-guess", "-c", name, base];
            Call::at(git, &place).run(args).await
        }
    };
    match made {
        Ok(_) => Ok(()),
        // A branch, or something else of that name (a folder).
        Err(error @ GitError::Failed { .. }) => {
            match tip(git, &place, &change.created.full()).await? {
                Some(_) => Err(GitError::BranchExists(change.created.clone())),
                None => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

pub async fn evidence(git: &GitCli, change: &BranchChange) -> Result<Evidence, GitError> {
    let place = place::of_attempt(git, change, &change.directory).await?;
    trust::check(git, &place).await?;
    let now = status::read(git, &place).await?;
    is_on(&now, change)?;
    let (base, tip) = (change.base.as_str(), change.created.full());
    let range = format!("{base}...{tip}");
    let counted = Call::at(git, &place)
        .reading()
        .run(["rev-list", "--left-right", "--count", &range])
        .await?;
    let counts = counted.stdout_text();
    let mut counts = counts.split_whitespace().map(|count| count.parse().ok());
    let (left, right): (Option<u64>, Option<u64>) =
        (counts.next().flatten(), counts.next().flatten());
    if left != Some(0) {
        return Err(GitError::Failed {
            what: "merge-base".to_owned(),
            said: format!("the history before {} was rewritten", change.created),
        });
    }
    Ok(Evidence {
        changed: now.changed.len(),
        commits: right.unwrap_or(0),
    })
}

fn is_on(now: &status::Status, change: &BranchChange) -> Result<(), GitError> {
    if now.branch.as_deref() == Some(change.created.as_str()) {
        return Ok(());
    }
    Err(GitError::Moved {
        expected: change.created.clone(),
        found: now.branch.clone().unwrap_or_else(|| "no branch".to_owned()),
        kept: None,
    })
}

pub async fn commit(
    git: &GitCli,
    change: &BranchChange,
    message: &str,
) -> Result<CommitId, GitError> {
    let place = place::of_attempt(git, change, &change.directory).await?;
    trust::check(git, &place).await?;
    let now = status::read(git, &place).await?;
    is_on(&now, change)?;
    if !now.changed.is_empty() {
        add(|| Call::at(git, &place), &place, now, &[]).await?;
        let file = write_aside(&place, "ORCHESTRATOR_COMMIT_MESSAGE", message.as_bytes())?;
        let file = file.to_string_lossy();
        let args = [
            "commit",
            "-q",
            "--no-verify",
            "--cleanup=verbatim",
            "-F",
            &*file,
        ];
        let finished = Call::at(git, &place)
            .with(identity(git))
            .try_run(args)
            .await?;
        check_commit(&finished)?;
    }
    let tip = tip(git, &place, &change.created.full()).await?;
    tip.ok_or_else(|| GitError::Failed {
        what: "rev-parse".to_owned(),
        said: format!("the branch {} is gone", change.created),
    })
}

/// Nothing to commit is no failure: what was changed is ignored, or is inside a submodule.
fn check_commit(finished: &Finished) -> Result<(), GitError> {
    let nothing = finished.stdout_text().contains("nothing to commit")
        || finished.stdout_text().contains("nothing added to commit");
    if finished.success() || nothing {
        return Ok(());
    }
    Err(super::call::meaning_of("commit".to_owned(), finished))
}

/// Never guessed from the machine's name.
pub fn identity(git: &GitCli) -> Vec<String> {
    let mut settings = vec!["user.useConfigOnly=true".to_owned()];
    if let Some(who) = &git.config.identity {
        settings.push(format!("user.name={}", who.name));
        settings.push(format!("user.email={}", who.email));
    }
    settings
}

/// Whether the commit will find somebody to name: asked before the assistant has worked, in the way the commit asks.
pub async fn check_identity(git: &GitCli, place: &Place) -> Result<(), GitError> {
    for whose in ["GIT_COMMITTER_IDENT", "GIT_AUTHOR_IDENT"] {
        let asked = Call::at(git, place).reading().with(identity(git));
        let finished = asked.try_run(["var", whose]).await?;
        if !finished.success() {
            return Err(super::call::meaning_of("var".to_owned(), &finished));
        }
    }
    Ok(())
}

/// Adds exactly what is found to have changed: `git add -A` by itself would look into every submodule, with whatever filters
/// that one names. `call` makes a call with the settings and the index that are meant.
pub async fn add<'a>(
    call: impl Fn() -> Call<'a>,
    place: &Place,
    mut now: Status,
    how: &[&str],
) -> Result<(), GitError> {
    for _ in 1..LOOKS {
        match add_found(&call, place, &now, how).await {
            // An editor's or a server's own file, gone since it was seen.
            Err(GitError::Failed { said, .. }) if said.contains("did not match any file") => {
                now = status::read_by(call()).await?;
            }
            done => return done,
        }
    }
    add_found(&call, place, &now, how).await
}

async fn add_found<'a>(
    call: &impl Fn() -> Call<'a>,
    place: &Place,
    now: &Status,
    how: &[&str],
) -> Result<(), GitError> {
    for paths in now.to_add().chunks(PATHS_AT_ONCE) {
        let mut list = Vec::new();
        for path in paths {
            list.extend_from_slice(path);
            list.push(0);
        }
        let file = write_aside(place, "ORCHESTRATOR_PATHS", &list)?;
        let from = format!("--pathspec-from-file={}", file.display());
        let args = ["add", "-A", "--pathspec-file-nul", &from];
        let args = args.iter().chain(how).copied();
        let added = call().literally().run(args).await;
        let _ = fs::remove_file(file);
        added?;
    }
    Ok(())
}

/// In a file, because a task's text may be longer than an argument. Made anew: under this name an assistant could have
/// put a link to somewhere else.
fn write_aside(place: &Place, name: &str, content: &[u8]) -> Result<PathBuf, GitError> {
    let path = place.git_dir.join(name);
    let _ = fs::remove_file(&path);
    fs::File::create_new(&path)
        .and_then(|mut file| file.write_all(content))
        .map_err(|error| {
            let said = format!("could not write {}: {error}", path.display());
            if speaks_of_shortage(&said) {
                return GitError::Shortage(said);
            }
            GitError::Failed {
                what: "commit".to_owned(),
                said,
            }
        })?;
    Ok(path)
}

pub async fn push(
    git: &GitCli,
    change: &BranchChange,
    commit: &CommitId,
) -> Result<bool, GitError> {
    let place = place::of_attempt(git, change, &git.config.directory).await?;
    let settings = trust::check(git, &place).await?;
    if !git.config.push {
        return Ok(false);
    }
    trust::check_route(git, &settings, change)?;
    if !settings.has_remote(&git.config.remote) {
        return Ok(false);
    }
    let name = change.created.full();
    let mut args = ["push", "-q", "--no-verify"].map(str::to_owned).to_vec();
    let refspec = if tip(git, &place, &name).await?.as_ref() == Some(commit) {
        args.push("-u".to_owned());
        format!("{name}:{name}")
    } else {
        // Somebody has gone on there while the work waited. What they did is theirs to publish.
        format!("{commit}:{name}")
    };
    args.extend([git.config.remote.clone(), refspec]);
    let call = Call::at(git, &place).over_the_network();
    let finished = call.try_run(args).await?;
    if finished.success() {
        return Ok(true);
    }
    if is_refused(&finished) {
        return Err(GitError::Rejected {
            branch: change.created.clone(),
            said: finished.last_words(),
        });
    }
    // Whatever else it is, the work has no part in it.
    Err(
        match super::call::meaning_of("push".to_owned(), &finished) {
            GitError::Failed { said, .. } => GitError::NotPushed(said),
            error => error,
        },
    )
}

/// By the remote's rules or because it has other commits there: neither passes by itself.
fn is_refused(finished: &Finished) -> bool {
    let said = String::from_utf8_lossy(&finished.stderr);
    said.contains("[rejected]") || said.contains("[remote rejected]")
}

pub async fn settle(git: &GitCli, change: &BranchChange) -> Result<(), GitError> {
    let Isolation::Worktree(folder) = &git.config.isolation else {
        let place = place::of_attempt(git, change, &change.directory).await?;
        return nothing_left(git, &place, change).await;
    };
    let tree = own_tree(folder, &change.created);
    let main = place::of_attempt(git, change, &git.config.directory).await?;
    if tree.exists() {
        let place = place::of_attempt(git, change, &change.directory).await?;
        nothing_left(git, &place, change).await?;
        remove_tree(git, &main, &tree).await?;
    }
    let end = change.created.full();
    Call::at(git, &main)
        .run(["symbolic-ref", CHAIN, &end])
        .await?;
    Ok(())
}

/// On another branch nothing is the task's: somebody has gone on while its work waited for the remote.
async fn nothing_left(git: &GitCli, place: &Place, change: &BranchChange) -> Result<(), GitError> {
    let now = status::read(git, place).await?;
    if now.changed.is_empty() || is_on(&now, change).is_err() {
        Ok(())
    } else {
        Err(GitError::StillDirty(now.shown()))
    }
}

/// Takes a tree out of the way before it is removed: a removal that is cut short, or that cannot remove everything (files of
/// somebody else's, a read-only cache), must not look like a tree in which there is work.
pub async fn remove_tree(git: &GitCli, main: &Place, tree: &Path) -> Result<(), GitError> {
    let gone = gone(tree);
    if tree.exists() {
        let named = tree.to_string_lossy();
        // Whoever has locked it has done so in vain.
        Call::at(git, main)
            .try_run(["worktree", "unlock", &*named])
            .await?;
        remove(gone.clone()).await;
        fs::rename(tree, &gone).map_err(|error| GitError::Failed {
            what: "worktree remove".to_owned(),
            said: format!("{} cannot be moved: {error}", tree.display()),
        })?;
    }
    Call::at(git, main).run(["worktree", "prune"]).await?;
    remove(gone).await;
    Ok(())
}

/// Beside the tree. Its name is not taken apart: a branch's prefix can have points.
fn gone(tree: &Path) -> PathBuf {
    let mut name = tree.as_os_str().to_owned();
    name.push(GONE);
    PathBuf::from(name)
}

/// What is left of it is tried again with the next tree of the same name.
async fn remove(gone: PathBuf) {
    let removed = tokio::task::spawn_blocking(move || match fs::remove_dir_all(&gone) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(folder = %gone.display(), %error, "a task's work tree cannot be removed");
        }
        _ => {}
    });
    let _ = removed.await;
}

/// The commit at the end of a ref; `None` when there is no such ref.
pub async fn tip(git: &GitCli, place: &Place, full: &str) -> Result<Option<CommitId>, GitError> {
    let wanted = format!("{full}^{{commit}}");
    let args = ["rev-parse", "--verify", "-q", "--end-of-options", &wanted];
    let found = Call::at(git, place).reading().try_run(args).await?;
    Ok(found.success().then(|| CommitId::new(found.stdout_text())))
}

pub async fn is_ancestor(
    git: &GitCli,
    place: &Place,
    older: &str,
    newer: &str,
) -> Result<bool, GitError> {
    let asked = Call::at(git, place).reading();
    let args = ["merge-base", "--is-ancestor", older, newer];
    Ok(asked.try_run(args).await?.success())
}
