//! Panics in the tree of a real supervisor, by the control verb that debug builds have.

use orchestrator_test_support::{Home, Model, Stage, Supervisor, eventually, script, text_of};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

fn slow(name: &str, pieces: u32) -> String {
    script(
        &json!([[{ "text": format!("{name} begins ") }, { "stream": { "n": pieces, "rate": 20, "size": 4 } }, { "text": " ends" }]]),
    )
}

fn restarts(supervisor: &Supervisor<'_>, pointer: &str) -> Value {
    supervisor
        .ps()
        .pointer(pointer)
        .cloned()
        .unwrap_or(Value::Null)
}

#[test]
fn a_panicking_session_is_replaced_and_its_sibling_goes_on() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let worker = stage.worker(&supervisor);
    let (a, turn_a) = api.send("m1", &worker, &slow("a", 3_000));
    let (b, turn_b) = api.send("m2", &worker, &slow("b", 100));
    for turn in [&turn_a, &turn_b] {
        eventually("it streams", || api.streamed(turn).contains("begins"));
    }
    stage
        .home
        .run(["debug", "panic", &format!("session/{a}")])
        .exits(0);
    assert_eq!(api.closed(&a, &turn_a)["state"], "interrupted");
    let (_, next) = api.send("m3", &json!({ "sessionId": a }), "and now");
    assert_eq!(api.closed(&a, &next)["state"], "complete");
    assert_eq!(stage.starts("a begins"), 1);
    let row = api.closed(&b, &turn_b);
    assert_eq!(row["state"], "complete");
    assert!(text_of(&row).ends_with(" ends"));
    let of = |id: &str| {
        supervisor.session("is there", |session| session["id"] == id)["restarts"].clone()
    };
    assert_eq!((of(&a), of(&b)), (json!(1), json!(0)));
    assert!(supervisor.terminate().success());
}

#[test]
fn a_panicking_worker_is_replaced_and_serves_again() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let worker = stage.worker(&supervisor);
    let (session, turn) = api.send("m1", &worker, &slow("a", 3_000));
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    stage
        .home
        .run([
            "debug",
            "panic",
            &format!("worker/{}", worker["workerId"].as_str().unwrap()),
        ])
        .exits(0);
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "interrupted", "{row}");
    let (_, next) = api.send("m2", &json!({ "sessionId": session }), "and now");
    assert_eq!(api.closed(&session, &next)["state"], "complete");
    assert_eq!(restarts(&supervisor, "/workers/0/restarts"), 1);
    assert_eq!(restarts(&supervisor, "/bridges/0/restarts"), 0);
    assert_eq!(stage.starts("a begins"), 1);
    assert!(supervisor.terminate().success());
}

#[test]
fn a_panicking_bridge_is_replaced_and_loses_no_chunk() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let text: String = (0..100).map(|n| format!("{n} ")).collect();
    let pieces: Vec<Value> = (0..100)
        .flat_map(|n| [json!({ "text": format!("{n} ") }), json!({ "sleep": 20 })])
        .collect();
    let (session, turn) = api.send("m1", &stage.worker(&supervisor), &script(&json!([pieces])));
    eventually("it streams", || api.streamed(&turn).contains("3 "));
    let bridge = supervisor.ps()["bridges"][0]["key"]
        .as_str()
        .expect("a key")
        .to_owned();
    stage.home.run(["debug", "panic", &bridge]).exits(0);
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    assert_eq!(text_of(&row), text);
    assert_eq!(restarts(&supervisor, "/bridges/0/restarts"), 1);
    assert_eq!(restarts(&supervisor, "/workers/0/restarts"), 0);
    assert_eq!(restarts(&supervisor, "/workers/0/sessions/0/restarts"), 0);
    assert!(supervisor.terminate().success());
}

#[test]
fn a_panicking_root_ends_the_process_with_its_reason() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    stage.home.run(["debug", "panic", "machine"]).exits(0);
    eventually("the process has ended", || stage.home.run(["ps"]).code == 4);
    let printed = supervisor.printed();
    assert!(
        printed.contains("the root of the actor tree crashed"),
        "{printed}"
    );
    assert_eq!(supervisor.terminate().code(), Some(1));
}

#[test]
fn a_stuck_actor_is_named_in_ps_and_a_restart_replaces_it() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let worker = stage.worker(&supervisor);
    let key = format!("worker/{}", worker["workerId"].as_str().unwrap());
    stage.home.run(["ps", "--check"]).exits(0);
    stage.home.run(["debug", "block", &key, "600000"]).exits(0);
    eventually("ps names it", || {
        !supervisor.ps()["workers"][0]["health"]["stuck"].is_null()
    });
    let stuck = supervisor.ps()["workers"][0]["health"]["stuck"].clone();
    assert_eq!(stuck["doing"], "Fault");
    assert!(stuck["for_ms"].as_u64().unwrap() >= 5_000, "{stuck}");
    let shown = stage.home.run(["ps", "--check"]).exits(1).stdout;
    assert!(shown.contains("stuck in Fault for "), "{shown}");
    let (session, turn) = api.send("m1", &worker, "who is there");
    stage.home.run(["restart", &key]).exits(0);
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    assert!(supervisor.ps()["workers"][0]["health"]["stuck"].is_null());
    let largest = supervisor.ps()["machine"]["mailbox_largest"].clone();
    assert!(largest.as_u64().unwrap() >= 1, "{largest}");
    assert!(supervisor.terminate().success());
}

#[test]
fn an_interrupted_turn_goes_on_under_the_policy_continue_and_is_asked_once() {
    let model = Model::start(ORCHESTRATOR);
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let mut home = Home::new(ORCHESTRATOR);
    home.set("ORCHESTRATOR_DEMO_MODEL", model.url());
    home.enrol(&api, deployment.url(), "shop");
    let text = std::fs::read_to_string(home.config_file()).expect("a configuration");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["defaults"] = json!({ "interrupted_turns": "continue" });
    home.write_config(&config);
    let supervisor = home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), &slow("a", 3_000));
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    let (_, later) = api.send("m2", &json!({ "sessionId": session }), "and then");
    home.run(["debug", "panic", &format!("session/{session}")])
        .exits(0);
    assert_eq!(api.closed(&session, &turn)["state"], "interrupted");
    let row = api.turn(&session, "turn_m1.continued");
    assert_eq!(row["continues"], turn.as_str(), "{row}");
    // It is answered before the message that waited; the policy goes on with nothing twice.
    api.mutation("messages:abort", &json!({ "turnId": "turn_m1.continued" }));
    let row = api.closed(&session, "turn_m1.continued");
    // It may have been quicker than its owner.
    assert!(
        row["state"] == "aborted" || row["state"] == "complete",
        "{row}"
    );
    assert_eq!(api.closed(&session, &later)["state"], "complete");
    assert_eq!(
        api.turn(&session, "turn_m1.continued.continued"),
        Value::Null
    );
    assert!(supervisor.terminate().success());
}
