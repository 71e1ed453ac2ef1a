//! `orchestrator doctor` beside real supervisors: one that runs, one that was killed and left its socket and a tool, and
//! deployments that answer and that do not.

use std::os::unix::net::UnixListener;
use std::process::Child;

use orchestrator_test_support::{Home, Stage, eventually};
use serde_json::Value;

use crate::ORCHESTRATOR;

fn findings(home: &Home, args: &[&str]) -> Vec<Value> {
    let all = ["doctor", "--json"].iter().chain(args);
    let told = home.run(all).json();
    told["findings"].as_array().unwrap().clone()
}

fn of(findings: &[Value], check: &str) -> Value {
    let found = findings.iter().find(|one| one["check"] == check);
    found
        .cloned()
        .unwrap_or_else(|| panic!("no {check} in {findings:?}"))
}

/// The marker that the assistant of a session carries.
fn marker(pid: u64) -> String {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let variables = String::from_utf8_lossy(&environment).into_owned();
    let marker = variables
        .split('\0')
        .find_map(|one| one.strip_prefix("ORCHESTRATOR_MARKER="));
    marker.unwrap().to_owned()
}

struct Tool(Child);

impl Tool {
    fn with(home: &Home, marker: &str) -> Self {
        let child = home
            .foreign("sleep")
            .arg("600")
            .env("ORCHESTRATOR_MARKER", marker)
            .spawn();
        Self(child.unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_a_killed_supervisor_left_is_found_and_ended_and_nothing_else_is() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    stage.home.run(["send", "hello", "--wait"]).exits(0);
    let session = supervisor.session("has an assistant", |one| one["agent_pid"].is_u64());
    let marker = marker(session["agent_pid"].as_u64().unwrap());
    let found = findings(&stage.home, &["--offline", "--fix"]);
    assert!(
        of(&found, "supervisor")["text"]
            .as_str()
            .unwrap()
            .starts_with("running (pid ")
    );
    // What belongs to one that runs is left alone.
    stage.home.run(["ps", "--check"]).exits(0);
    let still = supervisor.session("has its assistant", |one| one["agent_pid"].is_u64());
    assert_eq!(still["agent_pid"], session["agent_pid"]);
    supervisor.kill();
    let mut orphan = Tool::with(&stage.home, &marker);
    let mut stranger = Tool::with(&stage.home, "0123456789abcdef:somebody");
    eventually("its wardens have ended their children", || {
        let text = of(&findings(&stage.home, &["--offline"]), "orphans");
        text["text"].as_str().unwrap().starts_with("1 process ")
    });
    let found = findings(&stage.home, &["--offline"]);
    assert_eq!(of(&found, "supervisor")["level"], "warn");
    assert_eq!(of(&found, "remains")["next"], "orchestrator doctor --fix");
    assert!(orphan.lives());
    let fixed = findings(&stage.home, &["--offline", "--fix"]);
    assert_eq!(of(&fixed, "orphans")["fixed"], true, "{fixed:?}");
    assert_eq!(of(&fixed, "remains")["fixed"], true, "{fixed:?}");
    eventually("the orphan is gone", || !orphan.lives());
    assert!(stranger.lives(), "another state folder's");
    let after = findings(&stage.home, &["--offline"]);
    assert!(
        after.iter().all(|one| one["check"] != "remains"),
        "{after:?}"
    );
    assert_eq!(of(&after, "orphans")["level"], "ok");
}

#[test]
fn each_workers_deployment_is_asked_whether_it_takes_the_token() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let home = Home::new(ORCHESTRATOR);
    home.enrol(&deployment.api(), deployment.url(), "shop");
    let found = findings(&home, &[]);
    let worker = of(&found, "worker");
    assert_eq!(worker["level"], "ok", "{worker}");
    assert!(
        worker["text"].as_str().unwrap().contains("reachable, "),
        "{worker}"
    );
    assert_eq!(of(&found, "clock")["level"], "ok");
    drop(deployment);
    let worker = of(&findings(&home, &[]), "worker");
    assert_eq!(worker["level"], "fail", "{worker}");
    let offline = findings(&home, &["--offline"]);
    assert!(offline.iter().all(|one| one["check"] != "worker"));
}

#[test]
fn a_socket_of_somebody_else_in_the_place_of_ours_is_no_rest_of_a_supervisor() {
    let mut home = Home::new(ORCHESTRATOR);
    home.set("XDG_RUNTIME_DIR", "");
    std::fs::create_dir_all(home.state()).unwrap();
    let path = home.state().join("control.sock");
    std::fs::write(&path, "a file of somebody").unwrap();
    let found = findings(&home, &["--offline", "--fix"]);
    assert_eq!(of(&found, "remains")["level"], "fail");
    assert!(path.exists());
    std::fs::remove_file(&path).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    let found = findings(&home, &["--offline", "--fix"]);
    assert_eq!(of(&found, "remains")["fixed"], true);
    assert!(!path.exists());
}
