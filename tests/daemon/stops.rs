//! A stop, or a failure, while the supervisor is coming up: what it holds already is given back in order.

use std::path::PathBuf;

use orchestrator_test_support::{Api, Deployment, Home, Model, Proxy, Stage, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::stage::long_answer;

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

/// What is in a folder of the state folder.
fn left_in(home: &Home, folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(home.state().join(folder))
        .into_iter()
        .flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn session_locks(home: &Home) -> Vec<PathBuf> {
    let mut locks = left_in(home, "run/locks");
    locks.retain(|lock| {
        lock.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("session-")
    });
    locks
}

#[test]
fn a_forced_stop_leaves_no_journal_entry_and_no_lock_file_of_a_session() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let (_, turn) = api.send("m1", &stage.worker(&supervisor), &long_answer(60));
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    assert_eq!(left_in(&stage.home, "children").len(), 1);
    assert_eq!(session_locks(&stage.home).len(), 1);
    stage.home.run(["stop", "--force"]).exits(0);
    eventually("its journal is empty and its locks are gone", || {
        left_in(&stage.home, "children").is_empty() && session_locks(&stage.home).is_empty()
    });
}

#[test]
fn a_session_whose_assistant_was_stopped_leaves_no_lock_file() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run_with(&["--idle-timeout", "200ms"]);
    let api = stage.api(&supervisor);
    let (session, turn) = api.send("m1", &stage.worker(&supervisor), "hello");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    eventually("its lock file is gone", || {
        session_locks(&stage.home).is_empty()
    });
    let (_, again) = api.send("m2", &json!({ "sessionId": session }), "and again");
    assert_eq!(api.closed(&session, &again)["state"], "complete");
    assert!(supervisor.terminate().success());
    assert!(session_locks(&stage.home).is_empty());
}

#[test]
fn a_signal_that_is_delivered_twice_is_one_and_a_later_one_insists() {
    let stage = Stage::new(ORCHESTRATOR);
    let begun = |supervisor: &orchestrator_test_support::Supervisor<'_>, id: &str| {
        let api = stage.api(supervisor);
        let (_, turn) = api.send(id, &stage.worker(supervisor), &long_answer(60));
        eventually("it streams", || api.streamed(&turn).contains("begins"));
    };
    let supervisor = stage.run();
    begun(&supervisor, "m1");
    supervisor.signal(Signal::TERM);
    supervisor.signal(Signal::INT);
    assert!(
        supervisor.terminate().success(),
        "it was taken for insisting"
    );

    // With a warden that is stopped it cannot end in order.
    let supervisor = stage.run();
    begun(&supervisor, "m2");
    let pid = supervisor.session("runs", |row| row["agent_pid"].is_u64())["agent_pid"]
        .as_u64()
        .unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let warden: i32 = stat
        .rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let warden = rustix::process::Pid::from_raw(warden).unwrap();
    rustix::process::kill_process(warden, Signal::STOP).unwrap();
    let first = std::time::Instant::now();
    supervisor.signal(Signal::TERM);
    eventually("it is another one", || first.elapsed().as_millis() > 600);
    let ended = supervisor.terminate();
    rustix::process::kill_process(warden, Signal::CONT).unwrap();
    assert_eq!(ended.code(), Some(1));
    let file = std::fs::read_to_string(stage.home.state().join("daemon.json")).unwrap();
    assert!(file.contains("forced"), "{file}");
    eventually("nothing is left", || stage.home.processes().is_empty());
}
