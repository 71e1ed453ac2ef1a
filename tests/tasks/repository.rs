//! A repository with a bare remote, in a temporary folder with a HOME of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use orchestrator::adapters::git::{GitCli, GitConfig, Identity, Isolation, Limits};
use orchestrator_actors::domain::task::{BranchChange, BranchName, CommitId};
use orchestrator_actors::ports::git::{Git, GitError, Undo};

pub fn orchestrator() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_orchestrator"))
}

pub struct Repository {
    pub folder: tempfile::TempDir,
    pub path: PathBuf,
}

impl Repository {
    /// One commit on `main`, pushed to a bare remote.
    pub fn new() -> Self {
        let repository = Self::alone();
        repository.git(&["init", "-q", "--bare", "-b", "main", "../remote.git"]);
        repository.git(&["remote", "add", "origin", "../remote.git"]);
        repository.git(&["push", "-q", "-u", "origin", "main"]);
        repository
    }

    /// Without a remote.
    pub fn alone() -> Self {
        let repository = Self::empty();
        repository.write("README.md", "# shop\n");
        repository.write(".gitignore", "ignored/\n.env\n");
        repository.git(&["add", "-A"]);
        repository.git(&["commit", "-q", "-m", "first"]);
        repository
    }

    /// Without a commit.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("work");
        fs::create_dir_all(&path).unwrap();
        fs::create_dir_all(folder.path().join("home")).unwrap();
        let repository = Self { folder, path };
        repository.git(&["init", "-q", "-b", "main"]);
        repository
    }

    pub fn environment(&self) -> BTreeMap<String, String> {
        let home = self.folder.path().join("home").display().to_string();
        BTreeMap::from([
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("HOME".to_owned(), home),
            ("ACME_API_KEY".to_owned(), "a-key-of-a-provider".to_owned()),
            ("GIT_DIR".to_owned(), "/nowhere".to_owned()),
        ])
    }

    pub fn config(&self) -> GitConfig {
        let mut config = GitConfig::new(
            &self.path,
            self.environment(),
            orchestrator(),
            self.folder.path().join("session-git.lock"),
        );
        config.identity = Some(Identity {
            name: "Task Bot".to_owned(),
            email: "bot@example.com".to_owned(),
        });
        config.limits = Limits {
            local: Duration::from_mins(1),
            remote: Duration::from_mins(1),
        };
        config
    }

    pub fn cli(&self) -> GitCli {
        GitCli::new(self.config())
    }

    pub fn with_trees(&self) -> GitCli {
        let mut config = self.config();
        config.isolation =
            Isolation::Worktree(self.folder.path().canonicalize().unwrap().join("trees"));
        GitCli::new(config)
    }

    pub fn write(&self, name: &str, text: &str) {
        put(&self.path.join(name), text);
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap()
    }

    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// The user's own git. Panics when it fails.
    pub fn git(&self, args: &[&str]) -> String {
        self.try_git(&self.path, args).unwrap()
    }

    pub fn remote(&self, args: &[&str]) -> String {
        let remote = self.folder.path().join("remote.git");
        self.try_git(&remote, args).unwrap()
    }

    pub fn try_git(&self, directory: &Path, args: &[&str]) -> Result<String, String> {
        let output = Command::new("git")
            .args(["-c", "user.name=User", "-c", "user.email=user@example.com"])
            .args(["-c", "protocol.file.allow=always"])
            .args(args)
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", self.folder.path().join("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(format!("git {args:?}: {}", text(&output.stderr)))
        }
    }

    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn branch(&self) -> String {
        self.git(&["symbolic-ref", "--short", "HEAD"])
    }

    pub fn branches(&self) -> Vec<String> {
        let listed = self.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
        listed.lines().map(str::to_owned).collect()
    }

    pub fn remote_branches(&self) -> Vec<String> {
        let listed = self.remote(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
        listed.lines().map(str::to_owned).collect()
    }

    pub fn is_ancestor(&self, older: &str, newer: &str) -> bool {
        self.try_git(&self.path, &["merge-base", "--is-ancestor", older, newer])
            .is_ok()
    }

    /// The tree and the branches are as a task must leave them when it fails.
    pub fn is_as_before(&self, branch: &str, commit: &str) {
        assert_eq!(self.branch(), branch);
        assert_eq!(self.head(), commit);
        assert_eq!(self.git(&["status", "--porcelain"]), "");
        let others = self.branches().into_iter().filter(|name| name != branch);
        assert_eq!(others.collect::<Vec<_>>(), Vec::<String>::new());
    }
}

pub fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub fn name_of(task: &str) -> BranchName {
    BranchName::of_task("", task).unwrap()
}

/// Goes onto a task's branch.
pub async fn begin(git: &GitCli, task: &str) -> Result<BranchChange, GitError> {
    let change = git.prepare(name_of(task)).await?;
    git.branch(change.clone()).await?;
    Ok(change)
}

/// Brings a task's branch to its end.
pub async fn complete(
    git: &GitCli,
    change: &BranchChange,
    message: &str,
) -> Result<CommitId, GitError> {
    let commit = git.commit(change.clone(), message.to_owned()).await?;
    git.push(change.clone()).await?;
    git.settle(change.clone()).await?;
    Ok(commit)
}

pub fn undo(change: &BranchChange) -> Undo {
    Undo {
        change: change.clone(),
        after_restart: false,
    }
}
