//! Faults that only the real OpenCode can show: its tools in sessions of their own, its own words about a broken
//! configuration, its behaviour in a directory that was taken from it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use orchestrator_actors::ports::agent::{AgentError, AgentEvent, Agents};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{self, Answer, Session, World, eventually, kill_9, script};

const TOOLS: &str = "setsid sleep 600 & (trap '' TERM; sleep 600) & sleep 600";

fn runs_tools() -> String {
    let args = json!({"command": TOOLS, "description": "d"});
    script(json!([[{"text": "once "}, {"tool": "bash", "args": args}]]))
}

async fn tools_run(world: &World) {
    eventually("three tools run", || {
        let all = world.left();
        all.iter().filter(|line| line.contains("sleep 600")).count() >= 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_in_sessions_of_their_own_go_with_a_stop_and_with_kill_9_of_opencode() {
    let world = World::new().await;
    let session = world.open("s1").await;
    session.deliver("t1", runs_tools()).await.unwrap();
    tools_run(&world).await;
    session.agent.stop().await;
    assert!(world.left().is_empty(), "after a stop: {:?}", world.left());
    drop(session);

    let mut session = world.open("s1").await;
    session.deliver("t2", runs_tools()).await.unwrap();
    tools_run(&world).await;
    let killed = Instant::now();
    kill_9(session.agent.pid());
    let mut answer = Answer::default();
    session.until_exit(&mut answer, "t2").await;
    assert!(world.left().is_empty(), "after a kill: {:?}", world.left());
    println!(
        "kill -9 of opencode → its tools gone and its end told: {:?}",
        killed.elapsed()
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_opencode_that_is_stopped_in_mid_answer_is_replaced() {
    let world = World::with(|config| {
        config.deadlines.probe = Duration::from_secs(12);
        config.deadlines.probe_answer = Duration::from_secs(2);
    })
    .await;
    let mut session = world.open("s1").await;
    let prompt = script(json!([[{"text": "once "}, {"stream": {"n": 2000, "rate": 50}}]]));
    session.deliver("t1", prompt).await.unwrap();
    let mut answer = Answer::default();
    session.until_text(&mut answer, "t1", "5 ").await;
    harness::send(session.agent.pid(), Signal::STOP);
    session.until_exit(&mut answer, "t1").await;
    let Some(AgentEvent::Exited { report }) = answer.events.last() else {
        panic!("{:?}", answer.events.last());
    };
    assert!(
        report
            .why
            .as_ref()
            .is_some_and(|why| why.contains("did not answer")),
        "{report:?}"
    );
    drop(session);
    let mut session = world.open("s1").await;
    assert!(session.ask("t2", "go on").await.is_complete());
    assert_eq!(world.starts("once ").await, 1);
    session.agent.stop().await;
    world.end().await;
}

async fn told_of(file: &'static str) -> String {
    let world = World::with(|config| {
        let home = &config.hermetic.as_ref().unwrap().home;
        let folder = home.join(".config/opencode");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("opencode.json"), file).unwrap();
    })
    .await;
    let error = world.try_open("s1").await.err().expect("no boot");
    let told = match &error {
        AgentError::Misconfigured(told) => told.clone(),
        other => panic!("{other:?}"),
    };
    assert!(!error.is_transient());
    let named = world
        .folder
        .path()
        .join("home/.config/opencode/opencode.json");
    assert!(told.contains(named.to_str().unwrap()), "{told}");
    assert!(!told.contains("sk-secret"), "{told}");
    world.end().await;
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_broken_opencode_json_is_named_with_its_mistake_and_not_tried_again() {
    let told = told_of("{ \"model\": \"sk-secret\",\n  \"provider\": ").await;
    assert!(told.contains("at line 2"), "{told}");
    let told = told_of("{ \"provider\": \"sk-secret\" }").await;
    assert!(told.contains("provider"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_deleted_under_opencode_is_told_and_the_session_goes_on_when_it_is_back() {
    let world = World::new().await;
    let mut session = world.open("s1").await;
    assert!(session.ask("t1", "hello").await.is_complete());
    std::fs::remove_dir_all(world.work()).unwrap();
    let refused = session.deliver("t2", "and now").await.unwrap_err();
    assert!(refused.to_string().contains("is gone"), "{refused}");
    session.agent.stop().await;
    drop(session);
    let spec = world.spec("s1");
    let waiting = spec.waiting.clone();
    let opening = tokio::spawn(world.agents.open(spec));
    eventually("it waits for its directory", || waiting.get().is_some()).await;
    std::fs::create_dir(world.work()).unwrap();
    let mut session = Session::of(opening.await.unwrap().unwrap()).await.unwrap();
    assert!(session.ask("t2", "and now").await.is_complete());

    // In the middle of a turn: its tools fail, the turn ends, nobody hangs.
    let run = json!({"command": "pwd -P && ls", "description": "d"});
    let prompt = script(
        json!([[{"text": "wait "}, {"sleep": 2000}, {"tool": "bash", "args": run}], [{"text": "done"}]]),
    );
    session.deliver("t4", prompt).await.unwrap();
    let mut answer = Answer::default();
    session.until_text(&mut answer, "t4", "wait ").await;
    std::fs::remove_dir_all(world.work()).unwrap();
    while answer.end.is_none() {
        let event = session
            .next()
            .await
            .expect("the turn's end before the child's");
        answer.take(event, "t4");
    }
    println!(
        "a turn whose directory was deleted: {:?}; tools: {:?}",
        answer.end,
        answer.tools()
    );
    session.agent.stop().await;
    world.end().await;
}

/// Root may write everywhere: here OpenCode is somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_read_only_directory_a_tool_fails_and_the_turn_is_complete() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can run OpenCode as somebody else");
        return;
    }
    let mut folder = None;
    let world = World::with(|config| {
        let all = config.data_dir.parent().unwrap().to_owned();
        // The repository may lie where nobody else may look: both programs are copied.
        let (ours, opencode) = (all.join("orchestrator"), all.join("opencode"));
        std::fs::copy(&config.warden, &ours).unwrap();
        std::fs::copy(&config.binary, &opencode).unwrap();
        config.binary = opencode;
        let warden = all.join("warden-as-nobody");
        let text = format!(
            "#!/bin/sh\nexec /usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups '{}' \"$@\"\n",
            ours.display()
        );
        std::fs::write(&warden, text).unwrap();
        std::fs::set_permissions(&warden, PermissionsExt::from_mode(0o755)).unwrap();
        config.warden = warden;
        folder = Some(all);
    })
    .await;
    let folder = folder.unwrap();
    let store = world
        .agents
        .store_id(&orchestrator_actors::domain::ids::WorkerId::new("worker1"));
    store.unwrap();
    give_to_nobody(&folder);
    std::fs::set_permissions(world.work(), PermissionsExt::from_mode(0o555)).unwrap();
    let mut session = world.open("s1").await;
    let file = world.work().join("new.txt");
    let args = json!({"filePath": file, "content": "x"});
    let prompt = script(json!([[{"tool": "write", "args": args}], [{"text": "went on"}]]));
    let answer = session.ask("t1", prompt).await;
    assert!(answer.is_complete(), "{answer:?}");
    assert!(answer.text().contains("went on"), "{}", answer.text());
    let tools = answer.tools();
    assert!(tools.iter().any(|tool| tool.status == "error"), "{tools:?}");
    assert!(!file.exists());
    session.agent.stop().await;
    world.end().await;
}

fn give_to_nobody(path: &Path) {
    std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap().flatten() {
            give_to_nobody(&entry.path());
        }
    }
}
