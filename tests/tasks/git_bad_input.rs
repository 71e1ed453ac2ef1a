//! Repositories in which a task cannot begin, or cannot end: each has its error, and nothing of the user's is touched.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use orchestrator::adapters::git::{GitCli, GitConfig, Identity, Isolation};
use orchestrator_actors::domain::task::{Class, Failure};
use orchestrator_actors::ports::git::{Git, GitError};
use orchestrator_test_support::eventually;

use crate::repository::{Repository, begin, name_of, put, undo};

async fn refused(repository: &Repository) -> String {
    let error = repository.cli().is_clean().await.unwrap_err();
    assert!(error.stops_the_loop(), "{error:?}");
    assert_eq!(Failure::from(error.clone()).class, Class::Repository);
    error.to_string()
}

#[tokio::test]
async fn no_repository_no_directory_and_no_git() {
    let repository = Repository::new();
    let mut config = repository.config();
    config.directory = repository.folder.path().join("home");
    let error = GitCli::new(config.clone()).is_clean().await.unwrap_err();
    assert!(
        error.to_string().contains("is not in a git repository"),
        "{error}"
    );
    config.directory = "/nowhere/at/all".into();
    let error = GitCli::new(config.clone()).is_clean().await.unwrap_err();
    assert!(matches!(error, GitError::NotARepository(_)));
    config = repository.config();
    config
        .environment
        .insert("PATH".to_owned(), "bin:.:".to_owned());
    assert_eq!(GitCli::new(config).is_clean().await, Err(GitError::Missing));
}

#[tokio::test]
async fn a_git_that_is_installed_later_is_found() {
    let repository = Repository::new();
    let mut config = repository.config();
    let folder = repository.folder.path().canonicalize().unwrap();
    let bin = folder.join("later/bin");
    config
        .environment
        .insert("PATH".to_owned(), bin.display().to_string());
    let git = GitCli::new(config);
    assert_eq!(git.is_clean().await, Err(GitError::Missing));
    let path = std::env::var_os("PATH").unwrap();
    let installed = std::env::split_paths(&path)
        .map(|folder| folder.join("git"))
        .find(|file| file.is_file());
    std::fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(installed.unwrap(), bin.join("git")).unwrap();
    assert!(git.is_clean().await.unwrap().is_clean());
}

#[tokio::test]
async fn no_commit_yet() {
    let repository = Repository::empty();
    assert!(refused(&repository).await.contains("no commit yet"));
}

#[tokio::test]
async fn a_detached_head() {
    let repository = Repository::new();
    repository.git(&["switch", "-q", "--detach"]);
    assert!(
        refused(&repository)
            .await
            .contains("no branch is checked out")
    );
    let error = repository.cli().prepare(name_of("x")).await.unwrap_err();
    assert!(matches!(error, GitError::Detached(_)));
}

#[tokio::test]
async fn a_rebase_that_waits_for_its_user() {
    let repository = Repository::new();
    repository.git(&["switch", "-q", "-c", "topic"]);
    repository.write("README.md", "topic\n");
    repository.git(&["commit", "-q", "-am", "topic"]);
    repository.git(&["switch", "-q", "main"]);
    repository.write("README.md", "main\n");
    repository.git(&["commit", "-q", "-am", "main"]);
    repository.git(&["switch", "-q", "topic"]);
    assert!(
        repository
            .try_git(&repository.path, &["rebase", "main"])
            .is_err()
    );
    assert!(refused(&repository).await.contains("a rebase is under way"));
}

#[tokio::test]
async fn a_dirty_tree_is_named_and_left_alone() {
    let repository = Repository::new();
    repository.write("README.md", "the user's\n");
    repository.write("sub dir/new.txt", "the user's");
    let found = repository.cli().is_clean().await.unwrap();
    assert!(!found.is_clean());
    let said = found.obstacle().unwrap();
    assert!(said.contains("README.md, sub dir/new.txt"), "{said}");
    assert_eq!(repository.read("README.md"), "the user's\n");
    // What is ignored is in nobody's way.
    repository.git(&["checkout", "-q", "--", "."]);
    std::fs::remove_dir_all(repository.path.join("sub dir")).unwrap();
    repository.write(".env", "KEY=1");
    assert!(repository.cli().is_clean().await.unwrap().is_clean());
}

#[tokio::test]
async fn commits_that_are_not_pushed_are_told() {
    let repository = Repository::new();
    repository.write("a.txt", "a");
    repository.git(&["add", "-A"]);
    repository.git(&["commit", "-q", "-m", "the user's"]);
    let found = repository.cli().is_clean().await.unwrap();
    assert_eq!((found.ahead, found.behind, found.is_clean()), (1, 0, false));
    assert!(found.obstacle().unwrap().contains("push it first"));
    let mut config = repository.config();
    config.in_sync = false;
    assert!(GitCli::new(config).is_clean().await.unwrap().is_clean());
}

#[tokio::test]
async fn nobody_to_name_in_a_commit_is_told_before_anything_is_done() {
    let repository = Repository::new();
    let mut config = repository.config();
    config.identity = None;
    let home = repository.folder.path().join("home/.gitconfig");
    let check = async |config: &GitConfig| GitCli::new(config.clone()).is_clean().await;
    let error = check(&config).await.unwrap_err();
    assert_eq!(error, GitError::NoIdentity);
    assert!(error.stops_the_loop() && error.to_string().contains("set `git.user`"));
    // Half of it is not enough: git must not guess the rest.
    put(&home, "[user]\n name = Ada\n");
    assert_eq!(check(&config).await, Err(GitError::NoIdentity));
    put(&home, "[user]\n name = Ada\n email = ada@example.com\n");
    assert!(check(&config).await.unwrap().is_clean());
    // As the commit will be made: without the user's own configuration.
    config.isolation = Isolation::Config;
    assert_eq!(check(&config).await, Err(GitError::NoIdentity));
    repository.git(&["config", "user.name", "Ada"]);
    repository.git(&["config", "user.email", "ada@example.com"]);
    assert!(check(&config).await.unwrap().is_clean());
    config.identity = Some(Identity {
        name: String::new(),
        email: "a@b.c".to_owned(),
    });
    assert_eq!(check(&config).await, Err(GitError::NoIdentity));
}

#[tokio::test]
async fn the_same_task_twice_is_an_error_and_no_second_branch() {
    let repository = Repository::new();
    let git = repository.cli();
    repository.git(&["branch", "1282544961935709"]);
    let error = begin(&git, "implement login").await.unwrap_err();
    assert!(error.to_string().contains("the same task was done before"));
    assert_eq!(Failure::from(error).class, Class::BranchExists);
    assert_eq!(repository.branches(), ["1282544961935709", "main"]);
    assert_eq!(repository.branch(), "main");
}

#[tokio::test]
async fn a_push_that_the_remote_refuses_is_undone_here() {
    let repository = Repository::new();
    let git = repository.cli();
    let before = repository.head();
    let hook = repository
        .folder
        .path()
        .join("remote.git/hooks/pre-receive");
    put(&hook, "#!/bin/sh\necho 'not on a friday' >&2\nexit 1\n");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let change = begin(&git, "x").await.unwrap();
    repository.write("a.txt", "a");
    let commit = git.commit(change.clone(), "x".to_owned()).await.unwrap();
    let error = git.push(change.clone(), commit.clone()).await.unwrap_err();
    assert!(error.to_string().contains("not on a friday"), "{error}");
    assert!(!error.passes_by_itself());
    assert_eq!(Failure::from(error).class, Class::PushRejected);
    git.clean_up(undo(&change)).await.unwrap();
    git.take_back(change, commit).await.unwrap();
    repository.is_as_before("main", &before);
}

#[tokio::test]
async fn somebody_elses_branch_on_the_remote_is_never_touched() {
    let repository = Repository::new();
    let git = repository.cli();
    let change = begin(&git, "x").await.unwrap();
    repository.write("a.txt", "a");
    let commit = git.commit(change.clone(), "x".to_owned()).await.unwrap();
    // Meanwhile another machine has done the same task.
    let theirs = repository.git(&["commit-tree", "HEAD^{tree}", "-p", "main", "-m", "theirs"]);
    repository.git(&[
        "push",
        "-q",
        "origin",
        &format!("{theirs}:{}", change.created.full()),
    ]);
    let error = git.push(change.clone(), commit.clone()).await.unwrap_err();
    assert!(matches!(error, GitError::Rejected { .. }), "{error:?}");
    git.clean_up(undo(&change)).await.unwrap();
    git.take_back(change.clone(), commit.clone()).await.unwrap();
    assert_eq!(
        repository.remote(&["rev-parse", &change.created.full()]),
        theirs
    );
    // What is exactly ours goes.
    repository.git(&[
        "push",
        "-q",
        "-f",
        "origin",
        &format!("{commit}:{}", change.created.full()),
    ]);
    git.take_back(change, commit).await.unwrap();
    assert_eq!(repository.remote_branches(), ["main"]);
}

#[tokio::test]
async fn a_remote_that_is_away_may_come_back() {
    let repository = Repository::new();
    let git = repository.cli();
    let change = begin(&git, "x").await.unwrap();
    repository.write("a.txt", "a");
    let commit = git.commit(change.clone(), "x".to_owned()).await.unwrap();
    let remote = repository.folder.path().join("remote.git");
    let away = repository.folder.path().join("away.git");
    std::fs::rename(&remote, &away).unwrap();
    let error = git.push(change.clone(), commit.clone()).await.unwrap_err();
    assert!(
        error.passes_by_itself() && error.stops_the_loop(),
        "{error:?}"
    );
    std::fs::rename(&away, &remote).unwrap();
    assert!(git.push(change, commit).await.unwrap());
}

#[tokio::test]
async fn whoever_went_on_elsewhere_while_the_work_waited_for_its_remote_keeps_nothing_from_ending()
{
    let repository = Repository::new();
    let git = repository.cli();
    let change = begin(&git, "x").await.unwrap();
    repository.write("a.txt", "a");
    let commit = git.commit(change.clone(), "x".to_owned()).await.unwrap();
    repository.git(&["switch", "-q", "main"]);
    repository.write("mine.txt", "mine");
    assert!(git.push(change.clone(), commit.clone()).await.unwrap());
    git.settle(change).await.unwrap();
    assert_eq!(repository.read("mine.txt"), "mine");
    assert_eq!(repository.branch(), "main");
}

#[tokio::test]
async fn a_stale_lock_is_named_and_never_deleted() {
    let repository = Repository::new();
    let git = repository.cli();
    let lock = repository.path.join(".git/index.lock");
    put(&lock, "");
    assert!(
        git.is_clean().await.unwrap().is_clean(),
        "reading needs no lock"
    );
    let error = begin(&git, "x").await.unwrap_err();
    assert!(error.to_string().contains("index.lock"), "{error}");
    assert!(error.passes_by_itself() && error.stops_the_loop());
    assert!(lock.exists());
    std::fs::remove_file(lock).unwrap();
    assert_eq!(repository.branches(), ["main"]);
    begin(&git, "x").await.unwrap();
}

#[tokio::test]
async fn a_submodule_is_neither_committed_into_nor_undone() {
    let repository = Repository::new();
    let library = Repository::alone();
    let url = library.path.display().to_string();
    repository.git(&["submodule", "--quiet", "add", &url, "lib"]);
    repository.git(&["commit", "-q", "-m", "with a library"]);
    repository.git(&["push", "-q"]);
    let git = repository.cli();
    let before = repository.head();
    assert!(git.is_clean().await.unwrap().is_clean());
    let change = begin(&git, "x").await.unwrap();
    repository.write("lib/README.md", "changed inside");
    assert!(!git.evidence(change.clone()).await.unwrap().is_work());
    repository.write("a.txt", "a");
    git.clean_up(undo(&change)).await.unwrap();
    assert_eq!(repository.read("lib/README.md"), "changed inside");
    assert_eq!(
        (repository.branch(), repository.head()),
        ("main".to_owned(), before)
    );
    assert!(!repository.has("a.txt"));
}

#[tokio::test]
async fn what_cannot_be_kept_aside_is_not_cleared_away() {
    let repository = Repository::new();
    let git = repository.cli();
    let change = begin(&git, "x").await.unwrap();
    repository.write("a.txt", "a");
    repository.write("odd.txt", "odd");
    // Git refuses the file: its filter, which the user has and requires, fails.
    let global = "[filter \"never\"]\n clean = false\n required = true\n";
    put(&repository.folder.path().join("home/.gitconfig"), global);
    repository.write(".gitattributes", "odd.txt filter=never\n");
    let error = git.clean_up(undo(&change)).await.unwrap_err();
    assert!(
        matches!(&error, GitError::NotKept(files) if files.contains(&"odd.txt".to_owned())),
        "{error:?}"
    );
    assert!(error.stops_the_loop());
    assert_eq!(repository.read("odd.txt"), "odd");
    assert_eq!(repository.read("a.txt"), "a");
    std::fs::remove_file(repository.path.join("odd.txt")).unwrap();
    git.clean_up(undo(&change)).await.unwrap();
    assert_eq!(repository.branch(), "main");
    assert!(!repository.has("a.txt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn git_that_hangs_is_ended_with_all_it_has_started() {
    let repository = Repository::new();
    let mut config = repository.config();
    let bin = repository.folder.path().join("bin");
    put(
        &bin.join("git"),
        "#!/bin/sh\nsetsid sleep 4711 &\nexec sleep 4712\n",
    );
    std::fs::set_permissions(bin.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), config.environment["PATH"]);
    config.environment.insert("PATH".to_owned(), path);
    config.limits.local = Duration::from_millis(300);
    let home = config.environment["HOME"].clone();
    let error = GitCli::new(config.clone()).is_clean().await.unwrap_err();
    assert!(matches!(error, GitError::TimedOut { .. }), "{error:?}");
    assert_eq!(carrying(&home), 0);
    // The same when nobody waits for it any more.
    config.limits.local = Duration::from_mins(1);
    let call = GitCli::new(config).is_clean();
    let waiting = tokio::spawn(call);
    tokio::task::block_in_place(|| eventually("git hangs", || carrying(&home) == 2));
    waiting.abort();
    tokio::task::block_in_place(|| eventually("nothing is left", || carrying(&home) == 0));
}

#[tokio::test]
async fn a_git_that_is_still_being_ended_is_waited_for() {
    let repository = Repository::new();
    let mut config = repository.config();
    let bin = repository.folder.path().join("bin");
    // It holds the index for as long as it lives, and takes its time to go.
    put(
        &bin.join("git"),
        "#!/bin/sh\nlock=.git/index.lock\ntrap 'sleep 0.2; rm -f $lock; exit 1' TERM\n: > $lock\nwhile :; do sleep 0.05; done\n",
    );
    std::fs::set_permissions(bin.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), config.environment["PATH"]);
    config.environment.insert("PATH".to_owned(), path);
    let slow = GitCli::new(config).is_clean();
    let _ = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! {
            _ = slow => {}
            () = async {
                while !repository.has(".git/index.lock") {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            } => {}
        }
    })
    .await;
    assert!(
        repository.has(".git/index.lock"),
        "it is at work when it is dropped"
    );
    begin(&repository.cli(), "x").await.unwrap();
}

/// Processes with this HOME.
fn carrying(home: &str) -> usize {
    let wanted = format!("HOME={home}");
    let has = |entry: &std::fs::DirEntry| {
        std::fs::read(entry.path().join("environ")).is_ok_and(|environ| {
            environ
                .split(|byte| *byte == 0)
                .any(|one| one == wanted.as_bytes())
        })
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(has)
        .count()
}
