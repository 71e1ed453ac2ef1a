//! The page as people see it: a real browser on a real supervisor with the scripted model. Each test is one scenario of
//! `drive/`, which is a program of its own and ends with its browser; what is left behind fails the test. In all of them
//! a page that logs an error, asks another host or opens a dialog fails, too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot go on says so by panicking, and shows the figures that it took"
)]

mod served;

use std::collections::BTreeMap;
use std::path::Path;

use orchestrator_test_support::{
    Api, Package, Stage, Supervisor, built_page, chromium, to_end, users_opencode,
};
use serde_json::json;

/// The binary under test.
const ORCHESTRATOR: &str = env!("CARGO_BIN_EXE_orchestrator");

/// A supervisor that serves the page of the present sources.
struct Theatre {
    stage: Stage,
    package: Package,
}

impl Theatre {
    fn new() -> Self {
        let mut stage = Stage::new(ORCHESTRATOR);
        let page = built_page();
        stage
            .home
            .set("ORCHESTRATOR_PAGE", page.display().to_string());
        // None of these scenarios is about a slow start, and a machine that runs many of them is slow.
        stage.home.set("ORCHESTRATOR_BOOT_TIMEOUT", "80s");
        let package = Package::get();
        Self { stage, package }
    }

    /// Plays a scenario to its end.
    fn play(&self, supervisor: &Supervisor<'_>, name: &str, environment: &[(&str, &str)]) {
        let api = self.stage.api(supervisor);
        self.play_as(&api, name, environment);
    }

    fn play_as(&self, api: &Api, name: &str, environment: &[(&str, &str)]) {
        let mut driver = self
            .package
            .program(&self.stage.home, "tests/web/drive/run.mjs");
        let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
        driver
            .arg(name)
            .env("PAGE_URL", api.url())
            .env("ORCHESTRATOR_OWNER_TOKEN", api.token())
            .env("PAGE_CHROMIUM", chromium())
            .env("PAGE_SHOTS", shots)
            .env("PAGE_ORCHESTRATOR", ORCHESTRATOR)
            .env("PAGE_MACHINE", machine_of(api))
            .envs(environment.iter().copied().collect::<BTreeMap<_, _>>());
        let ran = to_end(driver, "", SCENARIO_LIMIT).exits(0);
        eprint!("{}", ran.stdout);
    }
}

/// The one that runs; a scenario that plays a supervisor is another worker of it.
fn machine_of(api: &Api) -> String {
    let machines = api.query("machines:list", &json!({}));
    machines[0]["machineId"]
        .as_str()
        .expect("a machine")
        .to_owned()
}

/// On a loaded machine, a browser's start included.
const SCENARIO_LIMIT: std::time::Duration = std::time::Duration::from_mins(5);

/// Plays it on the usual stage.
fn holds(scenario: &str) {
    let theatre = Theatre::new();
    let supervisor = theatre.stage.run();
    theatre.play(&supervisor, scenario, &[]);
    assert!(supervisor.terminate().success());
}

#[test]
fn an_answer_is_seen_as_it_is_made() {
    holds("chat");
}

#[test]
fn a_turn_is_stopped_and_one_behind_it_withdrawn() {
    holds("abort");
}

#[test]
fn a_browser_that_comes_late_catches_up() {
    holds("late");
}

#[test]
fn a_browser_that_slept_over_the_end_shows_the_whole_answer() {
    holds("slept");
}

#[test]
fn hostile_content_does_nothing() {
    holds("hostile");
}

#[test]
fn what_is_sent_while_offline_arrives_once() {
    let theatre = Theatre::new();
    let supervisor = theatre.stage.run();
    theatre.play(&supervisor, "offline", &[]);
    assert_eq!(theatre.stage.starts("after the outage"), 1);
    assert!(supervisor.terminate().success());
}

#[test]
fn workers_stand_as_they_do_and_are_approved_and_revoked() {
    let theatre = Theatre::new();
    let supervisor = theatre.stage.run();
    let api = theatre.stage.api(&supervisor);
    let machine = supervisor.ps()["machine"]["id"].clone();
    let second = json!({"workerId": "second", "machineId": machine, "name": "second", "directory": "/srv/second"});
    api.mutation("workers:create", &second);
    theatre.play(&supervisor, "machines", &[]);
    assert!(supervisor.terminate().success());
}

#[test]
fn only_the_owner_gets_in_and_an_expired_token_takes_nothing_along() {
    let theatre = Theatre::new();
    let supervisor = theatre.stage.run();
    // Tokens last 15 minutes, and are taken for one more.
    let expired = theatre.token_of("-2h");
    let ending = theatre.token_of("-940s");
    let link = theatre.stage.home.run(["owner", "token", "--link"]);
    let link = link.exits(0).stdout.trim().to_owned();
    let tokens = [
        ("PAGE_EXPIRED_TOKEN", expired.as_str()),
        ("PAGE_ENDING_TOKEN", ending.as_str()),
        ("PAGE_LINK", link.as_str()),
    ];
    theatre.play(&supervisor, "identity", &tokens);
    assert!(supervisor.terminate().success());
}

#[test]
fn a_phone_is_paired_once_and_shown_the_door_when_it_is_revoked() {
    let theatre = Theatre::new();
    let supervisor = theatre.stage.run();
    let pair = |more: &[&str]| {
        let args = ["pair", "--no-qr"].iter().chain(more);
        let made = theatre.stage.home.run(args).exits(0);
        made.stdout.trim().to_owned()
    };
    let late = pair(&["--ttl", "1s"]);
    let link = pair(&[]);
    let links = [
        ("PAGE_LINK", link.as_str()),
        ("PAGE_LATE_LINK", late.as_str()),
    ];
    theatre.play(&supervisor, "pairing", &links);
    assert!(supervisor.terminate().success());
}

#[test]
fn files_go_along_with_a_message_and_one_that_is_too_large_costs_nothing() {
    let theatre = Theatre::new();
    let supervisor = theatre.stage.run();
    let folder = theatre.stage.home.dir("files");
    std::fs::create_dir_all(&folder).unwrap();
    let shown = folder.display().to_string();
    theatre.play(&supervisor, "files", &[("PAGE_FILES", &shown)]);
    assert!(supervisor.terminate().success());
}

/// Prints a table; how fast a machine is fails nothing. `PAGE_ROUNDS` says how often.
#[test]
fn the_first_word_comes_to_the_page_and_to_the_terminal() {
    let theatre = Theatre::new();
    let supervisor = theatre.stage.run();
    let rounds = std::env::var("PAGE_ROUNDS").unwrap_or_else(|_| "3".to_owned());
    theatre.play(&supervisor, "first", &[("PAGE_ROUNDS", &rounds)]);
    assert!(supervisor.terminate().success());
}

#[test]
fn a_closed_page_is_told_by_push_messages_or_says_why_not() {
    let theatre = Theatre::new();
    let supervisor = theatre.stage.run();
    let made = theatre.stage.home.run(["pair", "--no-qr"]).exits(0);
    let link = made.stdout.trim().to_owned();
    theatre.play(&supervisor, "pushing", &[("PAGE_LINK", link.as_str())]);
    assert!(supervisor.terminate().success());
}

#[test]
fn many_sessions_and_parts_cost_no_more_than_few() {
    let theatre = Theatre::new();
    let supervisor = theatre.stage.run();
    theatre.play(&supervisor, "scale", &[]);
    assert!(supervisor.terminate().success());
}

#[test]
fn the_assistant_runs_what_is_allowed_on_the_page_and_hears_why_it_may_not() {
    let mut theatre = Theatre::new();
    users_opencode(
        &mut theatre.stage.home,
        &json!({ "*": "allow", "bash": "ask" }),
    );
    let supervisor = theatre
        .stage
        .home
        .supervisor(["run", "--local", "--port", "0"]);
    supervisor.workers_are("ready");
    let file = theatre.stage.home.dir("shop").join("made");
    let shown = file.display().to_string();
    theatre.play(&supervisor, "permission", &[("PAGE_FILE", &shown)]);
    assert!(file.exists(), "what was allowed has run");
    assert!(
        !file.with_extension("not").exists(),
        "what was rejected has not"
    );
    assert!(supervisor.terminate().success());
}

#[test]
fn a_page_tells_what_nobody_looks_at() {
    holds("telling");
}

#[test]
fn what_an_assistant_waits_for_is_answered_on_the_page() {
    holds("requests");
}

#[test]
fn every_control_has_a_name_and_the_views_have_pictures() {
    holds("controls");
}

impl Theatre {
    /// An owner's token as it would have been made at another time.
    fn token_of(&self, when: &str) -> String {
        let mut command = self.stage.home.foreign("faketime");
        command.args(["-f", when, ORCHESTRATOR, "owner", "token"]);
        let ran = self.stage.home.finish(command, "").exits(0);
        ran.stdout.trim().to_owned()
    }
}
