//! `orchestrator restart` without a name: the supervisor stops in order and starts again in the same process.

use orchestrator_test_support::{Stage, eventually, processes};

use crate::ORCHESTRATOR;
use crate::stage::long_answer;

#[test]
fn a_restarted_supervisor_is_the_same_process_and_goes_on_with_its_sessions() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let home = &stage.home;
    home.run(["send", "--wait", "remember me"]).exits(0);
    let before = home.run(["ps", "--json"]).json();
    let children = processes::descendants(supervisor.pid());

    let restarted = home.run(["restart"]).exits(0);
    let said = format!("(pid {})", supervisor.pid());
    assert!(restarted.stderr.contains(&said), "{}", restarted.stderr);
    let after = home.run(["ps", "--json"]).json();
    assert_eq!(before["machine"]["id"], after["machine"]["id"]);
    let left = processes::descendants(supervisor.pid());
    assert!(
        !children.iter().any(|child| left.contains(child)),
        "before {children:?}, after {left:?}"
    );

    let answer = home
        .run(["send", "--to", "remember me", "--wait", "and again"])
        .exits(0);
    assert!(
        answer.stdout.contains("one earlier message"),
        "{}",
        answer.stdout
    );
    assert!(supervisor.terminate().success());
}

#[test]
fn a_turn_that_runs_at_a_restart_is_closed_and_the_queue_goes_on_by_itself() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let home = &stage.home;
    let api = stage.api(&supervisor);
    let (session, cut) = api.send("m1", &stage.worker(&supervisor), &long_answer(60));
    eventually("it streams", || !api.streamed(&cut).is_empty());
    let to = serde_json::json!({ "sessionId": session });
    let (_, queued) = api.send("m2", &to, "and this one");

    home.run(["restart"]).exits(0);
    let api = stage.api(&supervisor);
    assert_eq!(api.closed(&session, &cut)["state"], "interrupted");
    assert_eq!(api.closed(&session, &queued)["state"], "complete");
    assert!(supervisor.terminate().success());
}

#[test]
fn what_a_supervisor_in_the_background_said_stays_when_it_is_started_again() {
    let stage = Stage::new(ORCHESTRATOR);
    let home = &stage.home;
    home.run(["run", "--local", "--demo", "--port", "0", "--detach"])
        .exits(0);
    let log = home.state().join("logs/detached.log");
    home.run(["restart"]).exits(0);
    home.run(["stop"]).exits(0);
    let said = std::fs::read_to_string(log).expect("its words");
    assert!(!said.contains('\0'), "{said:?}");
    for word in ["starting again", "worker      shop ", "stopped in "] {
        assert!(said.contains(word), "{word}: {said}");
    }
}
