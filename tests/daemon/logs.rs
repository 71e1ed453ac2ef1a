//! What a supervisor leaves for whoever asks later what happened: its log, its assistants' words, its tree on a signal, and its
//! numbers.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;

use orchestrator_test_support::{Home, Stage, eventually, until};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_turn_is_found_in_the_log_by_worker_session_level_and_time_also_afterwards() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let sent = stage.home.run(["send", "hello there", "--wait"]).exits(0);
    assert!(sent.stdout.contains("hello there"));
    let session = supervisor.sessions()[0]["id"].as_str().unwrap().to_owned();
    let logs = |args: &[&str]| {
        let all = ["logs", "--json"].iter().chain(args);
        objects(&stage.home.run(all).exits(0).stdout)
    };
    let ended = |line: &Value| line["message"] == "turn ended";
    eventually("it is written", || logs(&[]).iter().any(ended));
    let of_session = logs(&["--session", &session]);
    assert!(of_session.iter().any(ended));
    assert!(
        of_session
            .iter()
            .all(|line| line["fields"]["session"] == *session
                || line["fields"]["actor"] == format!("session/{session}"))
    );
    assert!(logs(&["--worker", "shop"]).iter().any(ended));
    assert!(logs(&["--worker", "blog"]).is_empty());
    assert!(logs(&["--since", "10m"]).iter().any(ended));
    assert!(logs(&["--since", "2200-01-01T00:00:00Z"]).is_empty());
    assert!(logs(&["--level", "error"]).is_empty());
    assert_eq!(logs(&["-n", "2"]).len(), 2);
    let raw = stage.home.run(["logs", "--raw"]).exits(0).stdout;
    assert!(raw.contains("listening on"), "{raw}");
    assert!(supervisor.terminate().success());
    // Nobody runs; the files are the same.
    let text = stage
        .home
        .run(["logs", "--session", &session])
        .exits(0)
        .stdout;
    assert!(
        text.contains("turn ended") && text.contains("outcome=Complete"),
        "{text}"
    );
    stage.home.run(["logs", "--since", "yesterday"]).exits(2);
}

#[test]
fn whoever_follows_the_log_sees_the_tree_when_the_supervisor_is_signalled() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let mut following = stage
        .home
        .command(["logs", "-f", "-n", "0", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let (tell, heard) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            let _ = tell.send(serde_json::from_str::<Value>(&line).unwrap());
        }
    });
    let line = until("the worker's card", || {
        // Again, because it may not have begun to follow.
        supervisor.signal(Signal::USR1);
        heard.try_iter().find(|line| {
            let actor = line["fields"]["actor"].as_str().unwrap_or_default();
            actor.starts_with("worker/")
        })
    });
    assert_eq!(line["fields"]["phase"], "Ready", "{line}");
    assert_eq!(line["fields"]["name"], "shop");
    following.kill().unwrap();
    following.wait().unwrap();
    reading.join().unwrap();
    assert!(supervisor.terminate().success());
}

/// The lines of an exposition, as a scraper would read them.
fn samples(text: &str) -> Vec<(String, f64)> {
    let mut known = Vec::new();
    let mut samples = Vec::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            assert!(matches!(kind, "counter" | "gauge"), "{line}");
            known.push(name.to_owned());
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            assert!(known.iter().any(|one| one == family), "{line}");
            samples.push((name.to_owned(), value.parse().unwrap()));
        }
    }
    samples
}

#[test]
fn turns_and_crashes_are_counted() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    stage.home.run(["send", "hello", "--wait"]).exits(0);
    let of = |name: &str| {
        let text = stage.home.run(["status", "--metrics"]).exits(0).stdout;
        let found = samples(&text).into_iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    };
    let turns = "orchestrator_turns_total{outcome=\"complete\"}";
    assert_eq!(of(turns), Some(1.0));
    assert_eq!(of("orchestrator_assistants_started_total"), Some(1.0));
    assert_eq!(of("orchestrator_workers{phase=\"ready\"}"), Some(1.0));
    let worker = supervisor.ps()["workers"][0]["key"]
        .as_str()
        .unwrap()
        .to_owned();
    stage.home.run(["debug", "panic", &worker]).exits(0);
    let crashes = "orchestrator_actor_crashes_total{kind=\"worker\"}";
    eventually("the crash is counted", || of(crashes) == Some(1.0));
    assert_eq!(of(turns), Some(1.0));
    assert!(supervisor.terminate().success());
    stage.home.run(["status", "--metrics"]).exits(4);
}

#[test]
fn a_start_in_the_background_returns_when_it_serves_and_says_the_same() {
    let stage = Stage::new(ORCHESTRATOR);
    let ran = stage
        .home
        .run(["run", "--local", "--demo", "--port", "0", "--detach"])
        .exits(0);
    assert!(
        ran.stdout.contains("\ndeployment  http://127.0.0.1:"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("\nworker      shop "), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("stop: orchestrator stop\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("running in the background (pid "),
        "{}",
        ran.stderr
    );
    stage.home.run(["ps", "--check"]).exits(0);
    let sent = stage.home.run(["send", "are you there", "--wait"]).exits(0);
    assert!(sent.stdout.contains("are you there"));
    let second = stage.home.run(["run", "--local", "--detach"]).exits(5);
    assert!(
        second
            .stderr
            .starts_with("error: orchestrator is already running (pid "),
        "{}",
        second.stderr
    );
    stage.home.run(["stop"]).exits(0);
    let log = stage.home.state().join("logs/detached.log");
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains("stopped in"), "{said}");
    assert_eq!(json!(stage.home.run(["ps"]).code), json!(4));
}

/// The model of a demo is a process that the start makes, and it has the pipes of the start for good.
#[test]
fn a_demo_in_the_background_returns_although_its_model_holds_the_pipes() {
    let home = Home::new(ORCHESTRATOR);
    let args = ["run", "--local", "--demo", "--port", "0", "--detach"];
    let ran = home.run(args).exits(0);
    assert!(
        ran.stderr.contains("running in the background (pid "),
        "{}",
        ran.stderr
    );
    home.run(["stop"]).exits(0);
}
