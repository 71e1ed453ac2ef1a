//! Endings that the whole product has to answer: what was left goes, the turn is settled with a reason, the session goes on,
//! nothing is asked twice.

use std::time::{Duration, Instant};

use orchestrator_test_support::{Stage, Supervisor, eventually, processes, script, text_of, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).expect("a pid"), signal).expect("a signal");
}

/// A turn whose tool runs in a session of its own.
fn with_tools(name: &str) -> String {
    let args = json!({ "command": "setsid sleep 600 & sleep 600", "description": "waits" });
    script(&json!([
        [{ "text": format!("{name} begins") }, { "tool": "bash", "args": args }],
        [{ "text": "never said" }],
    ]))
}

/// The child of the only session, and its warden.
fn child_of(supervisor: &Supervisor<'_>) -> (u32, u32) {
    let session = supervisor.session("has a child", |session| session["agent_pid"].is_u64());
    let child = session["agent_pid"].as_u64().expect("a pid") as u32;
    let wardens = processes::descendants(supervisor.pid());
    let is_parent = |warden: &&u32| processes::descendants(**warden).contains(&child);
    let warden = *wardens.iter().find(is_parent).expect("a warden");
    (child, warden)
}

fn sleeping(stage: &Stage) -> usize {
    let all = stage.home.processes();
    all.iter().filter(|(_, line)| line == "sleep 600").count()
}

fn streams_with_tools(stage: &Stage, supervisor: &Supervisor<'_>, name: &str) -> (String, String) {
    let api = stage.api(supervisor);
    let (session, turn) = api.send(name, &stage.worker(supervisor), &with_tools(name));
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    eventually("its tools run", || sleeping(stage) >= 2);
    (session, turn)
}

fn is_interrupted(row: &Value) {
    assert_eq!(row["state"], "interrupted", "{row}");
    assert!(text_of(row).contains("begins"), "{row}");
}

#[test]
fn supervisor_and_warden_killed_together_leave_tools_that_the_next_start_ends() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let (session, turn) = streams_with_tools(&stage, &supervisor, "both");
    let (child, warden) = child_of(&supervisor);
    send(warden, Signal::STOP);
    supervisor.kill();
    send(warden, Signal::KILL);
    eventually("the kernel ends the child", || !processes::is_alive(child));
    assert!(sleeping(&stage) >= 1, "a tool has outlived both");

    let supervisor = stage.run();
    eventually("the next start ends it", || sleeping(&stage) == 0);
    let api = stage.api(&supervisor);
    is_interrupted(&api.closed(&session, &turn));
    let (_, next) = api.send("next", &json!({ "sessionId": session }), "and now");
    assert_eq!(api.closed(&session, &next)["state"], "complete");
    assert_eq!(stage.starts("both begins"), 1);
    assert!(supervisor.terminate().success());
}

#[test]
fn a_supervisor_killed_over_a_stopped_warden_leaves_nothing_that_the_next_start_does_not_end() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let (session, turn) = streams_with_tools(&stage, &supervisor, "stopped");
    let (child, warden) = child_of(&supervisor);
    send(warden, Signal::STOP);
    supervisor.kill();
    assert!(processes::is_alive(child));

    let supervisor = stage.run();
    eventually("nothing of it is left", || {
        sleeping(&stage) == 0 && !processes::is_alive(child) && !processes::is_alive(warden)
    });
    let api = stage.api(&supervisor);
    is_interrupted(&api.closed(&session, &turn));
    let (_, next) = api.send("next", &json!({ "sessionId": session }), "and now");
    assert_eq!(api.closed(&session, &next)["state"], "complete");
    assert!(supervisor.terminate().success());
}

#[test]
fn a_warden_killed_alone_takes_child_and_tools_with_it_and_the_turn_says_so() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let (session, turn) = streams_with_tools(&stage, &supervisor, "alone");
    let (child, warden) = child_of(&supervisor);
    send(warden, Signal::KILL);
    let api = stage.api(&supervisor);
    let row = api.closed(&session, &turn);
    is_interrupted(&row);
    assert!(!processes::is_alive(child));
    assert_eq!(sleeping(&stage), 0);
    assert!(supervisor.terminate().success());
}

#[test]
fn an_opencode_that_is_stopped_in_mid_answer_is_replaced_by_itself() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let (session, turn) = streams_with_tools(&stage, &supervisor, "hung");
    let (child, _) = child_of(&supervisor);
    send(child, Signal::STOP);
    let stopped = Instant::now();
    let api = stage.api(&supervisor);
    let row = api.closed(&session, &turn);
    println!(
        "SIGSTOP of opencode → its turn closed: {:?}",
        stopped.elapsed()
    );
    is_interrupted(&row);
    assert!(
        row["error"].to_string().contains("did not answer for"),
        "{row}"
    );
    assert!(!processes::is_alive(child));
    assert_eq!(sleeping(&stage), 0);
    let (_, next) = api.send("next", &json!({ "sessionId": session }), "and now");
    assert_eq!(api.closed(&session, &next)["state"], "complete");
    assert!(supervisor.terminate().success());
}

#[test]
fn a_child_killed_under_a_waiting_turn_is_replaced_at_once() {
    const ROUNDS: usize = 5;
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let worker = stage.worker(&supervisor);
    let opencodes = || -> Vec<u32> {
        let all = stage.home.processes();
        let serving = all.into_iter().filter(|(_, line)| line.contains(" serve "));
        serving.map(|(pid, _)| pid).collect()
    };
    let mut took: Vec<Duration> = Vec::new();
    for round in 0..ROUNDS {
        let prompt = script(
            &json!([[{ "text": "streams " }, { "stream": { "n": 3000, "rate": 20, "size": 4 } }]]),
        );
        let (session, turn) = api.send(&format!("a{round}"), &worker, &prompt);
        let (_, waiting) = api.send(
            &format!("b{round}"),
            &json!({ "sessionId": session }),
            "waits",
        );
        eventually("it streams", || api.streamed(&turn).contains("streams"));
        let row = supervisor.session("streams", |row| row["id"] == session.as_str());
        let child = row["agent_pid"].as_u64().expect("a pid") as u32;
        let before = opencodes();
        let killed = Instant::now();
        send(child, Signal::KILL);
        let deadline = Instant::now() + Duration::from_mins(1);
        while opencodes().iter().all(|pid| before.contains(pid)) {
            assert!(Instant::now() < deadline, "no successor");
        }
        took.push(killed.elapsed());
        assert_eq!(api.closed(&session, &waiting)["state"], "complete");
        assert_eq!(api.turn(&session, &turn)["state"], "interrupted");
        api.mutation("sessions:end", &json!({ "sessionId": session }));
        until("its child has ended", || {
            opencodes().is_empty().then_some(())
        });
    }
    took.sort();
    println!("child killed under a waiting turn → successor started: {took:?}");
    assert!(took[ROUNDS / 2] < Duration::from_secs(1), "{took:?}");
    assert!(supervisor.terminate().success());
}
