//! The real Goose under the scripted model, through the whole loop.

use std::time::Duration;

use orchestrator_actors::domain::task::Class;
use orchestrator_actors::ports::tasks::LoopEnd;
use orchestrator_actors::tasks::Progress;
use orchestrator_test_support::eventually;

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn runs_sequential_tasks_with_real_goose_ai() {
    let tasks = [
        "create a simple hello.txt file with greeting",
        "read hello.txt and create a response.txt file",
    ];
    let stage = Stage::with_goose(&tasks, |config| {
        config.common.limits.process = Duration::from_secs(30);
        config.common.limits.hard = Duration::from_secs(35);
    })
    .await;
    assert_eq!(stage.run().await, LoopEnd::Stopped);
    assert_eq!(stage.failures(), []);
    let names = ["5019155472143070", "5438721616148507"];
    assert_eq!(stage.repository.branches(), [names[0], names[1], "main"]);
    assert_eq!(
        stage.repository.remote_branches(),
        [names[0], names[1], "main"]
    );
    assert!(
        stage
            .repository
            .is_ancestor("refs/heads/5438721616148507", "refs/heads/5019155472143070")
    );
    let files = stage.repository.git(&["ls-tree", "--name-only", "HEAD"]);
    assert_eq!(
        files, ".gitignore\nREADME.md\nhello.txt\nresponse.txt",
        "and no instruction file"
    );
    {
        let progress = stage.progress.lock().unwrap();
        let done = progress.iter().filter_map(|one| match one {
            Progress::Done { metrics, .. } => metrics.run.clone(),
            _ => None,
        });
        let reports: Vec<_> = done.collect();
        assert_eq!(reports.len(), 2);
        for report in &reports {
            assert_eq!((report.turns, report.tries), (2, 1));
            assert!(
                report.input_tokens > 0 && report.summary.starts_with("Done."),
                "{report:?}"
            );
        }
    }
    eventually("no process is left", || stage.left() == 0);
    let goose = stage.repository.folder.path().join("run/goose");
    assert_eq!(
        std::fs::read_dir(goose).unwrap().count(),
        0,
        "its folders are gone"
    );
    assert!(
        !stage
            .repository
            .folder
            .path()
            .join("home/.config/goose")
            .exists()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_does_two_tasks_on_their_branches() {
    let stage = Stage::with_goose(&["implement login", "add validation"], |_| {}).await;
    assert_eq!(stage.run().await, LoopEnd::Stopped);
    assert_eq!(
        stage.repository.branches(),
        ["1282544961935709", "2456583589892771", "main"]
    );
    assert_eq!(stage.repository.remote_branches().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_sees_no_token_of_ours_and_no_git_variable_and_its_processes_end_with_the_run() {
    let script = r#"SCRIPT:{"steps":[[{"tool":"shell","args":{"command":"env > env.txt; setsid sleep 4713 > /dev/null 2>&1 & echo started"}}],[{"text":"ok"}]]}"#;
    let stage = Stage::with_goose(&[script], |_| {}).await;
    assert_eq!(stage.run().await, LoopEnd::Stopped);
    assert_eq!(stage.failures(), []);
    let seen = stage.repository.read("env.txt");
    assert!(
        !seen.contains("secret_c") && !seen.contains("GIT_DIR="),
        "{seen}"
    );
    eventually("no process is left", || stage.left() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn called_off_in_the_middle_it_is_undone_and_nothing_is_left() {
    let script = r#"SCRIPT:{"steps":[[{"tool":"shell","args":{"command":"echo half > half.txt; sleep 4714"}}],[{"text":"ok"}]]}"#;
    let stage = Stage::with_goose(&[script], |_| {}).await;
    let before = stage.repository.head();
    let called_off = async {
        while !stage.repository.has("half.txt") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stage.queue.withdraw();
    };
    let both = async { tokio::join!(stage.run(), called_off) };
    tokio::time::timeout(Duration::from_mins(1), both)
        .await
        .unwrap();
    assert_eq!(stage.failures(), [Class::Aborted]);
    stage.repository.is_as_before("main", &before);
    eventually("no process is left", || stage.left() == 0);
}
