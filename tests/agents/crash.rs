//! What is left when something is killed: no process, and a store that says whether a prompt may be given again.

use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use orchestrator::adapters::process::journal::{Journal, sweep_at_start};
use orchestrator_actors::domain::ids::TurnId;
use orchestrator_actors::domain::turn::StoredTurn;
use orchestrator_actors::ports::agent::{AgentError, Agents};
use serde_json::json;

use crate::harness::{self, Answer, Session, World, eventually, kill_9, parent_of, script};

/// A stop that waits for what it has to end, a tool of ten minutes, lasts longer than this; one on a busy machine does not.
const NEVER: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_opencode_in_mid_answer_leaves_a_begun_turn_that_is_not_given_again() {
    let world = World::new().await;
    let mut session = world.open("s1").await;
    let prompt = script(json!([[{"text": "once "}, {"stream": {"n": 2000, "rate": 50}}]]));
    session.deliver("t1", prompt.clone()).await.unwrap();
    let mut answer = Answer::default();
    session.until_text(&mut answer, "t1", "5 ").await;
    let conversation = session.conversation.clone();
    kill_9(session.agent.pid());
    session.until_exit(&mut answer, "t1").await;
    assert!(answer.text().starts_with("once 0 1 2 3 4 5 "), "{answer:?}");
    assert_eq!(answer.end, None);
    drop(session);

    let mut session = world.open("s1").await;
    assert_eq!(
        session.conversation, conversation,
        "found by our id in its metadata"
    );
    let stored = session
        .agent
        .lookup(conversation, TurnId::new("t1"))
        .await
        .unwrap();
    assert_eq!(stored, StoredTurn::Begun);
    let answer = session.ask("t2", "go on").await;
    assert!(answer.is_complete(), "{answer:?}");
    assert_eq!(world.starts("once ").await, 1);
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_never_reached_the_model_is_answered_once_when_given_again() {
    let world = World::new().await;
    let session = world.open("s1").await;
    // Handed over twice: one answer.
    session.deliver("t1", "say it once").await.unwrap();
    let twice = session.deliver("t1", "say it once").await;
    assert!(matches!(twice, Err(AgentError::Failed(_))), "{twice:?}");
    kill_9(session.agent.pid());
    drop(session);

    let mut session = world.open("s1").await;
    let stored = session
        .agent
        .lookup(session.conversation.clone(), TurnId::new("t1"))
        .await
        .unwrap();
    match stored {
        StoredTurn::Absent | StoredTurn::Unanswered => {
            let answer = session.ask("t1", "say it once").await;
            assert!(answer.is_complete(), "{answer:?}");
        }
        StoredTurn::Begun | StoredTurn::Complete { .. } => {}
        StoredTurn::Failed { .. } => panic!("{stored:?}"),
    }
    assert!(world.starts("say it once").await <= 1);
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_one_owner_and_a_killed_warden_leaves_nothing() {
    let mut world = World::with(|config| config.deadlines.lease = Duration::from_millis(300)).await;
    let mut session = world.open("s1").await;
    let second = world.try_open("s1").await.err().expect("the lease is held");
    assert!(matches!(second, AgentError::Leased(_)), "{second:?}");
    assert!(second.is_transient());

    // The warden alone is killed, while a tool runs in a session of its own.
    session.deliver("t1", script(json!([[{"tool": "bash", "args": {"command": "setsid sleep 600 & sleep 600", "description": "d"}}]]))).await.unwrap();
    eventually("the tool runs", || {
        world
            .left()
            .iter()
            .filter(|line| line.contains("sleep 600"))
            .count()
            >= 2
    })
    .await;
    kill_9(parent_of(session.agent.pid()));
    let mut answer = Answer::default();
    session.until_exit(&mut answer, "t1").await;
    eventually("nothing is left", || world.left().is_empty()).await;
    drop(session);

    world.config.deadlines.lease = Duration::from_secs(5);
    let session = world.open("s1").await;
    session.agent.stop().await;
    // Idempotent, and the lease is free at once.
    session.agent.stop().await;
    assert!(world.left().is_empty());
    world.open("s1").await.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_supervisor_leaves_no_descendant() {
    let world = World::new().await;
    // Another process of this test binary plays the supervisor.
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::a_supervisor_that_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env("AGENTS_TEST_FOLDER", world.folder.path())
        .env("AGENTS_TEST_MODEL", &world.model_url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(parent.stdout.take().unwrap()).lines();
    tokio::task::spawn_blocking(move || {
        assert!(
            lines.any(|line| line.unwrap().contains("the tool runs")),
            "it ended early"
        );
    })
    .await
    .unwrap();
    let supervisor = parent.id();
    let descendants = || {
        world
            .left()
            .into_iter()
            .filter(|line| !line.starts_with(&format!("{supervisor} ")))
            .collect::<Vec<_>>()
    };
    assert!(
        descendants().iter().any(|line| line.contains("sleep 600")),
        "{:?}",
        descendants()
    );
    let journal = Journal::in_state_folder(&world.config.state_dir);
    assert_eq!(journal.entries().len(), 1);

    let killed = Instant::now();
    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("no descendant is left", || descendants().is_empty()).await;
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(2), "it took {took:?}");

    // What the next supervisor does at its start finds nothing to kill, and the session goes on.
    assert_eq!(sweep_at_start(&journal, world.agents.marker_prefix()), 0);
    assert!(journal.entries().is_empty());
    let mut session = world.open("s1").await;
    let stored = session
        .agent
        .lookup(session.conversation.clone(), TurnId::new("t1"))
        .await
        .unwrap();
    assert_eq!(stored, StoredTurn::Begun);
    assert!(session.ask("t2", "hello again").await.is_complete());
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "another test runs it as a process of its own, to kill it"]
async fn a_supervisor_that_is_killed() {
    let Some(folder) = std::env::var_os("AGENTS_TEST_FOLDER").map(std::path::PathBuf::from) else {
        return;
    };
    let model = std::env::var("AGENTS_TEST_MODEL").unwrap();
    let config = harness::config(&folder, &model, harness::opencode().await);
    let agents = orchestrator::adapters::opencode::OpenCodeAgents::new(config).unwrap();
    let work = folder.canonicalize().unwrap().join("work");
    let mut session = Session::of(agents.open(harness::spec(&work, "s1")).await.unwrap())
        .await
        .unwrap();
    session.deliver("t1", script(json!([[{"tool": "bash", "args": {"command": "setsid sleep 600 & sleep 600", "description": "d"}}]]))).await.unwrap();
    let mut answer = Answer::default();
    while !answer.tools().iter().any(|tool| tool.status == "running") {
        let event = session.next().await.unwrap();
        answer.take(event, "t1");
    }
    eventually("the tool", || {
        harness::processes_with(&folder.display().to_string())
            .iter()
            .any(|line| line.contains("sleep 600"))
    })
    .await;
    println!("the tool runs");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_agent_leaves_nothing_and_a_stopped_one_says_why_it_ended() {
    let world = World::new().await;
    let mut session = world.open("s1").await;
    session.deliver("t1", script(json!([[{"tool": "bash", "args": {"command": "trap '' TERM; sleep 600", "description": "d"}}]]))).await.unwrap();
    eventually("the tool runs", || {
        world.left().iter().any(|line| line.contains("sleep 600"))
    })
    .await;
    let Session {
        agent, mut events, ..
    } = session;
    drop(agent);
    let mut last = None;
    while let Some(event) = events.recv().await {
        last = Some(event);
    }
    assert!(
        matches!(
            last,
            Some(orchestrator_actors::ports::agent::AgentEvent::Exited { .. })
        ),
        "{last:?}"
    );
    assert!(world.left().is_empty(), "{:?}", world.left());

    session = world.open("s1").await;
    session
        .deliver(
            "t2",
            script(
                json!([[{"tool": "bash", "args": {"command": "sleep 600", "description": "d"}}]]),
            ),
        )
        .await
        .unwrap();
    eventually("the tool runs", || {
        world.left().iter().any(|line| line.contains("sleep 600"))
    })
    .await;
    let stopping = Instant::now();
    session.agent.stop().await;
    assert!(world.left().is_empty(), "{:?}", world.left());
    let took = stopping.elapsed();
    println!("stopped in {took:?}");
    assert!(took < NEVER, "{took:?}");
    // Temporary folders go with their child, and so does the session's lock; the directory's stays.
    assert!(!world.config.run_dir.join("tmp/s1").exists());
    let locks = std::fs::read_dir(world.config.run_dir.join("locks")).unwrap();
    let names: Vec<_> = locks.map(|lock| lock.unwrap().file_name()).collect();
    assert!(
        names
            .iter()
            .all(|name| name.to_string_lossy().starts_with("directory-")),
        "{names:?}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opencode_that_hangs_is_stopped_all_the_same() {
    let world = World::new().await;
    let session = world.open("s1").await;
    session
        .deliver("t1", script(json!([[{"hang": true}]])))
        .await
        .unwrap();
    harness::send(session.agent.pid(), rustix::process::Signal::STOP);
    let lookup = session.agent.abort(session.conversation.clone()).await;
    assert!(matches!(lookup, Err(AgentError::Failed(_))), "{lookup:?}");
    let stopping = Instant::now();
    session.agent.stop().await;
    let took = stopping.elapsed();
    println!("stopped in {took:?}");
    assert!(took < NEVER, "{took:?}");
    assert!(world.left().is_empty(), "{:?}", world.left());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_can_be_looked_up_from_another_directory_than_its_own() {
    let world = World::new().await;
    let mut session = world.open("s1").await;
    assert!(session.ask("t1", "say it once").await.is_complete());
    session.agent.stop().await;

    // The worker's directory was changed: its session goes on in a new conversation, and the old one still tells.
    let elsewhere = world
        .folder
        .path()
        .canonicalize()
        .unwrap()
        .join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let moved = world
        .agents
        .open(harness::spec(&elsewhere, "s1"))
        .await
        .unwrap();
    let known = Some(session.conversation.clone());
    let conversation = moved
        .agent
        .conversation(known, "test".to_owned())
        .await
        .unwrap();
    assert_ne!(conversation, session.conversation);
    let lookup = |conversation| moved.agent.lookup(conversation, TurnId::new("t1"));
    let stored = lookup(session.conversation.clone()).await.unwrap();
    assert!(matches!(stored, StoredTurn::Complete { .. }), "{stored:?}");
    assert_eq!(lookup(conversation).await.unwrap(), StoredTurn::Absent);
    moved.agent.stop().await;
    world.end().await;
}
