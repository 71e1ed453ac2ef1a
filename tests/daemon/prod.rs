//! Production mode: many workers on several deployments, each for itself; pausing, removing, new tokens.

use orchestrator_test_support::{Home, eventually, text_of, until};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::stage::{self, Site, long_answer};

fn row(ps: &Value, name: &str) -> Value {
    let rows = ps["workers"].as_array().cloned().unwrap_or_default();
    let found = rows.into_iter().find(|row| row["name"] == name);
    found.unwrap_or(Value::Null)
}

#[test]
fn four_workers_on_two_deployments_and_three_that_come_up_when_their_cause_is_gone() {
    let (first, second) = (Home::new(ORCHESTRATOR), Home::new(ORCHESTRATOR));
    let (one, two) = (first.deployment(), second.deployment());
    let (api_one, api_two) = (one.api(), two.api());
    let site = Site::new(&first);
    site.approved(&api_one, one.url(), "lost");
    site.pending(&api_one, one.url(), "waits");
    site.approved(&api_two, two.url(), "revoked");
    site.approved(&api_two, two.url(), "good");
    let missing = site.home.path().join("work/later");
    site.set(0, "working_directory", json!(missing));
    site.write();
    api_two.mutation("workers:revoke", &json!({ "workerId": "revoked" }));

    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    let is = |name: &str, phase: &str| {
        until(&format!("{name} is {phase}"), || {
            let row = row(&supervisor.ps(), name);
            (row["phase"] == phase).then_some(row)
        })
    };
    is("good", "ready");
    let (session, turn) = api_two.send("m1", &json!({ "workerId": "good" }), "are you there");
    let answer = api_two.closed(&session, &turn);
    assert_eq!(answer["state"], "complete", "{answer}");
    for (name, phase, why) in [
        ("later", "failed", "does not exist"),
        ("waits", "pending", "waits for its owner's approval"),
        ("revoked", "revoked", "revoked"),
    ] {
        let row = is(name, phase);
        let detail = row["detail"].as_str().unwrap();
        assert!(detail.contains(why), "{row}");
        assert!(site.run(&["ps"]).exits(0).stdout.contains(why));
    }
    let reason = format!(
        "worker later: working directory {} does not exist\n",
        missing.display()
    );
    eventually("it is told", || supervisor.printed().contains(&reason));

    // Nobody reloads, and nobody restarts anything.
    std::fs::create_dir(&missing).unwrap();
    is("later", "ready");
    api_one.mutation("workers:approve", &json!({ "workerId": "waits" }));
    is("waits", "ready");
    api_two.mutation("workers:approve", &json!({ "workerId": "revoked" }));
    is("revoked", "ready");
    for (api, id) in [
        (&api_one, "lost"),
        (&api_one, "waits"),
        (&api_two, "revoked"),
    ] {
        let (session, turn) = api.send(&format!("to-{id}"), &json!({ "workerId": id }), "hello");
        assert_eq!(api.closed(&session, &turn)["state"], "complete", "{id}");
    }
    assert!(supervisor.terminate().success());
}

#[test]
fn a_directory_that_disappears_takes_its_worker_down_and_its_queue_waits_until_it_is_back() {
    let server = Home::new(ORCHESTRATOR);
    let (_deployment, api, site) = stage::served(&server, &["books", "blog"]);
    site.write();
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let (session, turn) = api.send("m1", &json!({ "workerId": "books" }), "are you there");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");

    // Its session's assistant is alive, and another session has none yet: neither turn is failed for it.
    let (directory, aside) = (site.home.dir("books"), site.home.path().join("aside"));
    std::fs::rename(&directory, &aside).unwrap();
    let (_, same) = api.send("m2", &json!({ "sessionId": session }), "and now");
    let (other, new) = api.send("m3", &json!({ "workerId": "books" }), "and here");
    let down = until("it is down", || {
        let row = row(&supervisor.ps(), "books");
        (row["phase"] == "failed").then_some(row)
    });
    let reason = format!("working directory {} does not exist", directory.display());
    assert_eq!(down["detail"], json!(reason), "{down}");
    eventually("it is told", || {
        supervisor
            .printed()
            .contains(&format!("worker books: {reason}"))
    });
    let ran = site.run(&["restart", "books"]).exits(1);
    assert!(ran.stderr.contains(&reason), "{}", ran.stderr);
    let (later, third) = api.send("m4", &json!({ "workerId": "books" }), "and later");
    let (neighbour, served) = api.send("m5", &json!({ "workerId": "blog" }), "and you");
    assert_eq!(api.closed(&neighbour, &served)["state"], "complete");
    for (session, turn) in [(&session, &same), (&other, &new)] {
        let state = api.turn(session, turn)["state"].clone();
        assert!(state == "queued" || state == "claimed", "{state}");
    }

    // Nobody reloads, and nobody restarts anything.
    std::fs::rename(&aside, &directory).unwrap();
    for (session, turn) in [(&session, &same), (&other, &new), (&later, &third)] {
        let row = api.closed(session, turn);
        assert_eq!(row["state"], "complete", "{row}");
    }
    supervisor.workers_are("ready");
    assert!(supervisor.terminate().success());
}

#[test]
fn a_token_is_rotated_while_a_session_streams() {
    let server = Home::new(ORCHESTRATOR);
    let (_deployment, api, site) = stage::served(&server, &["shop"]);
    site.write();
    let old = site.token(0);
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), &long_answer(15));
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    let before = supervisor.session("streams", |row| row["turn"].is_string());

    let ran = site.run(&["worker", "token", "shop", "--rotate"]).exits(0);
    assert!(
        ran.stderr.contains("the running supervisor has taken it"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
    let text = site.config_text();
    assert!(
        text.starts_with("// by hand\n") && text.contains("// one of ours"),
        "{text}"
    );
    assert!(!text.contains(&old), "the old token is still there");
    supervisor.workers_are("ready");
    let after = supervisor.session("streams", |row| row["id"] == before["id"]);
    assert_eq!(after["agent_pid"], before["agent_pid"]);
    assert_eq!(
        (&after["turn"], &after["restarts"]),
        (&before["turn"], &json!(0))
    );

    // The old one ends; what streams is written under the new one.
    eventually("the old token is not valid any more", || {
        let args = json!({ "token": old, "epoch": 0 });
        api.query("work:inbox", &args)["state"] == "revoked"
    });
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    assert!(text_of(&row).ends_with(" ends"), "{row}");
    let (session, turn) = api.send("m2", &json!({ "sessionId": session }), "and again");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    let printed = supervisor.printed();
    assert!(
        !printed.contains(old.split_once(":secret_").unwrap().1),
        "a secret"
    );
    assert!(supervisor.terminate().success());
}

#[test]
fn a_paused_worker_finishes_begins_nothing_and_stays_paused_over_a_restart() {
    let server = Home::new(ORCHESTRATOR);
    let (_deployment, api, site) = stage::served(&server, &["shop"]);
    site.write();
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let (session, first) = api.send("m1", &json!({ "workerId": "shop" }), &long_answer(3));
    eventually("it streams", || api.streamed(&first).contains("begins"));

    let ran = site.run(&["worker", "pause", "shop"]).exits(0);
    assert_eq!(ran.stderr, "worker shop is paused\n");
    supervisor.workers_are("paused");
    let ran = site.run(&["worker", "pause", "shop"]).exits(0);
    assert_eq!(ran.stderr, "worker shop was paused already\n");
    let (other, second) = api.send("m2", &json!({ "workerId": "shop" }), "later");
    assert_eq!(api.closed(&session, &first)["state"], "complete");
    assert_eq!(api.turn(&other, &second)["state"], "queued");
    assert!(supervisor.terminate().success());

    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("paused");
    assert!(site.run(&["ps"]).exits(0).stdout.contains("paused"));
    assert_eq!(api.turn(&other, &second)["state"], "queued");
    let ran = site.run(&["worker", "resume", "shp"]).exits(2);
    assert!(
        ran.stderr.contains("did you mean `shop`?"),
        "{}",
        ran.stderr
    );
    site.run(&["worker", "resume", "shop"]).exits(0);
    supervisor.workers_are("ready");
    assert_eq!(api.closed(&other, &second)["state"], "complete");
    assert!(supervisor.terminate().success());

    // Without a supervisor the note is made all the same.
    site.run(&["worker", "pause", "shop"]).exits(0);
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("paused");
    assert!(supervisor.terminate().success());
}

#[test]
fn a_removed_worker_is_gone_everywhere_and_its_neighbour_serves_on() {
    let server = Home::new(ORCHESTRATOR);
    let (_deployment, api, site) = stage::served(&server, &["shop", "blog"]);
    site.write();
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let ran = site.run(&["worker", "remove", "blgo"]).exits(2);
    assert!(
        ran.stderr.contains("did you mean `blog`?"),
        "{}",
        ran.stderr
    );
    site.run(&["worker", "remove", "blog"]).exits(0);
    eventually("it is gone from ps", || {
        row(&supervisor.ps(), "blog").is_null()
    });
    let text = site.config_text();
    assert!(
        text.contains("// by hand") && !text.contains("worker_blog"),
        "{text}"
    );
    let listed = api.query("workers:list", &json!({}));
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), "hello");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    assert!(supervisor.terminate().success());
}

#[test]
fn a_run_for_one_worker_ends_when_nothing_is_left_to_do() {
    let server = Home::new(ORCHESTRATOR);
    let (_deployment, api, site) = stage::served(&server, &["shop", "blog"]);
    site.write();
    let (session, first) = api.send("m1", &json!({ "workerId": "blog" }), "one");
    let (_, second) = api.send("m2", &json!({ "sessionId": session }), "two");
    let (other, untouched) = api.send("m3", &json!({ "workerId": "shop" }), "not for you");
    let args = [
        "run",
        "--demo",
        "--no-input",
        "--worker",
        "blog",
        "--exit-when-idle",
    ];
    let ran = site.run(&args).exits(0);
    assert!(!ran.stdout.contains("worker      shop"), "{}", ran.stdout);
    for turn in [&first, &second] {
        assert_eq!(api.turn(&session, turn)["state"], "complete");
    }
    assert_eq!(api.turn(&other, &untouched)["state"], "queued");
    let ran = site.run(&["run", "--demo", "--worker", "blgo"]).exits(2);
    assert!(
        ran.stderr.contains("did you mean `blog`?"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_worker_is_added_to_the_template_and_made_nowhere_when_the_file_is_broken() {
    let server = Home::new(ORCHESTRATOR);
    let (deployment, api, site) = stage::served(&server, &[]);
    let made = || {
        let rows = api.query("workers:list", &json!({}));
        rows.as_array().cloned().unwrap_or_default()
    };
    let add = ["worker", "add", ".", "--approve", "--url", deployment.url()];
    let template = site.run(&["config", "template"]).exits(0).stdout;
    site.home
        .write_config_text(&format!("{template} and a typo"));
    let ran = site.run(&add).exits(3);
    assert!(ran.stderr.contains("not valid JSON"), "{}", ran.stderr);
    site.home.write_config_text(&template);
    let odd = [&add[..], &["--name", "a/b"]].concat();
    site.run(&odd).exits(2);
    assert!(made().is_empty(), "{:?}", made());
    site.run(&add).exits(0);
    site.run(&["config", "check", "--strict"]).exits(0);
    let rows = made();
    assert_eq!(rows.len(), 1);
    assert!(
        site.config_text()
            .contains("// Comments and trailing commas")
    );

    // What takes it away has to be meant.
    let id = rows[0]["workerId"].as_str().unwrap();
    let ran = site.run(&["worker", "remove", &id[..8]]).exits(2);
    assert!(ran.stderr.contains(id), "{}", ran.stderr);
    assert_eq!(made().len(), 1);
    site.run(&["worker", "remove", id]).exits(0);
    assert!(made().is_empty());
}
