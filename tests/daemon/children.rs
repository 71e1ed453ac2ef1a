//! Children that die, and children that must not be left.

use orchestrator_test_support::{Home, Model, Stage, eventually, processes, script, text_of};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

fn slow(name: &str) -> String {
    script(
        &json!([[{ "text": format!("{name} begins ") }, { "stream": { "n": 3000, "rate": 20, "size": 4 } }]]),
    )
}

#[test]
fn a_child_killed_in_mid_answer_interrupts_its_turn_and_nobody_elses() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let worker = stage.worker(&supervisor);
    let (first, turn) = api.send("m1", &worker, &slow("victim"));
    let (second, other) = api.send(
        "m2",
        &worker,
        &script(&json!([[{ "text": "sibling begins " }, { "stream": { "n": 200, "rate": 20, "size": 4 } }, { "text": " sibling ends" }]])),
    );
    for (name, turn) in [("victim", &turn), ("sibling", &other)] {
        eventually(&format!("{name} streams"), || {
            api.streamed(turn).contains("begins")
        });
    }
    let session = supervisor.session("is the victim", |session| session["id"] == first.as_str());
    let pid = Pid::from_raw(session["agent_pid"].as_i64().expect("a pid") as i32).expect("a pid");
    kill_process(pid, Signal::KILL).expect("a kill");
    let row = api.closed(&first, &turn);
    assert_eq!(row["state"], "interrupted", "{row}");
    assert!(text_of(&row).starts_with("victim begins "), "{row}");
    let (_, next) = api.send("m3", &json!({ "sessionId": first }), "and now");
    assert_eq!(api.closed(&first, &next)["state"], "complete");
    let stats = stage.model.stats();
    let last = stats["history"].as_array().expect("requests").iter().rev();
    let resumed = last
        .map(|request| request["messages"].to_string())
        .find(|text| text.contains("and now"));
    assert!(
        resumed.is_some_and(|text| text.contains("victim")),
        "the conversation goes on where it was"
    );
    assert_eq!(stage.starts("victim begins"), 1);
    let row = api.closed(&second, &other);
    assert_eq!(row["state"], "complete", "{row}");
    assert!(text_of(&row).ends_with("sibling ends"));
    let sibling = supervisor.session("is the sibling", |session| session["id"] == second.as_str());
    assert_eq!(sibling["restarts"], 0);
    assert!(supervisor.terminate().success());
}

#[test]
fn sigterm_with_a_busy_session_ends_it_interrupted_and_leaves_nothing() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let (session, turn) = api.send("m1", &stage.worker(&supervisor), &slow("busy"));
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    let descendants = processes::descendants(supervisor.pid());
    assert!(!descendants.is_empty());
    assert!(supervisor.terminate().success());
    for pid in descendants {
        assert!(
            !processes::is_alive(pid),
            "{pid} is left: {}",
            processes::command_line(pid)
        );
    }
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "interrupted", "{row}");
    assert!(text_of(&row).starts_with("busy begins "), "{row}");
    assert!(supervisor.terminate().success());
}

#[test]
fn an_abort_stops_the_answer_and_keeps_its_text() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let (session, turn) = api.send("m1", &stage.worker(&supervisor), &slow("long"));
    let (_, queued) = api.send("m2", &json!({ "sessionId": session }), "never mind");
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    api.mutation("messages:abort", &json!({ "turnId": queued }));
    assert_eq!(api.closed(&session, &queued)["state"], "aborted");
    api.mutation("messages:abort", &json!({ "turnId": turn }));
    let row: Value = api.closed(&session, &turn);
    assert_eq!(row["state"], "aborted", "{row}");
    assert!(text_of(&row).starts_with("long begins "), "{row}");
    assert_eq!(stage.starts("never mind"), 0);
    assert!(supervisor.terminate().success());
}

#[test]
fn a_moment_without_descriptors_costs_no_turn() {
    let model = Model::start(ORCHESTRATOR);
    // A deployment of its own: it needs descriptors, too.
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let mut home = Home::new(ORCHESTRATOR);
    home.set("ORCHESTRATOR_DEMO_MODEL", model.url());
    home.enrol(&api, deployment.url(), "shop");
    let supervisor = home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let all = getrlimit(Resource::Nofile);
    let pid = Pid::from_raw(supervisor.pid() as i32);
    let none = processes::descriptors(supervisor.pid()).len() as u64;
    let none = Rlimit {
        current: Some(none),
        maximum: all.maximum,
    };
    prlimit(pid, Resource::Nofile, none).expect("a limit");
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), "hello");
    let logs = std::path::Path::new(home.get("XDG_STATE_HOME")).join("opencode-orchestrator/logs");
    eventually("there is no room for the assistant", || {
        let mut files = std::fs::read_dir(&logs).expect("logs").flatten();
        files.any(|file| {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            text.contains("a start waits until the machine can")
        })
    });
    prlimit(pid, Resource::Nofile, all).expect("a limit");
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    assert!(supervisor.terminate().success());
}
