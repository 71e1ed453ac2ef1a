//! Children that die, and children that must not be left.

use orchestrator_test_support::{Stage, eventually, processes, script, text_of};
use rustix::process::{Pid, Signal, kill_process};
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
