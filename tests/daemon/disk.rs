//! A full disk. The limit on a file's size stands for it: every file of the supervisor that would grow beyond it fails to, as
//! on a disk without room, and no other test is touched.

use std::time::{Duration, Instant};

use orchestrator_test_support::{
    Home, Model, Proxy, Stage, Supervisor, eventually, script, text_of,
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;

use crate::ORCHESTRATOR;

const FILE_BYTES: u64 = 8 * 1024;

/// A supervisor that a write beyond its limit does not end: signals that are ignored stay so in what a shell becomes.
fn that_can_be_limited<'h>(home: &'h Home, run: &str) -> Supervisor<'h> {
    let mut shell = home.foreign("bash");
    let run = format!("trap '' XFSZ; exec \"$0\" {run}");
    shell.args(["-c", &run, ORCHESTRATOR]);
    home.supervisor_by(shell)
}

/// From now on no file of the supervisor grows beyond the limit. Its assistant, which runs already, has a disk of its own.
fn fill_the_disk(supervisor: &Supervisor<'_>) {
    limit(supervisor, Some(FILE_BYTES));
}

fn make_room(supervisor: &Supervisor<'_>) {
    limit(supervisor, getrlimit(Resource::Fsize).current);
}

fn limit(supervisor: &Supervisor<'_>, bytes: Option<u64>) {
    let limit = Rlimit {
        current: bytes,
        maximum: getrlimit(Resource::Fsize).maximum,
    };
    let pid = Pid::from_raw(supervisor.pid() as i32);
    prlimit(pid, Resource::Fsize, limit).unwrap();
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
    let supervisor = that_can_be_limited(&home, "run --demo --no-input");
    supervisor.workers_are("ready");
    let (session, turn) = api.send("m0", &json!({ "workerId": "shop" }), "are you there");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    fill_the_disk(&supervisor);
    let prompt = script(&json!([[
        { "text": "before " },
        { "stream": { "n": 400, "rate": 50, "size": 40 } },
        { "text": " after" },
    ]]));
    let (_, turn) = api.send("m1", &json!({ "sessionId": session }), &prompt);
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
    eventually("nothing waits", || {
        supervisor.ps()["machine"]["outbox"] == 0
    });
    // What was tried is in the log, and the log is a file, too.
    let outbox = std::fs::metadata(home.state().join("outbox"))
        .unwrap()
        .len();
    assert!(
        outbox <= FILE_BYTES,
        "the limit does not hold: {outbox} bytes"
    );
    assert!(supervisor.terminate().success());
}

/// With `--local` the deployment's own file is on the full disk: every write of it fails for a while, the end of an answer
/// among them. Nothing of it is given up.
#[test]
fn a_full_disk_under_the_embedded_deployment_is_waited_out() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = that_can_be_limited(&stage.home, "run --local --demo --port 0");
    supervisor.workers_are("ready");
    let api = stage.api(&supervisor);
    let (session, turn) = api.send("m0", &stage.worker(&supervisor), "are you there");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    let prompt = script(&json!([[
        { "text": "before " },
        { "stream": { "n": 30, "rate": 10, "size": 6 } },
        { "text": " after" },
    ]]));
    let (_, turn) = api.send("m1", &json!({ "sessionId": session }), &prompt);
    eventually("it streams", || api.streamed(&turn).contains("before"));
    fill_the_disk(&supervisor);
    let full = Instant::now();
    let refused = json!({ "id": "m2", "sessionId": session, "content": "not now" });
    assert!(api.call("mutation", "messages:send", &refused).is_err());
    eventually("the end of the answer waits", || {
        supervisor.ps()["machine"]["outbox"].as_u64() == Some(1)
    });
    eventually("a finish has been given up for the time being", || {
        full.elapsed() > Duration::from_secs(15)
    });
    assert_eq!(api.turn(&session, &turn)["state"], "claimed");
    make_room(&supervisor);
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    let text = text_of(&row);
    assert!(
        text.starts_with("before ") && text.ends_with(" after"),
        "{text}"
    );
    assert_eq!(stage.starts("before"), 1);
    let (_, turn) = api.send("m3", &json!({ "sessionId": session }), "and now");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    assert!(supervisor.terminate().success());
}
