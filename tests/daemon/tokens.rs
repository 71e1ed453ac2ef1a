//! A token that is revoked while its worker answers.

use orchestrator_test_support::{Home, Model, eventually, processes, script};
use serde_json::json;

use crate::ORCHESTRATOR;

#[test]
fn a_token_revoked_in_the_middle_of_an_answer_ends_it_and_serves_again_once_approved() {
    let model = Model::start(ORCHESTRATOR);
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let mut home = Home::new(ORCHESTRATOR);
    home.set("ORCHESTRATOR_DEMO_MODEL", model.url());
    home.enrol(&api, deployment.url(), "shop");
    let supervisor = home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let prompt = script(
        &json!([[{ "text": "begins " }, { "stream": { "n": 6000, "rate": 20, "size": 4 } }]]),
    );
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), &prompt);
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    let children = processes::descendants(supervisor.pid());

    api.mutation("workers:revoke", &json!({ "workerId": "shop" }));
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "failed", "{row}");
    assert_eq!(row["error"]["code"], "revoked", "{row}");
    supervisor.workers_are("revoked");
    eventually("its assistant is gone", || {
        !children.iter().any(|pid| processes::is_alive(*pid))
    });

    api.mutation("workers:approve", &json!({ "workerId": "shop" }));
    supervisor.workers_are("ready");
    let (_, again) = api.send("m2", &json!({ "sessionId": session }), "and now");
    assert_eq!(api.closed(&session, &again)["state"], "complete");
    let stats = model.stats();
    let prompts = stats["prompts"].as_array().expect("prompts");
    assert!(
        prompts.iter().all(|prompt| prompt["starts"] == 1),
        "a prompt was given twice"
    );
    eventually("nothing waits", || {
        supervisor.ps()["machine"]["outbox"] == 0
    });
    assert!(supervisor.terminate().success());
}
