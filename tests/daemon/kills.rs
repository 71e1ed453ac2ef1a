//! `kill -9` of the supervisor: nothing lost, nothing run twice, nothing left behind.

use std::time::{Duration, Instant};

use orchestrator_test_support::{
    Home, Model, Proxy, Stage, eventually, processes, script, text_of,
};
use serde_json::json;

use crate::ORCHESTRATOR;

#[test]
fn a_killed_supervisor_leaves_no_descendant_and_its_successor_settles_both_turns() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let prompt = script(&json!([
        [{ "text": "first begins" }, { "tool": "bash", "args": { "command": "sleep 600", "description": "waits" } }],
        [{ "text": "never said" }],
    ]));
    let (session, first) = api.send("m1", &stage.worker(&supervisor), &prompt);
    let (_, second) = api.send("m2", &json!({ "sessionId": session }), "second message");
    let sleeping = || {
        let mut descendants = processes::descendants(supervisor.pid()).into_iter();
        descendants.any(|pid| processes::command_line(pid).contains("sleep 600"))
    };
    eventually("the tool runs", sleeping);
    eventually("text streams", || {
        api.streamed(&first).contains("first begins")
    });
    let descendants = processes::descendants(supervisor.pid());
    supervisor.kill();
    let deadline = Instant::now() + Duration::from_secs(2);
    eventually("no descendant is alive", || {
        !descendants.iter().any(|pid| processes::is_alive(*pid))
    });
    assert!(
        Instant::now() < deadline,
        "the descendants outlived their supervisor by more than 2 s"
    );

    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let row = api.closed(&session, &first);
    assert_eq!(row["state"], "interrupted", "{row}");
    assert!(text_of(&row).contains("first begins"), "{row}");
    let row = api.closed(&session, &second);
    assert_eq!(row["state"], "complete", "{row}");
    assert!(text_of(&row).contains("second message"), "{row}");
    assert_eq!(stage.starts("first begins"), 1);
    assert_eq!(stage.starts("second message"), 1);
    assert!(supervisor.terminate().success());
}

#[test]
fn an_answer_that_was_complete_but_not_acknowledged_is_whole_after_a_kill() {
    let model = Model::start(ORCHESTRATOR);
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let proxy = Proxy::to(deployment.address());
    let mut home = Home::new(ORCHESTRATOR);
    home.set("ORCHESTRATOR_DEMO_MODEL", model.url());
    let api = deployment.api();
    home.enrol(&api, &proxy.url(), "shop");
    let supervisor = home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let prompt =
        script(&json!([[{ "text": "the " }, { "sleep": 1500 }, { "text": "whole answer" }]]));
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), &prompt);
    eventually("it streams", || api.streamed(&turn).contains("the "));
    proxy.hold();
    supervisor.session("has answered", |session| {
        session["turn"].is_string() && session["chunks"].as_u64() >= Some(2)
    });
    eventually("the model is done", || {
        let stats = model.stats();
        stats["requests"].as_u64() >= Some(1)
    });
    // The finish is on its way and cannot arrive.
    eventually("the finish waits in the outbox", || {
        supervisor.ps()["machine"]["outbox"].as_u64() >= Some(1)
    });
    supervisor.kill();
    proxy.cut();
    proxy.release();
    assert_eq!(api.turn(&session, &turn)["state"], "claimed");
    let supervisor = home.supervisor(["run", "--demo", "--no-input"]);
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    assert_eq!(text_of(&row), "the whole answer");
    assert_eq!(model.stats()["prompts"][0]["starts"], 1);
    assert!(supervisor.terminate().success());
}
