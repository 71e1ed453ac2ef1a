//! A full disk. The limit on a file's size stands for it: every file of the supervisor that would grow beyond it fails to, as
//! on a disk without room, and no other test is touched.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use orchestrator_test_support::{Home, Model, Proxy, Supervisor, eventually, script, text_of};
use serde_json::json;

use crate::ORCHESTRATOR;

/// What the limit of 8 blocks of bash is.
const FILE_BYTES: usize = 8 * 1024;

/// A supervisor whose outbox, logs and state files can hardly grow. Its assistant gets no limit: it has a disk of its own.
fn on_a_full_disk(home: &Home) -> Supervisor<'_> {
    let mut shell = home.foreign("bash");
    // Signals that are ignored stay ignored in what a shell becomes: a write then fails instead of ending the process.
    shell.args([
        "-c",
        "trap '' XFSZ; ulimit -S -f 8; exec \"$0\" run --demo --no-input",
        ORCHESTRATOR,
    ]);
    home.supervisor_by(shell)
}

/// OpenCode, started with the room that it needs.
fn without_limit(home: &Home) -> PathBuf {
    let script = home.path().join("opencode");
    let opencode = home.get("ORCHESTRATOR_OPENCODE_BIN");
    let text = format!("#!/bin/bash\nulimit -S -f unlimited\nexec '{opencode}' \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    script
}

#[test]
fn a_full_disk_for_outbox_and_logs_stops_nobody() {
    let model = Model::start(ORCHESTRATOR);
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let proxy = Proxy::to(deployment.address());
    let mut home = Home::new(ORCHESTRATOR);
    home.set("ORCHESTRATOR_DEMO_MODEL", model.url());
    let api = deployment.api();
    home.enrol(&api, &proxy.url(), "shop");
    home.set("ORCHESTRATOR_OPENCODE_BIN", without_limit(&home).display().to_string());
    // What an earlier run left fills the place that there is.
    let logs = home.state().join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::write(logs.join("orchestrator.log"), vec![b'\n'; FILE_BYTES]).unwrap();
    let supervisor = on_a_full_disk(&home);
    supervisor.workers_are("ready");
    let prompt = script(&json!([[
        { "text": "before " },
        { "stream": { "n": 400, "rate": 50, "size": 40 } },
        { "text": " after" },
    ]]));
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), &prompt);
    eventually("it streams", || api.streamed(&turn).contains("before"));
    // The finish is too long for the file that it should wait in.
    proxy.hold();
    eventually("the finish waits", || {
        supervisor.ps()["machine"]["outbox"].as_u64() == Some(1)
    });
    proxy.release();
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    assert!(text_of(&row).ends_with(" after"), "{row}");
    let (_, again) = api.send("m2", &json!({ "sessionId": session }), "still there");
    assert_eq!(api.closed(&session, &again)["state"], "complete");
    eventually("nothing waits", || supervisor.ps()["machine"]["outbox"] == 0);
    let logged = std::fs::metadata(logs.join("orchestrator.log")).unwrap().len();
    assert!(logged <= FILE_BYTES as u64, "the limit does not hold: {logged} bytes");
    assert!(supervisor.terminate().success());
}
