//! More to do than the machine has room for, with the real OpenCode: everything is answered, in its turn.

use std::time::Instant;

use orchestrator_test_support::{Stage, Supervisor, eventually, script, text_of};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

/// A supervisor over so many directories.
fn over(stage: &Stage, workers: usize) -> Supervisor<'_> {
    let mut args: Vec<String> = ["run", "--demo", "--port", "0", "--local"]
        .map(str::to_owned)
        .to_vec();
    for number in 0..workers {
        let directory = stage.home.dir(&format!("dir{number}"));
        args.push(directory.display().to_string());
    }
    let supervisor = stage.home.supervisor(args);
    supervisor.workers_are("ready");
    supervisor
}

fn ids(supervisor: &Supervisor<'_>) -> Vec<Value> {
    let ps = supervisor.ps();
    let workers = ps["workers"].as_array().expect("workers");
    workers.iter().map(|worker| worker["id"].clone()).collect()
}

/// Sends a message to every worker and waits for all answers.
fn all_answer(stage: &Stage, supervisor: &Supervisor<'_>) {
    let api = stage.api(supervisor);
    let sent: Vec<_> = ids(supervisor)
        .iter()
        .enumerate()
        .map(|(number, worker)| {
            let text = format!("hello from {number}");
            let to = json!({ "workerId": worker });
            (api.send(&format!("m{number}"), &to, &text), text)
        })
        .collect();
    for ((session, turn), text) in &sent {
        let row = api.closed(session, turn);
        assert_eq!(row["state"], "complete", "{row}");
        assert!(text_of(&row).contains(text.as_str()), "{row}");
    }
    for session in supervisor.sessions() {
        assert_eq!(session["restarts"], 0, "{session}");
        assert_eq!(session["last_error"], Value::Null, "{session}");
    }
}

#[test]
fn ten_workers_that_are_asked_at_once_all_come_up() {
    let mut stage = Stage::new(ORCHESTRATOR);
    stage.home.set("ORCHESTRATOR_MAX_ASSISTANTS", "10");
    let supervisor = over(&stage, 10);
    let begun = Instant::now();
    all_answer(&stage, &supervisor);
    println!(
        "ten workers asked at once → all have answered: {:?}",
        begun.elapsed()
    );
    let live = supervisor.sessions();
    let live = live.iter().filter(|session| session["agent_pid"].is_u64());
    assert_eq!(live.count(), 10);
    assert!(supervisor.terminate().success());
}

#[test]
fn four_workers_with_places_for_two_assistants_are_all_answered() {
    let mut stage = Stage::new(ORCHESTRATOR);
    stage.home.set("ORCHESTRATOR_MAX_ASSISTANTS", "2");
    let supervisor = over(&stage, 4);
    all_answer(&stage, &supervisor);
    let sessions = supervisor.sessions();
    let live = sessions
        .iter()
        .filter(|session| session["agent_pid"].is_u64());
    assert!(live.count() <= 2, "{sessions:?}");
    let given_up = |session: &Value| {
        let detail = session["detail"].as_str().unwrap_or_default();
        detail.contains("given up: another session waits for its place")
    };
    assert!(sessions.iter().any(given_up), "{sessions:?}");
    assert!(supervisor.terminate().success());
}

#[test]
fn a_session_that_waits_for_a_place_says_so() {
    let mut stage = Stage::new(ORCHESTRATOR);
    stage.home.set("ORCHESTRATOR_MAX_ASSISTANTS", "1");
    let supervisor = over(&stage, 2);
    let api = stage.api(&supervisor);
    let workers = ids(&supervisor);
    let busy =
        script(&json!([[{ "text": "busy " }, { "stream": { "n": 3000, "rate": 20, "size": 4 } }]]));
    let (first, turn) = api.send("m1", &json!({ "workerId": workers[0] }), &busy);
    eventually("it streams", || api.streamed(&turn).contains("busy"));
    let (second, waiting) = api.send("m2", &json!({ "workerId": workers[1] }), "and me");
    supervisor.session("waits for a place", |session| {
        let detail = session["detail"].as_str().unwrap_or_default();
        session["id"] == second.as_str() && detail.contains("waits for a place: 1 assistants")
    });
    api.mutation("messages:abort", &json!({ "turnId": turn }));
    assert_eq!(api.closed(&first, &turn)["state"], "aborted");
    assert_eq!(api.closed(&second, &waiting)["state"], "complete");
    assert!(supervisor.terminate().success());
}

#[test]
fn an_assistant_above_the_memory_limit_is_replaced_between_turns_and_ps_says_why() {
    let mut stage = Stage::new(ORCHESTRATOR);
    // Less than OpenCode begins with.
    stage.home.set("ORCHESTRATOR_MAX_MEMORY_MB", "256");
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let (session, turn) = api.send("m1", &stage.worker(&supervisor), "hello");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    let idle = supervisor.session("has given its child up", |session| {
        session["phase"] == "idle" && session["agent_pid"].is_null()
    });
    let detail = idle["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("MB of memory, and 256 MB are allowed"),
        "{idle}"
    );
    assert_eq!(idle["restarts"], 0, "{idle}");
    let (_, next) = api.send("m2", &json!({ "sessionId": session }), "and now");
    assert_eq!(api.closed(&session, &next)["state"], "complete");
    assert!(supervisor.terminate().success());
}
