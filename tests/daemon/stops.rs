//! A stop, or a failure, while the supervisor is coming up: what it holds already is given back in order.

use orchestrator_test_support::{Api, Deployment, Home, Model, Proxy, eventually};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

fn home(model: &Model) -> Home {
    let mut home = Home::new(ORCHESTRATOR);
    home.set("ORCHESTRATOR_DEMO_MODEL", model.url());
    home
}

/// Whether the worker's token was given back, and not only left to its missing beats.
fn is_given_back(api: &Api, worker: &str) -> bool {
    let rows = api.query("presence:list", &json!({}));
    let rows = rows.as_array().cloned().unwrap_or_default();
    rows.iter()
        .any(|row| row["workerId"] == worker && row["disconnected"] == true)
}

fn is_held(api: &Api, worker: &str) -> bool {
    let rows = api.query("presence:list", &json!({}));
    let rows = rows.as_array().cloned().unwrap_or_default();
    rows.iter()
        .any(|row| row["workerId"] == worker && row["disconnected"] == false)
}

/// A second worker, whose deployment is behind the proxy.
fn add_worker_behind(home: &Home, proxy: &Proxy, deployment: &Deployment<'_>) {
    let api = deployment.api();
    let text = std::fs::read_to_string(home.config_file()).expect("a configuration");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    let directory = home.dir("far");
    let created = api.mutation(
        "workers:create",
        &json!({ "workerId": "far", "machineId": "testmachine", "name": "far", "directory": directory }),
    );
    let worker = json!({ "token": created["token"], "working_directory": directory, "convex_url": proxy.url() });
    config["workers"]
        .as_array_mut()
        .expect("a list")
        .push(worker);
    home.write_config(&config);
}

#[test]
fn a_signal_while_the_start_waits_for_its_workers_stops_in_order() {
    let model = Model::start(ORCHESTRATOR);
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let home = home(&model);
    home.enrol(&api, deployment.url(), "shop");
    let proxy = Proxy::to(deployment.address());
    // It accepts and says nothing: neither there nor away, so the start waits.
    proxy.hold();
    add_worker_behind(&home, &proxy, &deployment);
    let supervisor = home.supervisor(["run", "--demo", "--no-input"]);
    eventually("the token is held", || is_held(&api, "shop"));
    let printed = supervisor.printed();
    assert!(
        !printed.contains("far"),
        "the start waits no more: {printed}"
    );
    assert!(supervisor.terminate().success());
    assert!(is_given_back(&api, "shop"));
}

#[test]
fn a_start_that_fails_when_its_tree_is_up_gives_its_tokens_back() {
    let model = Model::start(ORCHESTRATOR);
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let home = home(&model);
    home.enrol(&api, deployment.url(), "shop");
    // The control socket is opened last, and its folder cannot be made.
    let runtime = std::path::Path::new(home.get("XDG_RUNTIME_DIR")).join("opencode-orchestrator");
    std::fs::write(&runtime, "").expect("a file in the folder's place");
    let failed = home.run(["run", "--demo", "--no-input"]);
    assert_ne!(failed.code, 0);
    let named = runtime.display().to_string();
    assert!(failed.stderr.contains(&named), "{}", failed.stderr);
    // It may have failed before it was given the token; it must not hold it.
    assert!(!is_held(&api, "shop"));
}
