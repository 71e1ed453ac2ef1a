//! `orchestrator session`: following, stopping, resuming, exporting and entering a session, with the real OpenCode.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orchestrator_test_support::http::try_request;
use orchestrator_test_support::{Home, Stage, eventually, script, until};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::stage::long_answer;
use crate::terminal::Terminal;

/// A command whose lines are read while it runs.
struct Lines {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Lines {
    fn of(home: &Home, args: &[&str]) -> Self {
        let mut child = home
            .command(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (to, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = to.send(line);
            }
        });
        Self { child, lines }
    }

    /// Reads until a line satisfies `holds`, and gives it.
    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(90)) {
                Ok(line) if holds(&line) => return line,
                Ok(line) => seen.push(line),
                Err(over) => panic!("never printed: {what} ({over})\n{}", seen.join("\n")),
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn event(line: &str) -> Value {
    serde_json::from_str(line).expect("a JSON object a line")
}

#[test]
fn a_session_is_followed_as_it_streams_whoever_writes_and_an_unknown_one_is_exit_2() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let worker = stage.worker(&supervisor);
    let (session, first) = api.send("m1", &worker, "the first message");
    api.closed(&session, &first);
    let tail = Lines::of(&stage.home, &["session", "tail", &session, "--json"]);
    let line = tail.until("the question", |line| event(line)["role"] == "user");
    assert_eq!(event(&line)["text"], "the first message");
    tail.until("its answer", |line| event(line)["state"] == "complete");

    // Somebody else writes: it is told while it streams, in pieces.
    let (_, second) = api.send("m2", &json!({ "sessionId": session }), &long_answer(8));
    let of_second = |line: &str, kind: &str| {
        let event = event(line);
        event["id"] == second.as_str() && event["event"] == kind
    };
    tail.until("a piece", |line| of_second(line, "text"));
    assert_eq!(
        api.turn(&session, &second)["state"],
        "claimed",
        "it still streams"
    );
    let end = event(&tail.until("the end", |line| of_second(line, "end")));
    assert_eq!(
        (&end["schema"], &end["state"]),
        (&json!(1), &json!("complete"))
    );
    let text = end["text"].as_str().unwrap();
    assert!(
        text.starts_with("begins ") && text.ends_with(" ends"),
        "{text}"
    );
    drop(tail);

    // For people; and it ends when nothing is left to come.
    let args = [
        "session",
        "tail",
        "the first message",
        "-n",
        "4",
        "--exit-when-idle",
    ];
    let ran = stage.home.run(args).exits(0);
    assert!(
        ran.stdout.starts_with("you> the first message\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.ends_with(" ends\n"), "{}", ran.stdout);
    let (_, third) = api.send("m3", &json!({ "sessionId": session }), &long_answer(3));
    let args = ["session", "tail", &session, "-n", "0", "--exit-when-idle"];
    let ran = stage.home.run(args).exits(0);
    assert!(ran.stdout.starts_with("you> SCRIPT:"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with(" ends\n"), "{}", ran.stdout);
    assert_eq!(api.turn(&session, &third)["state"], "complete");

    for command in ["show", "tail", "stop", "resume", "export", "attach"] {
        let ran = stage
            .home
            .run(["session", command, "the first masage"])
            .exits(2);
        assert_eq!(ran.stdout, "");
        assert!(
            ran.stderr.contains("did you mean `the first message`?"),
            "{command}: {}",
            ran.stderr
        );
        let ran = stage.home.run(["session", command, "shop"]).exits(2);
        assert!(
            ran.stderr.contains("is a worker, not a session"),
            "{}",
            ran.stderr
        );
    }
    assert!(supervisor.terminate().success());
}

#[test]
fn a_session_is_stopped_with_what_waits_in_it_resumed_without_a_message_and_ended_for_good() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let worker = stage.worker(&supervisor);
    let (session, running) = api.send("m1", &worker, &long_answer(60));
    let to_session = json!({ "sessionId": session });
    let (_, waiting) = api.send("m2", &to_session, "this one waits");
    eventually("it streams", || api.streamed(&running).contains("begins"));
    let ran = stage.home.run(["session", "stop", &session]).exits(0);
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr.contains("is stopped, 2 turns aborted"),
        "{}",
        ran.stderr
    );
    for turn in [&running, &waiting] {
        assert_eq!(api.turn(&session, turn)["state"], "aborted");
    }
    assert_eq!(stage.starts("this one waits"), 0);
    let idle = supervisor.session("is idle", |row| row["phase"] == "idle");
    assert!(idle["agent_pid"].is_null(), "{idle}");
    let warnings = || {
        let ran = stage.home.run(["logs", "--level", "warn"]).exits(0);
        // What was asked for is none; that the deployment went with its supervisor may be.
        assert!(!ran.stdout.contains("assistant"), "{}", ran.stdout);
    };
    warnings();
    // Stopping what is stopped is no mistake.
    let ran = stage.home.run(["session", "stop", &session]).exits(0);
    assert!(!ran.stderr.contains("aborted"), "{}", ran.stderr);

    let ran = stage.home.run(["session", "resume", &session]).exits(0);
    let up = supervisor.session("is up", |row| row["agent_pid"].is_u64());
    let told = format!("is up (pid {})", up["agent_pid"]);
    assert!(ran.stderr.contains(&told), "{}", ran.stderr);
    assert_eq!(up["turn"], Value::Null);
    let (_, third) = api.send("m3", &to_session, "and now");
    assert_eq!(api.closed(&session, &third)["state"], "complete");
    let after = supervisor.session("is up", |row| row["agent_pid"].is_u64());
    assert_eq!(
        after["agent_pid"], up["agent_pid"],
        "the one that was up answered"
    );

    // A session that no actor knows, after a restart of the supervisor.
    assert!(supervisor.terminate().success());
    let supervisor = stage.run();
    let ran = stage.home.run(["session", "resume", &session]).exits(0);
    assert!(ran.stderr.contains("is up (pid "), "{}", ran.stderr);
    let ran = stage
        .home
        .run(["session", "stop", &session, "--end"])
        .exits(0);
    assert!(ran.stderr.contains("has ended"), "{}", ran.stderr);
    eventually("its assistant is gone", || {
        supervisor
            .sessions()
            .iter()
            .all(|row| row["agent_pid"].is_null())
    });
    let ran = stage.home.run(["session", "resume", &session]).exits(2);
    assert!(ran.stderr.contains("has ended"), "{}", ran.stderr);
    assert!(supervisor.terminate().success());
    let ran = stage.home.run(["session", "resume", &session]);
    assert_ne!(ran.code, 0);
    warnings();
}

#[test]
fn a_session_is_exported_whole_however_long_its_answers_are() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let file = stage.home.dir("shop").join("b.txt");
    let prompt = script(&json!([
        [{ "reason": "hm" }, { "text": "writing" }, { "tool": "write", "args": { "filePath": file, "content": "x" } }],
        [{ "text": "written" }],
    ]));
    let (session, first) = api.send("m1", &stage.worker(&supervisor), &prompt);
    api.closed(&session, &first);
    // More than a list shows of one session's answers.
    let to_session = json!({ "sessionId": session });
    let long = script(&json!([[{ "text": "x".repeat(300 * 1024) }, { "text": " whole" }]]));
    let (_, second) = api.send("m2", &to_session, &long);
    api.closed(&session, &second);
    let (_, third) = api.send("m3", &to_session, "bye");
    api.closed(&session, &third);

    let markdown = stage
        .home
        .run(["session", "export", &session])
        .exits(0)
        .stdout;
    assert!(markdown.starts_with("# SCRIPT:"), "{}", &markdown[..80]);
    assert_eq!(markdown.matches("\n## You, ").count(), 3);
    assert_eq!(markdown.matches("\n## Assistant, ").count(), 3);
    assert!(markdown.contains("\nwriting\n\n- ✓ write"), "its tool");
    assert!(
        markdown.contains(&format!("{} whole\n", "x".repeat(300 * 1024))),
        "its long answer"
    );
    let args = ["session", "export", &session, "--format", "json"];
    let json = stage.home.run(args).exits(0).json();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["session"]["worker"], "shop");
    let messages = json["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 6);
    let text = messages[3]["parts"][0]["text"].as_str().unwrap();
    assert_eq!(text.len(), 300 * 1024 + " whole".len());
    assert_eq!(messages[1]["parts"][0]["kind"], "reasoning");
    let shown = stage
        .home
        .run(["session", "show", &session])
        .exits(0)
        .stdout;
    assert!(shown.contains(" whole\n"), "show leaves nothing out either");
    assert!(supervisor.terminate().success());
}

/// Prints its arguments, and whether the password came by the environment.
const CLIENT: &str = r#"#!/bin/sh
echo "entered: $*"
test ${#OPENCODE_SERVER_PASSWORD} -ge 32 && echo "with a password"
read line
"#;

#[test]
fn a_person_enters_a_session_and_its_password_is_in_no_argument() {
    let stage = Stage::new(ORCHESTRATOR);
    let client = stage.home.path().join("client");
    std::fs::write(&client, CLIENT).unwrap();
    std::fs::set_permissions(&client, PermissionsExt::from_mode(0o755)).unwrap();
    let supervisor = stage.home.supervisor([
        "run",
        "--local",
        "--demo",
        "--port",
        "0",
        "--idle-timeout",
        "5s",
    ]);
    supervisor.workers_are("ready");
    let api = stage.api(&supervisor);
    let (session, turn) = api.send("m1", &stage.worker(&supervisor), "hello");
    api.closed(&session, &turn);
    // It starts again for whoever enters.
    supervisor.session("is idle", |row| row["phase"] == "idle");

    let ran = stage.home.run(["session", "attach", &session]).exits(0);
    assert!(
        ran.stdout.starts_with("OPENCODE_SERVER_PASSWORD=… "),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains(" --session ses_"), "{}", ran.stdout);
    assert!(ran.stderr.contains("--show-password"), "{}", ran.stderr);
    let args = ["session", "attach", &session, "--print", "--show-password"];
    let line = stage.home.run(args).exits(0).stdout;
    let (password, rest) = line
        .strip_prefix("OPENCODE_SERVER_PASSWORD=")
        .unwrap()
        .split_once(' ')
        .unwrap();
    let url = rest
        .split(' ')
        .find(|word| word.starts_with("http://127.0.0.1:"))
        .unwrap();
    let basic = format!("Basic {}", STANDARD.encode(format!("opencode:{password}")));
    let headers = [("Authorization", basic.as_str())];
    let health = format!("{url}/global/health");
    let entered = || try_request("GET", &health, &headers, "").ok();
    let (status, body) = until("OpenCode answers whoever has the password", entered);
    assert_eq!(status, 200, "{body}");
    for file in ["orchestrator.log", "assistants.log"] {
        let log = std::fs::read_to_string(stage.home.state().join("logs").join(file)).unwrap();
        assert!(!log.contains(password), "{file}");
    }
    assert!(!supervisor.printed().contains(password));
    let mut attach = stage.home.command(["session", "attach", &session]);
    attach.env("ORCHESTRATOR_OPENCODE_BIN", &client);
    let mut terminal = Terminal::open(attach);
    terminal.shows("entered: attach http://127.0.0.1:");
    terminal.shows("with a password");
    for (pid, line) in stage.home.processes() {
        assert!(!line.contains(password), "{pid}: {line}");
    }
    // Its idle time is over when that of a session is which was used later: whoever is in there keeps it.
    let entered = |row: &Value| row["id"] == session.as_str();
    let up = supervisor.session("is up", |row| entered(row) && row["agent_pid"].is_u64());
    let (other, turn) = api.send("m2", &stage.worker(&supervisor), "hello");
    api.closed(&other, &turn);
    supervisor.session("is idle", |row| {
        row["id"] == other.as_str() && row["phase"] == "idle"
    });
    let now = supervisor.session("is there", entered);
    assert_eq!(now["agent_pid"], up["agent_pid"], "{now}");
    terminal.types("");
    terminal.ends_with(0);
    supervisor.session("is idle", |row| entered(row) && row["phase"] == "idle");
    assert!(supervisor.terminate().success());
}
