//! Damage in the state folder: what can be done without is done without and said; what cannot ends the start.

use std::fs;
use std::path::{Path, PathBuf};

use orchestrator_test_support::Home;

use super::{Desk, answers, prints};
use crate::ORCHESTRATOR;

fn state(home: &Home) -> PathBuf {
    Path::new(home.get("XDG_STATE_HOME")).join("opencode-orchestrator")
}

#[test]
fn leftovers_and_garbage_in_the_state_folder_stop_nobody() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let desk = Desk::new(&server, &deployment, &["shop"]);
    let folder = state(&desk.home);
    let supervisor = desk.supervisor();
    supervisor.workers_are("ready");
    let socket = supervisor_socket(&desk);
    answers(&desk, "shop");
    // Killed: the lock file, the socket and the state file stay as they were.
    supervisor.kill();
    assert!(socket.exists());
    let ran = desk.run(&["ps"]).exits(4);
    assert!(ran.stderr.contains("was killed"), "{}", ran.stderr);
    for name in ["daemon.json", "lock", "children.json", "paused.json"] {
        fs::write(folder.join(name), "{garbage").unwrap();
    }
    fs::write(folder.join("outbox"), "{\"sum\":\"00\",\"entry\":1}\ntorn").unwrap();
    for args in [&["ps"][..], &["stop"], &["reload"], &["status"]] {
        let ran = desk.run(args).exits(4);
        assert!(
            ran.stderr
                .starts_with("error: orchestrator is not running\nhint: ")
        );
    }

    let supervisor = desk.supervisor();
    supervisor.workers_are("ready");
    prints(
        &supervisor,
        "warning: the outbox had 2 damaged lines, kept in ",
    );
    prints(&supervisor, "paused.json.damaged-1; no worker is paused");
    let kept = fs::read_to_string(folder.join("outbox.damaged")).unwrap();
    assert!(kept.contains("torn"), "{kept}");
    answers(&desk, "shop");
    // Under a running one the state file is a help, not a need.
    fs::write(folder.join("daemon.json"), "{garbage").unwrap();
    desk.run(&["ps"]).exits(0);
    answers(&desk, "shop");
    desk.close(supervisor);
}

#[test]
fn a_log_that_cannot_be_written_is_said_and_the_supervisor_runs() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let desk = Desk::new(&server, &deployment, &["shop"]);
    fs::create_dir_all(state(&desk.home)).unwrap();
    fs::write(state(&desk.home).join("logs"), "").unwrap();
    let supervisor = desk.supervisor();
    supervisor.workers_are("ready");
    prints(&supervisor, "warning: no log is written: ");
    answers(&desk, "shop");
    desk.close(supervisor);
}

#[test]
fn a_state_folder_that_cannot_be_used_ends_the_start_with_what_to_do() {
    let home = Home::new(ORCHESTRATOR);
    let folder = state(&home);
    let refused = |what: &str| {
        let ran = home
            .run(["run", "--local", "--demo", "--port", "0"])
            .exits(1);
        assert!(
            ran.stderr.starts_with("error: cannot "),
            "{what}: {}",
            ran.stderr
        );
        assert!(
            ran.stderr
                .contains("hint: make it usable, or choose another state folder with --state-dir"),
            "{what}: {}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "", "{what}");
    };
    // A file where the folder should be; permissions would not keep a test that runs as root out.
    fs::write(&folder, "").unwrap();
    refused("the folder");
    fs::remove_file(&folder).unwrap();
    // What stands in the place of any other file is set aside; without the lock there could be two supervisors.
    fs::create_dir_all(folder.join("lock")).unwrap();
    refused("lock");
}

fn supervisor_socket(desk: &Desk) -> PathBuf {
    let text = fs::read_to_string(state(&desk.home).join("daemon.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    PathBuf::from(file["socket"].as_str().unwrap())
}
