//! Every way in which a run of the real Goose can fail ends as its class, with the tree and the branches as they were and no
//! process left.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use orchestrator::adapters::goose::GooseConfig;
use orchestrator_actors::domain::task::{Class, Patience};
use orchestrator_actors::ports::tasks::{Acknowledgement, Blocked, LoopEnd};
use orchestrator_actors::tasks::MemoryQueue;
use orchestrator_test_support::eventually;

use crate::repository::put;
use crate::stage::Stage;

/// Runs a task once; returns what the queue heard.
async fn fails_as(class: Class, task: &str, change: impl FnOnce(&mut GooseConfig)) -> String {
    let mut stage = Stage::with_goose(&[], change).await;
    let queue = MemoryQueue::new(0);
    queue.add_tasks([task]);
    stage.deps.queue = std::sync::Arc::new(queue.clone());
    let before = stage.repository.head();
    assert_eq!(stage.run().await, LoopEnd::Stopped);
    let said = queue.acknowledged();
    let [one] = said.as_slice() else {
        panic!("{said:?}");
    };
    let Acknowledgement::Failed(failure) = &one.what else {
        panic!("{one:?}");
    };
    assert_eq!(failure.class, class, "{failure:?}");
    assert!(!failure.message.contains("sk-a-key-that-nobody-may-see"));
    stage.repository.is_as_before("main", &before);
    assert_eq!(stage.repository.remote_branches(), ["main"]);
    eventually("no process is left", || stage.left() == 0);
    failure.message.clone()
}

fn answering(operation: &str) -> String {
    format!("SCRIPT:{{\"steps\":[[{operation}]]}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused() {
    let task = answering(r#"{"status":401}"#);
    let said = fails_as(Class::Auth, &task, |_| {}).await;
    assert!(said.contains("401"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_refused() {
    fails_as(Class::BadRequest, &answering(r#"{"status":400}"#), |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_with_and_without_a_time() {
    fails_as(Class::RateLimited, &answering(r#"{"status":429}"#), |_| {}).await;
    let timed = answering(r#"{"status":429,"headers":{"retry-after":"1"}}"#);
    fails_as(Class::RateLimited, &timed, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credit() {
    let task = answering(
        r#"{"status":429,"message":"You exceeded your current quota (insufficient_quota)"}"#,
    );
    fails_as(Class::Quota, &task, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails() {
    fails_as(Class::Server, &answering(r#"{"status":500}"#), |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_cannot_be_reached() {
    let away = |config: &mut GooseConfig| {
        config
            .settings
            .insert("OPENAI_HOST".to_owned(), "http://127.0.0.1:1".to_owned());
    };
    fails_as(Class::Network, "create a file", away).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off() {
    fails_as(
        Class::Network,
        &answering(r#"{"text":"half"},{"drop":true}"#),
        |_| {},
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_no_longer_fits() {
    let task = answering(
        r#"{"status":400,"message":"This model's maximum context length is 8192 tokens. context_length_exceeded"}"#,
    );
    fails_as(Class::Context, &task, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_that_are_used_up_after_work_was_done() {
    let write = r#"[{"tool":"write","args":{"path":"a.txt","content":"1"}}]"#;
    let task = format!("SCRIPT:{{\"steps\":[{write},{write},{write},{write}]}}");
    fails_as(Class::TurnLimit, &task, |config| config.max_turns = 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_says_nothing_and_a_run_that_takes_too_long() {
    let hang = answering(r#"{"hang":true}"#);
    let silent = |config: &mut GooseConfig| config.common.limits.silence = Duration::from_secs(1);
    fails_as(Class::Network, &hang, silent).await;
    let too_long = |config: &mut GooseConfig| {
        config.common.limits.process = Duration::from_secs(3);
        config.common.limits.hard = Duration::from_secs(10);
    };
    fails_as(Class::ProcessTimeout, &hang, too_long).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_does_not_end_when_asked_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let stubborn = folder.path().join("goose");
    put(
        &stubborn,
        "#!/bin/sh\ntrap '' TERM INT HUP\necho changed > README.md\nwhile :; do sleep 0.1; done\n",
    );
    std::fs::set_permissions(&stubborn, std::fs::Permissions::from_mode(0o755)).unwrap();
    let change = |config: &mut GooseConfig| {
        config.common.binary = stubborn;
        config.common.limits.process = Duration::from_millis(500);
        config.common.limits.hard = Duration::from_secs(1);
    };
    fails_as(Class::HardTimeout, "x", change).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goose_that_is_not_there_uses_no_task_up() {
    let stage = Stage::with_goose(&["x", "y"], |config| {
        config.common.binary = "/nowhere/goose".into();
    })
    .await;
    let before = stage.repository.head();
    let LoopEnd::Blocked(Blocked::Assistant(said)) = stage.run().await else {
        panic!("it goes on");
    };
    assert!(said.contains("/nowhere/goose"), "{said}");
    let told = stage.queue.acknowledged();
    assert_eq!(told.len(), 1);
    assert!(
        matches!(told[0].what, Acknowledgement::Returned(_)),
        "{told:?}"
    );
    assert_eq!(stage.queue.remaining(), 2);
    stage.repository.is_as_before("main", &before);
    eventually("no process is left", || stage.left() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_changes_nothing() {
    fails_as(
        Class::NoChanges,
        &answering(r#"{"text":"I have done it all."}"#),
        |_| {},
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_by_itself_is_run_again_only_while_no_tool_was_used() {
    let patient = |config: &mut GooseConfig| {
        config.common.patience = Patience {
            retries: 1,
            first: Duration::from_millis(10),
            longest: Duration::from_millis(10),
        };
    };
    // Goose itself asks four times. The fifth answer comes in a second run.
    let task = r#"SCRIPT:{"steps":[[{"status":500,"times":4},{"tool":"write","args":{"path":"a.txt","content":"1"}}],[{"text":"ok"}]]}"#;
    let stage = Stage::with_goose(&[task], patient).await;
    stage.run().await;
    assert_eq!(stage.failures(), []);
    assert!(stage.repository.has("a.txt"));

    let task = r#"SCRIPT:{"steps":[[{"tool":"write","args":{"path":"a.txt","content":"1"}}],[{"status":500,"times":4},{"text":"ok"}]]}"#;
    fails_as(Class::Server, task, patient).await;
}
