//! A bad `workers.json` under a running supervisor: the running configuration stays, and a streaming session does not
//! notice.

use orchestrator_test_support::{Home, eventually, script};
use rustix::process::Signal;
use serde_json::json;

use super::{Desk, prints};
use crate::ORCHESTRATOR;

#[test]
fn a_bad_configuration_at_a_reload_changes_nothing_and_a_stream_goes_on() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let desk = Desk::new(&server, &deployment, &["shop", "blog"]);
    let supervisor = desk.supervisor();
    supervisor.workers_are("ready");
    let prompt = script(
        &json!([[{ "text": "begins " }, { "stream": { "n": 400, "rate": 40, "size": 6 } }, { "text": " ends" }]]),
    );
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), &prompt);
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    let before = supervisor.session("streams", |row| row["turn"].is_string());

    let token = desk.workers[0]["token"].as_str().unwrap();
    desk.home.write_config_text(&format!(
        "{{\n  \"workers\": [\n    {{ \"token\": \"{token}\" \"working_directory\": \".\" }}\n  ]\n}}\n"
    ));
    for args in [&["reload"][..], &["reload", "--dry-run"]] {
        let ran = desk.run(args).exits(3);
        assert!(ran.stderr.contains("(workers.json:3:"), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("running configuration stays"),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "");
    }

    desk.configure(
        1,
        "convex_url",
        &json!("http://happy-otter-123.convex.cloud"),
    );
    let ran = desk.run(&["reload"]).exits(3);
    assert!(
        ran.stderr
            .contains("workers.1.convex_url: Convex URL must use HTTPS (workers.json:"),
        "{}",
        ran.stderr
    );
    desk.configure(0, "token", &json!("machine_a:worker_b"));
    let error = desk.run(&["reload", "--json"]).exits(3).json()["error"].clone();
    assert_eq!(error["exit"], 3);
    assert_eq!(error["problems"][0]["path"], "workers.0.token");
    assert_eq!(
        error["problems"][0]["message"],
        "Worker token must be in format: machine_<machine_id>:worker_<worker_id>:secret_<secret>"
    );

    std::fs::remove_file(desk.home.config_file()).unwrap();
    desk.run(&["reload"]).exits(3);
    std::fs::create_dir(desk.home.config_file()).unwrap();
    let ran = desk.run(&["reload"]).exits(3);
    assert!(ran.stderr.contains("cannot read"), "{}", ran.stderr);
    std::fs::remove_dir(desk.home.config_file()).unwrap();

    desk.home.write_config_text("{");
    supervisor.signal(Signal::HUP);
    prints(&supervisor, "not reloaded: 1 problem in ");
    prints(&supervisor, "hint: the running configuration stays");

    let after = supervisor.session("streams", |row| row["id"] == before["id"]);
    assert_eq!(after["agent_pid"], before["agent_pid"]);
    assert_eq!(after["restarts"], 0);
    assert_eq!(
        after["turn"], before["turn"],
        "it was over before the mistakes were made"
    );
    supervisor.session("goes on", |row| {
        row["chunks"].as_u64() > before["chunks"].as_u64() && row["turn"] == before["turn"]
    });
    desk.restore();
    let ran = desk.run(&["reload"]).exits(0);
    assert!(
        ran.stdout
            .contains("0 added, 0 changed, 0 removed; sessions kept: 1"),
        "{}",
        ran.stdout
    );
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    desk.close(supervisor);
}
