//! A machine comes back: with nothing but its token and the deployment's address an empty home serves what the machine
//! served.

use std::os::unix::fs::PermissionsExt;

use orchestrator_test_support::{Api, Home, eventually};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::stage::{self, Site, long_answer};

#[test]
fn with_a_machines_token_alone_an_empty_home_gets_all_workers_and_sessions_back() {
    let server = Home::new(ORCHESTRATOR);
    let (deployment, api, site) = stage::served(&server, &["shop", "blog"]);
    site.write();
    let first = site.home.supervisor(["run", "--demo", "--no-input"]);
    first.workers_are("ready");
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), "hello");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    assert!(first.terminate().success());

    let home = site.newcomer(&api, deployment.url());
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

/// A newcomer that can speak as the owner, too.
fn enrolled(site: &Site, api: &Api, url: &str) -> Home {
    let mut home = site.newcomer(api, url);
    let key = site.home.get("ORCHESTRATOR_OWNER_KEY");
    home.set("ORCHESTRATOR_OWNER_KEY", key);
    home
}

#[test]
fn two_workers_of_one_name_are_served_and_one_that_was_removed_is_taken_out() {
    let server = Home::new(ORCHESTRATOR);
    let (deployment, api, site) = stage::served(&server, &["shop"]);
    for (id, name) in [("second", "shop"), ("third", "a/b")] {
        let directory = site.home.dir(id);
        let args =
            json!({ "workerId": id, "machineId": "m1", "name": name, "directory": directory });
        api.mutation("workers:create", &args);
        api.mutation("workers:approve", &json!({ "workerId": id }));
    }
    let mut home = enrolled(&site, &api, deployment.url());
    // As an earlier run without a configuration has left it.
    let template = home.run(["config", "template"]).exits(0).stdout;
    home.write_config_text(&template);
    let run = home.supervisor(["run", "--demo", "--no-input"]);
    run.workers_are("ready");
    let rows = run.ps()["workers"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a-b", "shop", "shop-2"]);
    let listed = home.run(["worker", "list", "--json"]).exits(0).json();
    let rows = listed["workers"].as_array().cloned().unwrap_or_default();
    let second = rows.into_iter().find(|row| row["workerId"] == "second");
    let second = second.unwrap();
    let other = rows_name(&run.ps(), "second");
    assert_eq!(
        (&second["name"], &second["called"]),
        (&json!("shop"), &other)
    );
    assert!(run.terminate().success());

    api.mutation("workers:remove", &json!({ "workerId": "second" }));
    let ran = home.run(["machine", "enrol", "--no-input"]).exits(0);
    assert!(
        ran.stderr
            .contains("worker second was removed on its deployment"),
        "{}",
        ran.stderr
    );
    let text = std::fs::read_to_string(home.config_file()).unwrap();
    assert!(!text.contains("worker_second"), "it is still there");
    home.run(["config", "check"]).exits(0);

    // A worker's token enrols nothing, and that is said.
    home.set("MACHINE_TOKEN", site.token(0));
    let run = home.supervisor(["run", "--demo", "--no-input"]);
    run.workers_are("ready");
    let printed = run.printed();
    assert!(
        printed.contains("MACHINE_TOKEN has three parts"),
        "{printed}"
    );
    assert!(!printed.contains("secret_"), "a secret");
    assert!(run.terminate().success());
}

/// What `ps` calls the worker.
fn rows_name(ps: &Value, id: &str) -> Value {
    let rows = ps["workers"].as_array().cloned().unwrap_or_default();
    let found = rows.into_iter().find(|row| row["id"] == id);
    found.map_or(Value::Null, |row| row["name"].clone())
}

#[test]
fn a_second_run_and_an_enrolment_leave_the_turn_of_the_supervisor_that_runs_alone() {
    let server = Home::new(ORCHESTRATOR);
    let (deployment, api, site) = stage::served(&server, &["shop"]);
    let home = enrolled(&site, &api, deployment.url());
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
    let (deployment, api, site) = stage::served(&server, &["shop"]);
    let home = enrolled(&site, &api, deployment.url());
    home.run(["machine", "enrol", "--no-input"]).exits(0);
    let file = home.config_file();
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good} and a typo")).unwrap();
    let failed = home.run(["machine", "enrol", "--no-input"]);
    assert!(
        failed.code == 3 && failed.stderr.contains("not valid JSON"),
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
