//! The scenarios of the document that the task machine was asked for in, over real git and a bare remote, with a runner
//! that writes files.

use std::time::Instant;

use orchestrator_actors::domain::task::{BranchName, Class};
use orchestrator_actors::ports::git::{ChainLink, RelationshipKind};
use orchestrator_actors::ports::tasks::{Acknowledgement, Blocked, LoopEnd};
use orchestrator_actors::tasks::Progress;

use crate::repository::name_of;
use crate::stage::{FileSystemRunner, Stage};

/// Every task's branch descends from the one before, here and in the recorded chain, and is pushed.
async fn is_a_chain(stage: &Stage, tasks: &[&str]) {
    let acknowledged = stage.queue.acknowledged();
    let artifacts = acknowledged
        .iter()
        .filter_map(|one| one.artifact())
        .cloned();
    let links: Vec<ChainLink> = artifacts
        .map(|artifact| ChainLink {
            branch: artifact.branch,
            previous: artifact.previous,
            base: artifact.base,
            commit: artifact.commit,
        })
        .collect();
    let names: Vec<BranchName> = tasks.iter().map(|task| name_of(task)).collect();
    assert_eq!(
        links
            .iter()
            .map(|link| link.branch.clone())
            .collect::<Vec<_>>(),
        names
    );
    let mut previous = "refs/heads/main".to_owned();
    for name in &names {
        assert!(
            stage.repository.is_ancestor(&previous, &name.full()),
            "{previous} → {name}"
        );
        assert!(
            stage
                .repository
                .remote_branches()
                .contains(&name.to_string())
        );
        previous = name.full();
    }
    let found = stage.deps.git.verify_chain(links).await.unwrap();
    assert!(
        found.iter().all(|one| one.kind == RelationshipKind::Chains),
        "{found:?}"
    );
}

#[tokio::test]
async fn processes_chain_of_2_tasks_with_real_git_workflow() {
    let tasks = ["implement login", "add validation"];
    let stage = Stage::with_files(&tasks, &FileSystemRunner::default());
    assert_eq!(stage.run().await, LoopEnd::Stopped);
    is_a_chain(&stage, &tasks).await;
    assert_eq!(
        stage.repository.branches(),
        ["1282544961935709", "2456583589892771", "main"]
    );
    assert_eq!(stage.repository.branch(), "2456583589892771");
    assert!(stage.repository.has("src/login.rs") && stage.repository.has("src/validation.rs"));
    assert_eq!(
        stage.repository.git(&["log", "--format=%s"]),
        "add validation\nimplement login\nfirst"
    );
    assert_eq!(stage.repository.git(&["status", "--porcelain"]), "");
    assert_eq!(stage.queue.remaining(), 0);
}

#[tokio::test]
async fn processes_chain_of_3_tasks_with_real_git_workflow() {
    let tasks = ["implement login", "add validation", "write tests"];
    let stage = Stage::with_files(&tasks, &FileSystemRunner::default());
    stage.run().await;
    is_a_chain(&stage, &tasks).await;
    assert_eq!(stage.queue.acknowledged().len(), 3);
    assert_eq!(stage.repository.git(&["rev-list", "--count", "HEAD"]), "4");
    assert_eq!(stage.repository.branch(), "531566247443740");
    assert_eq!(stage.repository.branches().len(), 4);
}

#[tokio::test]
async fn handles_git_conflict_recovery_during_chain() {
    let tasks = ["implement login", "add validation"];
    let runner = FileSystemRunner::default();
    let stage = Stage::with_files(&tasks, &runner);
    runner
        .unfit
        .lock()
        .unwrap()
        .insert("implement login".to_owned(), 2);
    stage.run().await;
    let commits = {
        let progress = stage.progress.lock().unwrap();
        let committing = |one: &&Progress| {
            matches!(
                one,
                Progress::Phase {
                    phase: "committing",
                    ..
                }
            )
        };
        progress.iter().filter(committing).count()
    };
    assert_eq!(commits, 4, "three attempts and one");
    is_a_chain(&stage, &tasks).await;
    assert_eq!(stage.failures(), [Class::Git; 2]);
    // What the failed attempts left is kept aside.
    let left = format!(
        "refs/orchestrator/left/{}:src/login.rs",
        name_of("implement login")
    );
    assert_eq!(stage.repository.git(&["show", &left]), "implement login");
    assert!(!stage.repository.has("nested"));
}

#[tokio::test]
async fn handles_maximum_retry_exhaustion() {
    let runner = FileSystemRunner::default();
    let stage = Stage::with_files(&["implement login", "add validation"], &runner);
    runner
        .failing
        .lock()
        .unwrap()
        .insert("implement login".to_owned(), 9);
    stage.run().await;
    assert_eq!(
        runner.runs.lock().unwrap().len(),
        4,
        "three attempts and one"
    );
    assert_eq!(stage.repository.branches(), ["2456583589892771", "main"]);
    assert_eq!(
        stage.repository.remote_branches(),
        ["2456583589892771", "main"]
    );
    is_a_chain(&stage, &["add validation"]).await;
    assert!(!stage.repository.has("src/login.rs"));
}

#[tokio::test]
async fn creates_correct_branch_names_and_artifacts_for_complex_task_descriptions() {
    let tasks = [
        "implement user authentication with JWT tokens and refresh token rotation, including `rm -rf /` $(id) handling",
        "日本語のタスク: \u{202e}проверка 👩‍💻 “quotes” and 'quotes'; DROP TABLE tasks; -- validation",
        "add\nmany\r\nlines\twith\ttabs\nand a --flag at the end",
    ];
    let stage = Stage::with_files(&tasks, &FileSystemRunner::default());
    stage.run().await;
    is_a_chain(&stage, &tasks).await;
    for task in tasks {
        let message = stage
            .repository
            .git(&["log", "-1", "--format=%B", &name_of(task).full()]);
        assert!(message.contains("Task: task-"), "{message}");
        assert!(
            message.replace('\r', "").contains(&task.replace('\r', "")),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_dirty_tree_stops_the_loop_and_nothing_of_it_is_touched() {
    let runner = FileSystemRunner::default();
    let stage = Stage::with_files(&["implement login"], &runner);
    stage.repository.write("README.md", "the user's\n");
    let end = stage.run().await;
    let LoopEnd::Blocked(Blocked::NotClean(why)) = end else {
        panic!("{end:?}");
    };
    assert!(why.contains("README.md"), "{why}");
    assert_eq!(stage.repository.read("README.md"), "the user's\n");
    assert_eq!(stage.queue.remaining(), 1);
    assert!(matches!(
        stage.queue.acknowledged()[0].what,
        Acknowledgement::Returned(_)
    ));
    stage.repository.git(&["checkout", "-q", "README.md"]);
    assert_eq!(stage.run().await, LoopEnd::Stopped);
    is_a_chain(&stage, &["implement login"]).await;
}

#[tokio::test]
async fn a_loop_that_is_dropped_anywhere_is_finished_by_the_next_one() {
    // As a kill, of which the journal, the queue and the repository remain. Later and later on the way.
    let runner = FileSystemRunner::default();
    let tasks = ["implement login", "add validation"];
    let stage = Stage::with_files(&tasks, &runner);
    let start = Instant::now();
    let mut cuts = 0;
    loop {
        let cut = std::time::Duration::from_millis(40 * (cuts + 1));
        match tokio::time::timeout(cut, stage.run()).await {
            Ok(end) => {
                assert_eq!(end, LoopEnd::Stopped);
                break;
            }
            Err(_) => cuts += 1,
        }
        assert!(start.elapsed().as_secs() < 120, "it never ends");
    }
    assert!(cuts > 0, "it was cut at least once");
    let told = || {
        format!(
            "{:?}\n{}\n{}",
            stage.queue.acknowledged(),
            stage.repository.git(&["for-each-ref"]),
            stage.repository.git(&["reflog", "--all", "--date=iso"])
        )
    };
    assert_eq!(stage.failures(), [], "{}", told());
    is_a_chain(&stage, &tasks).await;
    assert_eq!(stage.repository.branches().len(), 3);
    assert!(stage.failures().is_empty());
}
