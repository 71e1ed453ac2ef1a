//! Reloading while a session streams: the command, the signal and the watched file take one path, and the stream goes on.

use orchestrator_test_support::{Home, eventually, text_of};
use rustix::process::Signal;
use serde_json::json;

use crate::ORCHESTRATOR;
use crate::stage::{self, long_answer};

#[test]
fn a_stream_goes_on_over_every_reload_and_a_broken_file_changes_nothing() {
    let server = Home::new(ORCHESTRATOR);
    let (deployment, api, site) = stage::served(&server, &["shop", "old"]);
    site.write();
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), &long_answer(25));
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    let before = supervisor.session("streams", |row| row["turn"].is_string());

    site.approved(&api, deployment.url(), "blog");
    site.forget(1);
    site.set(0, "idle_timeout", json!("900s"));
    site.write();
    let dry = site.run(&["reload", "--dry-run"]).exits(0).stdout;
    let blog = site.home.dir("blog");
    assert_eq!(
        dry,
        format!(
            "+ worker blog   {}\n~ worker shop   idle_timeout 300s -> 900s (live)\n- worker old\n= 0 unchanged\n",
            blog.display()
        )
    );
    let json = site.run(&["reload", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["changes"]["added"], json!(["blog"]));
    assert_eq!(supervisor.ps()["workers"].as_array().unwrap().len(), 2);
    let ran = site.run(&["reload", "--wait"]).exits(0);
    assert_eq!(
        ran.stdout,
        "reloaded: 1 added, 1 changed, 1 removed; sessions kept: 1\n"
    );
    supervisor.workers_are("ready");
    let names = |ps: &serde_json::Value| -> Vec<String> {
        let rows = ps["workers"].as_array().cloned().unwrap_or_default();
        let names = rows
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned());
        names.collect()
    };
    assert_eq!(names(&supervisor.ps()), ["shop", "blog"]);

    let good = site.config_text();
    site.set(
        1,
        "convex_url",
        json!("http://happy-otter-123.convex.cloud"),
    );
    site.write();
    let ran = site.run(&["reload"]).exits(3);
    let problem = "workers.1.convex_url: Convex URL must use HTTPS (workers.json:";
    assert!(ran.stderr.contains(problem), "{}", ran.stderr);
    let ps = supervisor.ps();
    assert_eq!(names(&ps), ["shop", "blog"]);
    let told = &ps["machine"]["configuration"]["problems"][0];
    assert_eq!(told["path"], "workers.1.convex_url", "{ps}");
    let drawn = site.run(&["ps"]).exits(0).stdout;
    assert!(
        drawn.contains("configuration workers.json") && drawn.contains(problem),
        "{drawn}"
    );
    supervisor.signal(Signal::HUP);
    eventually("the terminal says it, too", || {
        supervisor.printed().contains(problem)
    });

    let after = supervisor.session("streams", |row| row["id"] == before["id"]);
    assert_eq!(after["agent_pid"], before["agent_pid"]);
    assert_eq!(
        (&after["turn"], &after["restarts"]),
        (&before["turn"], &json!(0))
    );
    site.home.write_config_text(&good);
    let ran = site.run(&["reload"]).exits(0);
    assert!(
        ran.stdout.contains("0 added, 0 changed, 0 removed"),
        "{}",
        ran.stdout
    );
    assert!(supervisor.ps()["machine"]["configuration"].is_null());
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    assert!(text_of(&row).ends_with(" ends"), "{row}");
    assert!(supervisor.terminate().success());
}

#[test]
fn a_watched_file_is_taken_when_it_changes_and_refused_when_it_is_broken() {
    let server = Home::new(ORCHESTRATOR);
    let (deployment, api, site) = stage::served(&server, &["shop"]);
    site.write();
    let supervisor = site
        .home
        .supervisor(["run", "--demo", "--no-input", "--watch"]);
    supervisor.workers_are("ready");
    let prints = |text: &str| {
        eventually(&format!("it prints `{text}`"), || {
            supervisor.printed().contains(text)
        });
    };
    site.approved(&api, deployment.url(), "blog");
    // As an editor does it: another file in its place.
    let aside = site.home.config_file().with_extension("json~");
    let place = site.home.config_file();
    site.write();
    std::fs::rename(&place, &aside).unwrap();
    std::fs::rename(&aside, &place).unwrap();
    prints("reloaded: 1 added, 0 changed, 0 removed; sessions kept: 0");
    supervisor.workers_are("ready");
    let good = site.config_text();
    site.home.write_config_text("{ \"workers\": [ }");
    prints("not reloaded: 1 problem in ");
    prints("(workers.json:1:");
    assert!(supervisor.ps()["machine"]["configuration"].is_object());
    site.home.write_config_text(&good.replace(
        "\"workers\"",
        "\"logs\": { \"level\": \"debug\" }, \"workers\"",
    ));
    prints("warning: logs.level has changed: it holds after orchestrator restart");
    let (session, turn) = api.send("m1", &json!({ "workerId": "blog" }), "hello");
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    assert!(supervisor.terminate().success());
}

#[test]
fn with_a_second_deployment_after_a_reload_no_command_guesses_which_one_is_meant() {
    let (first, second) = (Home::new(ORCHESTRATOR), Home::new(ORCHESTRATOR));
    let (one, _, site) = stage::served(&first, &["shop"]);
    let two = second.deployment();
    site.write();
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let list: &[&str] = &["worker", "list"];
    site.run(list).exits(0);

    site.approved(&two.api(), two.url(), "blog");
    site.write();
    site.run(&["reload", "--wait"]).exits(0);
    for args in [list, &["session", "list"], &["send", "hello"]] {
        let ran = site.run(args).exits(2);
        let told = &ran.stderr;
        assert!(told.contains("workers.json names 2 deployments"), "{told}");
        assert!(told.contains("choose one with --url"), "{told}");
    }
    site.run(&["worker", "list", "--url", one.url()]).exits(0);
    let other = site.home.path().join("other.json").display().to_string();
    let ran = site.run(&["reload", "--config", &other]).exits(2);
    assert!(
        ran.stderr.contains("the supervisor that runs serves "),
        "{}",
        ran.stderr
    );

    site.forget(1);
    site.write();
    site.run(&["reload", "--wait"]).exits(0);
    site.run(list).exits(0);
    assert!(supervisor.terminate().success());
}
