//! What daily failures print beside a running supervisor, word by word, with their exit codes: the words are a contract with
//! people, the codes one with scripts. Failures that need no supervisor are in `tests/cli`.

use insta::assert_snapshot;
use orchestrator_test_support::{Home, Ran, eventually};
use rustix::process::Signal;
use serde_json::json;

use crate::ORCHESTRATOR;
use crate::stage::{self, Site, long_answer};

/// Without what differs from run to run.
fn told(site: &Site, ran: &Ran) -> String {
    let text = format!(
        "exit {}\n--- stdout\n{}--- stderr\n{}",
        ran.code, ran.stdout, ran.stderr
    );
    plain(site, &text)
}

fn plain(site: &Site, text: &str) -> String {
    let real = site.home.path().canonicalize().unwrap();
    text.replace(&real.display().to_string(), "[ROOT]")
        .replace(&site.home.path().display().to_string(), "[ROOT]")
}

#[test]
fn each_failure_beside_a_supervisor_has_its_words_and_its_exit_code() {
    let server = Home::new(ORCHESTRATOR);
    let (_deployment, _, site) = stage::served(&server, &["shop", "blog"]);
    site.set(1, "working_directory", json!("~/blog"));
    site.write();
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    eventually("one worker serves, one does not", || {
        let ps = supervisor.ps();
        let phases = ["ready", "failed"];
        (0..2).all(|at| ps["workers"][at]["phase"] == phases[at])
    });
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"pid \d+", "pid [PID]");
    settings.add_filter(r"since [0-9: -]+\d", "since [TIME]");
    settings.add_filter(r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]");
    settings.add_filter(r"session_[0-9a-f]{16}", "session_[ID]");
    // Where in the line it stands depends on how long the folder's path is.
    settings.add_filter(r"json:5:\d+", "json:5:[COLUMN]");
    settings.bind(|| {
        let printed = supervisor.printed();
        let down = printed
            .lines()
            .find(|line| line.starts_with("worker blog: "));
        assert_snapshot!("one_worker_is_down", down.unwrap_or(&printed));
        let ps = site.run(&["ps"]).exits(0).stdout;
        assert!(
            ps.contains("working directory ~/blog does not exist"),
            "{ps}"
        );
        let failure = |name: &str, args: &[&str]| {
            assert_snapshot!(name.to_owned(), told(&site, &site.run(args)));
        };
        failure("a_second_run", &["run", "--demo", "--no-input"]);
        failure("an_unknown_worker", &["send", "hello", "--to", "shp"]);
        failure(
            "an_unknown_session",
            &["session", "show", "nothing like it"],
        );
        failure("an_unknown_actor", &["restart", "shpo"]);
        failure(
            "out_of_reach",
            &[
                "send",
                "hello",
                "--to",
                "shop",
                "--url",
                "http://127.0.0.1:9",
            ],
        );
        failure("not_all_ready", &["status"]);
        site.run(&["ps", "--check"]).exits(1);
        let mut command = site.home.command(["send", "hello", "--to", "shop"]);
        command.env("ORCHESTRATOR_OWNER_TOKEN", "e30.e30.e30");
        let ran = site.home.finish(command, "");
        assert_snapshot!("a_forged_owner", told(&site, &ran));
        let slow = long_answer(30);
        let args = ["send", &slow, "--to", "shop", "--wait", "--timeout", "1s"];
        assert_snapshot!("no_answer_in_time", told(&site, &site.run(&args)));

        let good = site.config_text();
        site.set(
            0,
            "convex_url",
            json!("http://happy-otter-123.convex.cloud"),
        );
        site.write();
        assert_snapshot!(
            "a_bad_file_at_a_reload",
            told(&site, &site.run(&["reload"]))
        );
        site.home.write_config_text(&good);
    });
    site.run(&["stop", "--force"]).exits(0);
    eventually("it is gone", || site.run(&["status"]).code == 4);
}

/// Its worker's handler does not come back, so nothing can be stopped in order.
#[test]
fn a_stop_that_takes_too_long_is_forced_and_says_so_with_exit_1() {
    let server = Home::new(ORCHESTRATOR);
    let (_deployment, api, site) = stage::served(&server, &["shop"]);
    site.write();
    let args = ["run", "--demo", "--no-input", "--shutdown-timeout", "1s"];
    let supervisor = site.home.supervisor(args);
    supervisor.workers_are("ready");
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), &long_answer(60));
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    site.run(&["debug", "block", "shop", "60000"]).exits(0);
    eventually("it is stuck", || {
        site.run(&["ps"]).stdout.contains("stuck in ")
    });
    supervisor.signal(Signal::TERM);
    let expected = "graceful shutdown timed out after 1s; killed 1 child\n";
    eventually("it says so", || supervisor.printed().contains(expected));
    let status = supervisor.terminate();
    assert_eq!(status.code(), Some(1));
    // The turn that was cut off is settled by whoever comes next.
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    assert_eq!(api.closed(&session, &turn)["state"], "interrupted");
    assert!(supervisor.terminate().success());
}
