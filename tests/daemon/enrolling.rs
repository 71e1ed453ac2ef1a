//! A machine comes back: with nothing but its token and the deployment's address an empty home serves what the machine
//! served.

use std::os::unix::fs::PermissionsExt;

use orchestrator_test_support::{Api, Home, eventually};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::stage::{Site, long_answer};

#[test]
fn with_a_machines_token_alone_an_empty_home_gets_all_workers_and_sessions_back() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let site = Site::new(&server);
    site.approved(&api, deployment.url(), "shop");
    site.approved(&api, deployment.url(), "blog");
    site.write();
    let first = site.home.supervisor(["run", "--demo", "--no-input"]);
    first.workers_are("ready");
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), "hello");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    assert!(first.terminate().success());

    let token = api.mutation("machines:rotate", &json!({ "machineId": "m1" }))["token"].clone();
    let token = token.as_str().unwrap();
    let mut home = Home::new(ORCHESTRATOR);
    home.set(
        "ORCHESTRATOR_DEMO_MODEL",
        site.home.get("ORCHESTRATOR_DEMO_MODEL"),
    );
    home.set("ORCHESTRATOR_BOOT_TIMEOUT", "80s");
    home.set("MACHINE_TOKEN", token);
    home.set("CONVEX_URL", deployment.url());
    let second = home.supervisor(["run", "--demo", "--no-input"]);
    second.workers_are("ready");
    let printed = second.printed();
    assert!(
        printed.contains("2 workers and 1 session are here again"),
        "{printed}"
    );
    let names = |ps: &Value| {
        let rows = ps["workers"].as_array().cloned().unwrap_or_default();
        let mut names: Vec<String> = rows.iter().map(|row| row["id"].to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&second.ps()), ["\"blog\"", "\"shop\""]);
    let file = home.config_file();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!printed.contains("secret_"), "a secret");

    // The old session goes on here.
    let (_, turn) = api.send("m2", &json!({ "sessionId": session }), "and now");
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    let (session, turn) = api.send("m3", &json!({ "workerId": "blog" }), "hello");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    assert!(second.terminate().success());

    // Every start renews what it got; what has come to the machine meanwhile is there, too.
    let before = std::fs::read_to_string(&file).unwrap();
    site.approved(&api, deployment.url(), "desk");
    let third = home.supervisor(["run", "--demo", "--no-input"]);
    third.workers_are("ready");
    assert_eq!(names(&third.ps()), ["\"blog\"", "\"desk\"", "\"shop\""]);
    assert_ne!(std::fs::read_to_string(&file).unwrap(), before);
    assert!(third.terminate().success());

    // A deployment that is away is waited for.
    let address = deployment.address();
    drop(deployment);
    let fourth = home.supervisor(["run", "--demo", "--no-input"]);
    eventually("it says so", || {
        fourth.printed().contains("could not be enrolled again")
    });
    let _back = server.deployment_at(address.port());
    fourth.workers_are("ready");
    assert!(fourth.terminate().success());
}

/// A home with nothing but the token of a machine that has the worker `shop`.
fn enrolled(server: &Home, site: &Site, api: &Api, url: &str) -> Home {
    site.approved(api, url, "shop");
    let token = api.mutation("machines:rotate", &json!({ "machineId": "m1" }))["token"].clone();
    let mut home = Home::new(ORCHESTRATOR);
    let model = site.home.get("ORCHESTRATOR_DEMO_MODEL");
    home.set("ORCHESTRATOR_DEMO_MODEL", model);
    home.set("ORCHESTRATOR_BOOT_TIMEOUT", "80s");
    home.set("MACHINE_TOKEN", token.as_str().unwrap());
    home.set("CONVEX_URL", url);
    let key = server.get("XDG_DATA_HOME");
    let key = format!("{key}/opencode-orchestrator/local/owner.key");
    home.set("ORCHESTRATOR_OWNER_KEY", key);
    home
}

#[test]
fn a_second_run_and_an_enrolment_leave_the_turn_of_the_supervisor_that_runs_alone() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let site = Site::new(&server);
    let home = enrolled(&server, &site, &api, deployment.url());
    let first = home.supervisor(["run", "--demo", "--no-input"]);
    first.workers_are("ready");
    let before = std::fs::read_to_string(home.config_file()).unwrap();
    let asking = json!({ "workerId": "shop" });
    let (session, turn) = api.send("m1", &asking, &long_answer(6));
    let claimed = || api.turn(&session, &turn)["state"] == "claimed";
    eventually("the turn is claimed", claimed);

    for run in [
        &["run", "--demo", "--no-input"][..],
        &["run", "--demo", "--no-input", "--detach"],
    ] {
        let ran = home.run(run).exits(5);
        assert!(ran.stderr.contains("already running"), "{}", ran.stderr);
    }
    assert_eq!(std::fs::read_to_string(home.config_file()).unwrap(), before);
    let ran = home.run(["machine", "enrol", "--no-input"]).exits(0);
    assert!(
        ran.stderr.contains("the running supervisor has taken it"),
        "{}",
        ran.stderr
    );
    assert_ne!(std::fs::read_to_string(home.config_file()).unwrap(), before);
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    first.workers_are("ready");
    let (session, turn) = api.send("m2", &asking, "hello");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    assert!(first.terminate().success());
}

#[test]
fn an_enrolment_that_cannot_be_written_down_leaves_tokens_that_serve() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let site = Site::new(&server);
    let home = enrolled(&server, &site, &api, deployment.url());
    home.run(["machine", "enrol", "--no-input"]).exits(0);
    let file = home.config_file();
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good} and a typo")).unwrap();
    let failed = home.run(["machine", "enrol", "--no-input"]);
    assert!(
        failed.stderr.contains("is not valid JSON"),
        "{}",
        failed.stderr
    );
    // The answer of one that was asked is lost on the way.
    std::fs::write(&file, &good).unwrap();
    home.run(["machine", "enrol", "--no-input"]).exits(0);
    std::fs::write(&file, &good).unwrap();
    // With the file named nothing is enrolled: what stands in it has to do.
    let file = file.display().to_string();
    let run = home.supervisor(["run", "--demo", "--no-input", "--config", &file]);
    run.workers_are("ready");
    assert!(run.terminate().success());
}

#[test]
fn a_machine_token_that_is_refused_leaves_nothing_behind() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let mut home = Home::new(ORCHESTRATOR);
    let machine = "6f1c1f1e-8d5b-4a57-9d0c-0a8a8d7b1c11";
    home.set("MACHINE_TOKEN", format!("machine_{machine}:secret_guessed"));
    let ran = home.run(["run", "--no-input"]).exits(3);
    assert!(ran.stderr.contains("CONVEX_URL"), "{}", ran.stderr);
    home.set("CONVEX_URL", deployment.url());
    let ran = home.run(["run", "--no-input"]).exits(6);
    assert!(
        ran.stderr.contains("does not know the machine token"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("guessed"), "a secret");
    home.set("MACHINE_TOKEN", "machine_m1");
    let ran = home.run(["run", "--no-input"]).exits(3);
    assert!(
        ran.stderr.contains("machine_<machine_id>:secret_<secret>"),
        "{}",
        ran.stderr
    );
    assert!(!home.config_file().exists());
    let identity = home.config_file().with_file_name("machine.json");
    assert!(!identity.exists(), "an identity that nobody confirmed");
}
