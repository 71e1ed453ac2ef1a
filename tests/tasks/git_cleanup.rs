//! Undoing an attempt: whatever it did, the tree and the branches are as they were, and what it had is kept aside.

use std::path::PathBuf;

use orchestrator::adapters::git::GitCli;
use orchestrator_actors::ports::git::{Git, GitError};

use crate::repository::{Repository, begin, put, undo};

#[tokio::test]
async fn conflicting_dirt_and_commits_are_undone_and_kept_aside() {
    let repository = Repository::new();
    let git = repository.cli();
    let before = repository.head();
    let change = begin(&git, "x").await.unwrap();
    repository.write("README.md", "committed\n");
    repository.git(&["commit", "-q", "-am", "half"]);
    repository.write("README.md", "and changed again\n");
    repository.write("new/file.txt", "new");
    repository.write(".env", "KEY=1");
    repository.git(&["init", "-q", "nested"]);
    git.clean_up(undo(&change)).await.unwrap();
    repository.is_as_before("main", &before);
    assert!(repository.has(".env"), "ignored files stay");
    assert!(!repository.has("nested") && !repository.has("new"));
    let left = format!("refs/orchestrator/left/{}", change.created);
    assert_eq!(
        repository.git(&["show", &format!("{left}:README.md")]),
        "and changed again"
    );
    assert_eq!(
        repository.git(&["show", &format!("{left}:new/file.txt")]),
        "new"
    );
    assert!(repository.is_ancestor(&before, &left));
    // Again, as after a crash in the middle of it.
    git.clean_up(undo(&change)).await.unwrap();
    repository.is_as_before("main", &before);
}

/// Who switched back, the assistant or a person, cannot be told: what stands on the branch before is not cleared away.
#[tokio::test]
async fn what_stands_on_the_branch_before_is_left_as_it_is_and_a_copy_kept() {
    let repository = Repository::new();
    let git = repository.cli();
    let change = begin(&git, "x").await.unwrap();
    repository.git(&["switch", "-q", "main"]);
    repository.write("README.md", "on main\n");
    repository.git(&["commit", "-q", "-am", "on main"]);
    repository.write("README.md", "dirty\n");
    repository.write("new.txt", "new");
    let at = repository.head();
    let error = git.evidence(change.clone()).await.unwrap_err();
    assert!(matches!(error, GitError::Moved { .. }), "{error:?}");
    let error = git.clean_up(undo(&change)).await.unwrap_err();
    let left = format!("refs/orchestrator/left/{}", change.created);
    assert!(
        error.stops_the_loop() && error.to_string().contains(&left),
        "{error}"
    );
    let is_there = || {
        assert_eq!(
            (repository.branch(), repository.head()),
            ("main".to_owned(), at.clone())
        );
        assert_eq!(repository.read("README.md"), "dirty\n");
        assert_eq!(repository.read("new.txt"), "new");
    };
    is_there();
    let kept = repository.git(&["show", &format!("{left}:README.md")]);
    assert_eq!(kept, "dirty");
    // The next look gives the attempt up, and changes nothing there either.
    let mut later = undo(&change);
    later.after_restart = true;
    git.clean_up(later).await.unwrap();
    is_there();
    assert_eq!(repository.branches(), ["main"]);
}

#[tokio::test]
async fn what_lies_on_two_branches_is_kept_twice_and_so_is_what_the_next_attempts_leave() {
    let repository = Repository::new();
    let git = repository.cli();
    let before = repository.head();
    let change = begin(&git, "x").await.unwrap();
    repository.write("README.md", "on the task's branch\n");
    repository.git(&["commit", "-q", "-am", "half"]);
    repository.git(&["switch", "-q", "main"]);
    repository.write("README.md", "left on main\n");
    git.clean_up(undo(&change)).await.unwrap_err();
    repository.git(&["checkout", "-q", "--", "."]);
    let second = git.clean_up(undo(&change)).await.unwrap();
    let name = |number: usize| {
        let suffix = if number == 1 {
            String::new()
        } else {
            format!("-{number}")
        };
        format!("refs/orchestrator/left/{}{suffix}", change.created)
    };
    assert_eq!(second, Some(name(2)));
    repository.is_as_before("main", &before);
    let kept = |number: usize| repository.git(&["show", &format!("{}:README.md", name(number))]);
    assert_eq!([kept(1), kept(2)], ["left on main", "on the task's branch"]);
    for attempt in 3..=10 {
        let change = begin(&git, "x").await.unwrap();
        repository.write("README.md", &format!("attempt {attempt}\n"));
        let left = git.clean_up(undo(&change)).await.unwrap();
        assert_eq!(left, Some(name(attempt.min(9))));
    }
    // Nine are kept; the oldest has gone.
    assert_eq!(kept(1), "on the task's branch");
    assert_eq!([kept(2), kept(9)], ["attempt 3", "attempt 10"]);
    let all = repository.git(&["for-each-ref", "refs/orchestrator"]);
    assert_eq!(all.lines().count(), 9);
}

#[tokio::test]
async fn an_attempt_without_a_trace_leaves_none() {
    let repository = Repository::new();
    let git = repository.cli();
    let before = repository.head();
    let change = git.prepare(crate::repository::name_of("x")).await.unwrap();
    git.clean_up(undo(&change)).await.unwrap();
    git.branch(change.clone()).await.unwrap();
    git.clean_up(undo(&change)).await.unwrap();
    repository.is_as_before("main", &before);
    assert_eq!(repository.git(&["for-each-ref", "refs/orchestrator"]), "");
}

#[tokio::test]
async fn after_a_restart_what_the_user_did_meanwhile_is_left_alone() {
    let repository = Repository::new();
    let git = repository.cli();
    let change = begin(&git, "x").await.unwrap();
    let mut later = undo(&change);
    later.after_restart = true;
    // The user went back, works on main, and has not committed.
    repository.git(&["switch", "-q", "main"]);
    repository.write("README.md", "the user's\n");
    repository.write("new.txt", "the user's");
    git.clean_up(later.clone()).await.unwrap();
    assert_eq!(repository.read("README.md"), "the user's\n");
    assert!(repository.has("new.txt"));
    assert_eq!(repository.branches(), ["main"], "the task's branch is gone");

    // The user is on a branch of another name.
    repository.git(&["add", "-A"]);
    repository.git(&["commit", "-q", "-m", "the user's"]);
    repository.git(&["push", "-q"]);
    let change = begin(&git, "y").await.unwrap();
    repository.git(&["switch", "-q", "-c", "mine"]);
    repository.write("README.md", "mine\n");
    later.change = change.clone();
    let error = git.clean_up(later).await.unwrap_err();
    assert!(matches!(error, GitError::Moved { .. }) && error.stops_the_loop());
    assert_eq!(repository.branch(), "mine");
    assert_eq!(repository.read("README.md"), "mine\n");
    assert!(repository.branches().contains(&change.created.to_string()));
}

#[tokio::test]
async fn a_branch_that_the_user_went_to_in_the_middle_of_a_run_is_left_as_it_is() {
    let repository = Repository::new();
    let git = repository.cli();
    repository.git(&["branch", "mine"]);
    let change = begin(&git, "x").await.unwrap();
    repository.write("README.md", "the task's\n");
    repository.git(&["commit", "-q", "-am", "half"]);
    repository.write("half.txt", "the task's");
    // Git takes what is uncommitted along.
    repository.git(&["switch", "-q", "mine"]);
    repository.write("mine.txt", "the user's");
    let at = repository.head();
    let error = git.clean_up(undo(&change)).await.unwrap_err();
    assert!(error.stops_the_loop());
    let said = error.to_string();
    let left = format!("refs/orchestrator/left/{}", change.created);
    assert!(
        said.contains("is on mine, not on") && said.contains(&left),
        "{said}"
    );
    assert_eq!(
        (repository.branch(), repository.head()),
        ("mine".to_owned(), at)
    );
    assert_eq!(repository.read("mine.txt"), "the user's");
    assert_eq!(repository.read("half.txt"), "the task's");
    assert_eq!(
        repository.git(&["show", &format!("{left}:half.txt")]),
        "the task's"
    );
    assert!(repository.branches().contains(&change.created.to_string()));
    // Looked at again and again while the user works there, nothing more is kept.
    let mut later = undo(&change);
    later.after_restart = true;
    repository.write("mine.txt", "the user's, later");
    let error = git.clean_up(later.clone()).await.unwrap_err();
    assert!(matches!(error, GitError::Moved { kept: None, .. }));
    assert_eq!(
        repository
            .git(&["for-each-ref", "refs/orchestrator"])
            .lines()
            .count(),
        1
    );
    // The user has taken what is theirs and goes back.
    std::fs::remove_file(repository.path.join("half.txt")).unwrap();
    repository.git(&["add", "-A"]);
    repository.git(&["commit", "-q", "-m", "the user's"]);
    repository.git(&["switch", "-q", "main"]);
    git.clean_up(later).await.unwrap();
    assert_eq!(repository.branches(), ["main", "mine"]);
}

#[tokio::test]
async fn what_is_kept_of_all_branches_has_a_bound() {
    let repository = Repository::new();
    let git = repository.cli();
    let base = repository.head();
    let tree = repository.git(&["rev-parse", "HEAD^{tree}"]);
    for number in 0..110 {
        let dated = format!(
            "tree {tree}\nparent {base}\nauthor A <a@b.c> {0} +0000\ncommitter A <a@b.c> {0} +0000\n\nleft\n",
            1_000_000_000 + number
        );
        repository.write("ignored/commit", &dated);
        let made = ["hash-object", "-t", "commit", "-w", "ignored/commit"];
        let commit = repository.git(&made);
        let name = format!("refs/orchestrator/left/{number}");
        repository.git(&["update-ref", &name, &commit]);
    }
    let change = begin(&git, "x").await.unwrap();
    repository.write("README.md", "the newest\n");
    git.clean_up(undo(&change)).await.unwrap();
    let all = repository.git(&["for-each-ref", "--format=%(refname)", "refs/orchestrator"]);
    assert_eq!(all.lines().count(), 100);
    assert!(all.contains(change.created.as_str()), "the newest is there");
    assert!(
        !all.lines().any(|name| name.ends_with("/10")),
        "the oldest have gone"
    );
    assert!(all.lines().any(|name| name.ends_with("/11")));
}

#[tokio::test]
async fn what_began_in_a_work_tree_of_its_own_is_undone_there_whatever_the_settings_say_by_then() {
    let repository = Repository::new();
    let (trees, here) = (repository.with_trees(), repository.cli());
    let change = begin(&trees, "x").await.unwrap();
    repository.write("README.md", "the user's\n");
    std::fs::write(change.directory.join("README.md"), "the task's\n").unwrap();
    let mut later = undo(&change);
    later.after_restart = true;
    here.clean_up(later.clone()).await.unwrap();
    assert!(!change.directory.exists());
    assert_eq!(repository.read("README.md"), "the user's\n");
    let left = format!("refs/orchestrator/left/{}:README.md", change.created);
    assert_eq!(repository.git(&["show", &left]), "the task's");
    // And the other way round.
    repository.git(&["checkout", "-q", "--", "."]);
    let before = repository.head();
    let change = begin(&here, "y").await.unwrap();
    repository.write("README.md", "the task's\n");
    later.change = change;
    trees.clean_up(later).await.unwrap();
    repository.is_as_before("main", &before);
}

/// A tree that cannot be read as the task's may hold its work all the same.
#[tokio::test]
async fn a_work_tree_that_was_taken_out_of_its_repository_is_not_removed() {
    let repository = Repository::new();
    let git = repository.with_trees();
    for inner in [false, true] {
        let change = begin(&git, &format!("inner {inner}")).await.unwrap();
        put(&change.directory.join("work.txt"), "the work");
        let marker = change.directory.join(".git");
        let text = std::fs::read_to_string(&marker).unwrap();
        std::fs::remove_file(&marker).unwrap();
        if inner {
            repository
                .try_git(&change.directory, &["init", "-q"])
                .unwrap();
        }
        let error = git.clean_up(undo(&change)).await.unwrap_err();
        assert!(
            matches!(error, GitError::NotKept(_)) && error.stops_the_loop(),
            "{error:?}"
        );
        assert!(change.directory.join("work.txt").exists());
        if inner {
            std::fs::remove_dir_all(&marker).unwrap();
        }
        std::fs::write(&marker, text).unwrap();
        let left = git.clean_up(undo(&change)).await.unwrap().unwrap();
        let kept = repository.git(&["show", &format!("{left}:work.txt")]);
        assert_eq!(kept, "the work");
        assert!(!change.directory.exists());
    }
    let trees = repository.folder.path().join("trees");
    assert_eq!(std::fs::read_dir(trees).unwrap().count(), 0);
}

/// Its history is in no ref of ours.
#[tokio::test]
async fn a_repository_that_was_made_inside_is_moved_aside_and_not_removed() {
    let repository = Repository::new();
    let git = repository.cli();
    let before = repository.head();
    for number in 1..=2 {
        let change = begin(&git, "x").await.unwrap();
        let inner = repository.path.join("deep/inner");
        put(&inner.join("n.txt"), "precious");
        repository.try_git(&inner, &["init", "-q"]).unwrap();
        repository.try_git(&inner, &["add", "-A"]).unwrap();
        repository
            .try_git(&inner, &["commit", "-q", "-m", "n"])
            .unwrap();
        put(&inner.join("later.txt"), "not committed");
        let told = git.clean_up(undo(&change)).await.unwrap().unwrap();
        repository.is_as_before("main", &before);
        let moved = format!("orchestrator-left/{}-{number}", change.created);
        assert!(told.contains(&moved), "{told}");
        let moved = repository.path.join(".git").join(moved).join("deep/inner");
        assert_eq!(
            std::fs::read_to_string(moved.join("later.txt")).unwrap(),
            "not committed"
        );
        let log = repository.try_git(&moved, &["log", "--format=%s"]).unwrap();
        assert_eq!(log, "n");
    }
}

/// What a removal could not remove is in nobody's way.
#[tokio::test]
async fn a_work_tree_that_was_half_removed_does_not_keep_the_task_from_its_next_attempt() {
    let repository = Repository::new();
    let git = repository.with_trees();
    let change = begin(&git, "x").await.unwrap();
    let gone = PathBuf::from(format!("{}.gone", change.directory.display()));
    put(&gone.join("left.txt"), "left");
    git.clean_up(undo(&change)).await.unwrap();
    assert!(!gone.exists() && !change.directory.exists());
    begin(&git, "x").await.unwrap();
}

/// A scaffold made a repository of the directory, which lies in a larger one.
#[tokio::test]
async fn a_repository_that_was_made_inside_is_not_taken_for_the_tasks() {
    let repository = Repository::new();
    repository.write("web/index.html", "x");
    repository.git(&["add", "-A"]);
    repository.git(&["commit", "-q", "-m", "web"]);
    repository.git(&["push", "-q"]);
    let mut config = repository.config();
    config.directory = repository.path.join("web");
    let git = GitCli::new(config);
    let change = begin(&git, "x").await.unwrap();
    repository
        .try_git(&repository.path.join("web"), &["init", "-q", "-b", "main"])
        .unwrap();
    for error in [
        git.evidence(change.clone()).await.unwrap_err(),
        git.clean_up(undo(&change)).await.unwrap_err(),
    ] {
        assert!(matches!(error, GitError::Elsewhere { .. }), "{error:?}");
        assert!(error.stops_the_loop());
    }
    assert_eq!(repository.branch(), change.created.as_str());
    std::fs::remove_dir_all(repository.path.join("web/.git")).unwrap();
    git.clean_up(undo(&change)).await.unwrap();
    assert_eq!(repository.branch(), "main");
}
