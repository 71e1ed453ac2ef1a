//! Undoing an attempt, however far it came. The order is proved: throw changes away, then go back, then delete the
//! branch; the other way round git refuses. Ignored files stay (`node_modules`, `.env`).
//!
//! Before anything is thrown away it is kept: uncommitted changes and commits of the attempt stay under
//! `refs/orchestrator/left/<branch>`, what comes later under `<branch>-2` and so on; the oldest goes when there are nine, or a
//! hundred of all branches. So even somebody who came to work in the directory after a crash loses nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orchestrator_actors::domain::task::{BranchChange, CommitId};
use orchestrator_actors::ports::git::{GitError, Undo};

use super::call::Call;
use super::changes::{add, identity, is_ancestor, own_tree, remove_tree, tip};
use super::place::{self, Place};
use super::status::{self, Status};
use super::{GitCli, Identity, Isolation, trust};

/// Things that are kept of one branch.
const MOST_KEPT: usize = 9;
/// Things that are kept of a repository: the newest, by the date of their commits.
pub const MOST_KEPT_IN_ALL: usize = 100;

/// Somebody waits for the end of the task, and nothing but a word at a remote depends on it.
const TAKE_BACK: Duration = Duration::from_secs(20);

/// Below the git directory: repositories that attempts have made.
const ASIDE: &str = "orchestrator-left";

const KEPT: &str = "refs/orchestrator/left";

fn kept_name(branch: &str, number: usize) -> String {
    match number {
        1 => format!("{KEPT}/{branch}"),
        number => format!("{KEPT}/{branch}-{number}"),
    }
}

/// Commits what is kept; nobody's in particular.
fn keeper() -> Identity {
    Identity {
        name: "orchestrator".to_owned(),
        email: "orchestrator@localhost".to_owned(),
    }
}

pub async fn clean_up(git: &GitCli, undo: &Undo) -> Result<Option<String>, GitError> {
    let change = &undo.change;
    let main = place::of_attempt(git, change, &git.config.directory).await?;
    let left = if let Isolation::Worktree(folder) = &git.config.isolation {
        let tree = own_tree(folder, &change.created);
        let left = keep_tree(git, change, &tree).await?;
        remove_tree(git, &main, &tree).await?;
        left
    } else {
        let at = Workshop::open(git, main.clone(), change).await?;
        at.go_back(undo.after_restart).await?
    };
    let at = Workshop::open(git, main, change).await?;
    let committed = at.delete_branch().await?;
    Ok(left.or(committed))
}

/// A tree that is there and cannot be read as the task's is left for a person to look at.
async fn keep_tree(
    git: &GitCli,
    change: &BranchChange,
    tree: &Path,
) -> Result<Option<String>, GitError> {
    if !tree.exists() {
        return Ok(None);
    }
    match place::of_attempt(git, change, tree).await {
        Ok(own) => {
            let at = Workshop::open(git, own, change).await?;
            let now = at.status().await?;
            let kept = at.keep(&now).await?;
            Ok(named(kept, at.move_aside(&now)?.as_deref()))
        }
        Err(GitError::NotARepository(_) | GitError::Elsewhere { .. } | GitError::Untrusted(_)) => {
            Err(GitError::NotKept(vec![tree.display().to_string()]))
        }
        Err(error) => Err(error),
    }
}

pub async fn take_back(
    git: &GitCli,
    change: &BranchChange,
    commit: &CommitId,
) -> Result<(), GitError> {
    let place = place::of_attempt(git, change, &git.config.directory).await?;
    let settings = trust::Settings::read(git, &place).await?;
    trust::check_route(git, &settings, change)?;
    if !settings.has_remote(&git.config.remote) {
        return Ok(());
    }
    Workshop::open(git, place, change)
        .await?
        .delete_at_remote(commit)
        .await
}

/// Where what was cleared away is, for people. Whoever moved something has changed the tree, so something is kept.
fn named(kept: Option<String>, moved: Option<&Path>) -> Option<String> {
    let Some(folder) = moved else { return kept };
    kept.map(|kept| {
        format!(
            "{kept}; the repositories inside are in {}",
            folder.display()
        )
    })
}

/// A work tree in which nothing of the repository's own choice is run.
struct Workshop<'a> {
    git: &'a GitCli,
    place: Place,
    change: &'a BranchChange,
    disarmed: Vec<String>,
}

impl<'a> Workshop<'a> {
    async fn open(
        git: &'a GitCli,
        place: Place,
        change: &'a BranchChange,
    ) -> Result<Self, GitError> {
        let disarmed = trust::disarmed(git, &place).await?;
        Ok(Self {
            git,
            place,
            change,
            disarmed,
        })
    }

    fn call(&self) -> Call<'_> {
        Call::at(self.git, &self.place).with(self.disarmed.iter().cloned())
    }

    async fn status(&self) -> Result<Status, GitError> {
        status::read_by(self.call()).await
    }

    /// Only what stands on the task's own branch is certainly the task's, and cleared away. Every other branch is somebody's,
    /// the one before not less: who switched there, a person or the assistant, cannot be told. Gives where the rest is kept.
    async fn go_back(&self, after_restart: bool) -> Result<Option<String>, GitError> {
        let now = self.status().await?;
        let previous = self.change.previous.as_str();
        let on = now.branch.as_deref();
        if on == Some(self.change.created.as_str()) {
            return self.clear(&now, after_restart).await;
        }
        let untouched =
            now.changed.is_empty() && now.commit.as_deref() == Some(self.change.base.as_str());
        // After a restart nothing of the task is expected there: the branch was not made yet, or was left already.
        if on == Some(previous) && (untouched || after_restart) {
            return Ok(None);
        }
        // What the attempt may have brought there is kept once, when it is found; later looks find what somebody works on.
        let kept = if after_restart {
            None
        } else {
            self.keep(&now).await?
        };
        Err(GitError::Moved {
            expected: self.change.created.clone(),
            found: on.unwrap_or("no branch").to_owned(),
            kept,
        })
    }

    async fn clear(&self, now: &Status, after_restart: bool) -> Result<Option<String>, GitError> {
        let kept = self.keep(now).await?;
        // A repository inside this one has a history that no ref of ours can hold. It is moved only when it is certainly the
        // task's, and never removed.
        let moved = if after_restart {
            None
        } else {
            self.move_aside(now)?
        };
        self.call().run(["reset", "-q", "--hard"]).await?;
        self.call().run(["clean", "-fdq"]).await?;
        let kept = named(kept, moved.as_deref());
        let previous = self.change.previous.as_str();
        let back = ["switch", "-q", "--no-guess", "--discard-changes", previous];
        self.call().run(back).await?;
        Ok(kept)
    }

    /// Into a folder of the attempt's own beside the repository's objects. `None`: there were none.
    fn move_aside(&self, now: &Status) -> Result<Option<PathBuf>, GitError> {
        let inside = now.repositories();
        if inside.is_empty() {
            return Ok(None);
        }
        let name = self.change.created.as_str().replace('/', "-");
        let all = self.place.common_dir.join(ASIDE);
        let mut number = 1;
        let folder = loop {
            let folder = all.join(format!("{name}-{number}"));
            if !folder.exists() {
                break folder;
            }
            number += 1;
        };
        for path in inside {
            let (from, to) = (self.place.work_tree.join(&path), folder.join(&path));
            let moved = to
                .parent()
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::rename(&from, &to));
            moved.map_err(|_| GitError::NotKept(vec![from.display().to_string()]))?;
        }
        Ok(Some(folder))
    }

    /// Keeps the tree as it is, and with it the commits below it, when the attempt has made any of it. Under which name.
    async fn keep(&self, now: &Status) -> Result<Option<String>, GitError> {
        let Some(head) = now.commit.as_deref() else {
            return Ok(None);
        };
        let kept = if now.changed.is_empty() {
            head.to_owned()
        } else {
            self.commit_aside(now, head).await?
        };
        if kept == self.change.base.as_str() {
            return Ok(None);
        }
        self.keep_commit(&kept).await.map(Some)
    }

    /// Under a ref of its own, unless one that is kept already has it or goes before it.
    async fn keep_commit(&self, commit: &str) -> Result<String, GitError> {
        let mut kept: Vec<(String, CommitId)> = Vec::new();
        for number in 1..=MOST_KEPT {
            let name = kept_name(self.change.created.as_str(), number);
            let Some(end) = tip(self.git, &self.place, &name).await? else {
                self.update_ref(&name, commit).await?;
                self.drop_the_oldest().await?;
                return Ok(name);
            };
            if is_ancestor(self.git, &self.place, commit, end.as_str()).await? {
                return Ok(name);
            }
            if is_ancestor(self.git, &self.place, end.as_str(), commit).await? {
                self.update_ref(&name, commit).await?;
                return Ok(name);
            }
            kept.push((name, end));
        }
        for pair in kept.windows(2) {
            self.update_ref(&pair[0].0, pair[1].1.as_str()).await?;
        }
        let last = kept_name(self.change.created.as_str(), MOST_KEPT);
        self.update_ref(&last, commit).await?;
        Ok(last)
    }

    /// What is kept of all branches has a bound, too.
    async fn drop_the_oldest(&self) -> Result<(), GitError> {
        let asked = [
            "for-each-ref",
            "--sort=-committerdate",
            "--format=%(refname)",
            KEPT,
        ];
        let listed = self.call().reading().run(asked).await?;
        for name in listed.stdout_text().lines().skip(MOST_KEPT_IN_ALL) {
            self.call().run(["update-ref", "-d", name]).await?;
        }
        Ok(())
    }

    async fn update_ref(&self, name: &str, commit: &str) -> Result<(), GitError> {
        self.call().run(["update-ref", name, commit]).await?;
        Ok(())
    }

    /// A commit of everything that is not ignored, made with an index of its own, on no branch.
    async fn commit_aside(&self, now: &Status, head: &str) -> Result<String, GitError> {
        let index = self.place.git_dir.join("orchestrator-index");
        let _ = fs::remove_file(&index);
        // Nobody else uses it; what a power cut has left would stay for ever.
        let _ = fs::remove_file(index.with_extension("lock"));
        let _ = fs::copy(self.place.git_dir.join("index"), &index);
        let made = async {
            let aside = || self.call().env("GIT_INDEX_FILE", &index);
            // Something that cannot be added must not keep the rest from being kept.
            if let Err(error) = add(aside, &self.place, now.clone(), &["--ignore-errors"]).await {
                if error.passes_by_itself() {
                    return Err(error);
                }
                let lacking = status::read_by(aside()).await?.not_added();
                if !lacking.is_empty() {
                    return Err(GitError::NotKept(lacking));
                }
            }
            let tree = aside().run(["write-tree"]).await?.stdout_text();
            let mut settings = identity(self.git);
            let who = keeper();
            settings.push(format!("user.name={}", who.name));
            settings.push(format!("user.email={}", who.email));
            let message = format!("What a failed attempt left on {}", self.change.created);
            let args = ["commit-tree", &tree, "-p", head, "-m", &message];
            let made = aside().with(settings).run(args).await?;
            Ok::<_, GitError>(made.stdout_text())
        };
        let made = made.await;
        let _ = fs::remove_file(&index);
        made
    }

    /// Deletes the task's branch; what it has is kept, under the name that is given.
    async fn delete_branch(&self) -> Result<Option<String>, GitError> {
        let name = self.change.created.full();
        let Some(end) = tip(self.git, &self.place, &name).await? else {
            return Ok(None);
        };
        let base = self.change.base.as_str();
        let mut kept = None;
        if end != self.change.base && is_ancestor(self.git, &self.place, base, end.as_str()).await?
        {
            kept = Some(self.keep_commit(end.as_str()).await?);
        }
        let short = self.change.created.as_str();
        self.call().run(["branch", "-q", "-D", "--", short]).await?;
        Ok(kept)
    }

    /// Only what is exactly ours is deleted.
    async fn delete_at_remote(&self, commit: &CommitId) -> Result<(), GitError> {
        let (remote, name) = (&self.git.config.remote, self.change.created.full());
        let listed = self
            .call()
            .over_the_network()
            .within(TAKE_BACK)
            .run(["ls-remote", remote, &name])
            .await?;
        if listed.stdout_text().split_whitespace().next() != Some(commit.as_str()) {
            return Ok(());
        }
        let lease = format!("--force-with-lease={name}:{commit}");
        let nothing = format!(":{name}");
        self.call()
            .over_the_network()
            .within(TAKE_BACK)
            .run(["push", "-q", "--no-verify", &lease, remote, &nothing])
            .await?;
        Ok(())
    }
}
