//! One supervisor per token.

use orchestrator_test_support::{Home, Model, eventually, processes, script};
use serde_json::json;

use crate::ORCHESTRATOR;

#[test]
fn a_second_home_is_refused_the_token_and_takes_it_over_only_when_told_to() {
    let model = Model::start(ORCHESTRATOR);
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let mut first = Home::new(ORCHESTRATOR);
    let mut second = Home::new(ORCHESTRATOR);
    for home in [&mut first, &mut second] {
        home.set("ORCHESTRATOR_DEMO_MODEL", model.url());
    }
    first.enrol(&api, deployment.url(), "shop");
    second.adopt(&first);
    let holder = first.supervisor(["run", "--demo", "--no-input"]);
    holder.workers_are("ready");
    let prompt = script(
        &json!([[{ "text": "begins " }, { "stream": { "n": 3000, "rate": 20, "size": 4 } }]]),
    );
    let (_, turn) = api.send("m1", &json!({ "workerId": "shop" }), &prompt);
    eventually("it streams", || api.streamed(&turn).contains("begins"));

    let refused = second.run(["run", "--demo", "--no-input"]).exits(1);
    assert!(refused.stderr.contains("--take-over"), "{}", refused.stderr);
    assert_eq!(
        refused.stderr.matches("stop that one").count()
            + refused.stderr.matches("stop the other").count(),
        1,
        "it says the same twice: {}",
        refused.stderr
    );

    let children = processes::descendants(holder.pid());
    let taker = second.supervisor(["run", "--demo", "--no-input", "--take-over"]);
    taker.workers_are("ready");
    holder.workers_are("displaced");
    let agent = |pid: &u32| processes::command_line(*pid).contains("opencode");
    eventually("the first has stopped its children", || {
        !children
            .iter()
            .filter(|pid| agent(pid))
            .any(|pid| processes::is_alive(*pid))
    });
    // A restart of the displaced one comes to nothing, and says so.
    let restarted = first.run(["restart", "shop"]).exits(1);
    assert!(
        restarted.stderr.contains("worker shop is failed")
            && restarted.stderr.contains("--take-over"),
        "{}",
        restarted.stderr
    );
    let (session, turn) = api.send("m2", &json!({ "workerId": "shop" }), "who is there");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    assert!(taker.terminate().success());
    assert!(holder.terminate().success());
}
