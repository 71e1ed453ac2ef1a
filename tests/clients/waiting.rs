//! How long a message may wait for a supervisor, as whoever runs the embedded deployment has set it.

use orchestrator_test_support::{Home, eventually};
use serde_json::json;

use crate::ORCHESTRATOR;

#[test]
fn a_message_waits_as_long_as_is_set() {
    let mut home = Home::bare(ORCHESTRATOR);
    home.set("ORCHESTRATOR_QUEUED_LIMIT", "1s");
    let deployment = home.deployment();
    let api = deployment.api();
    home.enrol(&api, deployment.url(), "shop");
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), "hello");
    eventually("the turn is closed", || {
        api.turn(&session, &turn)["state"] == "failed"
    });
    let error = &api.turn(&session, &turn)["error"];
    assert_eq!(error["code"], "expired", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("within 1 second:"), "{message}");
}

#[test]
fn a_limit_that_makes_no_sense_is_refused_at_the_start() {
    for (variable, value) in [
        ("ORCHESTRATOR_QUEUED_LIMIT", "soon"),
        ("ORCHESTRATOR_ABANDONED_LIMIT", "5s"),
    ] {
        let mut home = Home::bare(ORCHESTRATOR);
        home.set(variable, value);
        let refused = home.run(["deployment", "run", "--port", "0"]).exits(1);
        let named = format!("{variable}={value}: ");
        assert!(refused.stderr.contains(&named), "{}", refused.stderr);
    }
}
