//! The official clients, as they come from their registries.

use std::process::Command;

use orchestrator_test_support::{Api, Package, Python, Stage, Supervisor, script};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

/// What a client's program says about a turn that it held with this prompt.
fn chat(
    stage: &Stage,
    supervisor: &Supervisor<'_>,
    api: &Api,
    mut client: Command,
    prompt: &str,
) -> Value {
    let worker = stage.worker(supervisor)["workerId"].clone();
    client
        .args(["--url", api.url(), "--timeout", "80", "--text", prompt])
        .args(["--worker", worker.as_str().unwrap()])
        .env("ORCHESTRATOR_OWNER_TOKEN", api.token());
    stage.home.finish(client, "").exits(0).json()
}

/// A plain answer, and a long one that is folded by the scheduler and read in windows meanwhile.
fn holds_turns(client: impl Fn(&Stage) -> Command) {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let short = script(&json!([[{ "text": "forty-" }, { "text": "two" }]]));
    let said = chat(&stage, &supervisor, &api, client(&stage), &short);
    assert_eq!(
        (&said["state"], &said["answer"], &said["error"]),
        (&json!("complete"), &json!("forty-two"), &Value::Null),
        "{said}"
    );
    // Queued, and over: at least these were seen.
    assert!(said["updates"].as_u64().unwrap() >= 2, "{said}");
    let session = said["sessionId"].as_str().unwrap();
    let turn = said["turnId"].as_str().unwrap();
    assert_eq!(api.turn(session, turn)["state"], "complete");

    let long =
        script(&json!([[{ "stream": { "n": 300, "rate": 1000, "size": 8 } }, { "text": " end" }]]));
    let said = chat(&stage, &supervisor, &api, client(&stage), &long);
    let answer = said["answer"].as_str().unwrap();
    assert!(answer.len() > 300 * 8 && answer.ends_with(" end"), "{said}");
    assert!(supervisor.terminate().success());
}

#[test]
fn the_npm_client_holds_a_turn() {
    let package = Package::get();
    holds_turns(|stage| package.client(&stage.home, "npm-chat.mjs"));
}

#[test]
fn the_pypi_client_holds_a_turn() {
    let python = Python::get();
    holds_turns(|stage| python.client(&stage.home, "python_chat.py"));
}

#[test]
fn the_npm_http_client_asks_and_is_told_why_not() {
    let package = Package::get();
    let stage = Stage::new(ORCHESTRATOR);
    let deployment = stage.home.deployment();
    let api = deployment.api();
    let call = |token: &str, kind: &str, function: &str, args: Value| {
        let mut client = package.client(&stage.home, "npm-call.mjs");
        client.args([api.url(), kind, function, &args.to_string()]);
        if !token.is_empty() {
            client.env("ORCHESTRATOR_OWNER_TOKEN", token);
        }
        stage.home.finish(client, "")
    };
    let machine = json!({ "machineId": "m1", "name": "laptop", "hostname": "laptop", "os": "linux", "tools": [] });
    let registered = call(api.token(), "mutation", "machines:register", machine).exits(0);
    assert_eq!(registered.json()["value"], json!({ "machineId": "m1" }));
    let listed = call(api.token(), "query", "machines:list", json!({})).exits(0);
    assert_eq!(listed.json()["value"][0]["name"], "laptop");

    let refused = call("", "query", "machines:list", json!({}))
        .exits(1)
        .json();
    assert_eq!(refused["error"]["code"], "unauthorized", "{refused}");
    // Not by the function but by the deployment, before any function runs.
    let forged = format!("{}x", api.token());
    let refused = call(&forged, "query", "machines:list", json!({}))
        .exits(1)
        .json();
    assert_eq!(refused["error"]["code"], "client", "{refused}");
    let unknown = json!({ "sessionId": "nowhere" });
    let refused = call(api.token(), "query", "messages:list", unknown)
        .exits(1)
        .json();
    assert_eq!(refused["error"]["code"], "not_found", "{refused}");
}
