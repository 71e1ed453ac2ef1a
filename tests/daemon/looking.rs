//! `ps` as it is looked at: again and again, cut to the terminal, as deep as asked for.

use orchestrator_test_support::Stage;
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::terminal::Terminal;

#[test]
fn ps_is_watched_on_a_terminal_until_the_supervisor_ends_or_ctrl_c() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let worker = stage.worker(&supervisor);
    let mut watch = Terminal::open(stage.home.command(["ps", "--watch", "0.2"]));
    watch.shows("1 worker, 1 ready; 0 sessions, 0 active; outbox 0");
    let (session, turn) = api.send("m1", &worker, "hello");
    watch.shows("1 worker, 1 ready; 1 session, ");
    watch.shows("session m1 ");
    api.closed(&session, &turn);
    watch.control('c');
    watch.ends_with(130);
    let mut tail = Terminal::open(stage.home.command(["session", "tail", &session]));
    tail.shows("you> hello");
    tail.control('c');
    tail.ends_with(130);

    let count = |args: &[&str]| stage.home.run(args).exits(0).stdout.lines().count();
    assert_eq!(count(&["ps", "--depth", "0"]), 1);
    let without = count(&["ps", "--depth", "1"]);
    assert_eq!(count(&["ps"]), without + 1);
    let full = stage.home.run(["ps", "--no-trunc"]).exits(0).stdout;
    let bare = session.trim_start_matches("session_");
    assert!(full.contains(bare), "{full}");

    // The end of what is watched is the end of watching, and not a good one.
    let watch = Terminal::open(stage.home.command(["ps", "--watch", "0.2"]));
    let watched = std::thread::spawn(move || watch.ends_with(4));
    let mut lines = stage.home.command(["ps", "--watch", "0.2", "--json"]);
    let json = lines
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let json = json.spawn().expect("a process");
    orchestrator_test_support::eventually("both look", || stage.home.processes().len() > 2);
    assert!(supervisor.terminate().success());
    let told = watched.join().expect("it ended");
    assert!(told.contains("orchestrator is not running"), "{told}");
    let output = json.wait_with_output().expect("its output");
    let lines = String::from_utf8(output.stdout).unwrap();
    for line in lines.lines().filter(|line| line.starts_with("{\"")) {
        let report: Value = serde_json::from_str(line).expect("a report a line");
        assert_eq!(report["schema"], json!(1));
    }
}
