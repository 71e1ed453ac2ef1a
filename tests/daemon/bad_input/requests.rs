//! Requests that cannot be met: refused with a reason before anything is stored.

use orchestrator_test_support::{Home, Ran};
use serde_json::json;

use super::{Desk, answers};
use crate::ORCHESTRATOR;

#[test]
fn unknown_names_huge_messages_and_strangers_are_refused_and_nothing_is_sent() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let desk = Desk::new(&server, &deployment, &["shop", "blog"]);
    let running = desk.supervisor();
    running.workers_are("ready");

    // Unknown names: exit 2 and the nearest one.
    for args in [
        &["send", "hello", "--to", "shpo"][..],
        &["chat", "shpo"],
        &["session", "show", "shpo"],
        &["worker", "revoke", "shpo"],
        &["restart", "shpo"],
    ] {
        let ran = desk.run(args).exits(2);
        assert_eq!(ran.stdout, "", "{args:?}");
        assert!(ran.stderr.contains("`shpo`"), "{args:?}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("hint: did you mean `shop`?"),
            "{args:?}: {}",
            ran.stderr
        );
    }
    let ran = desk
        .run(&["send", "hello", "--to", "session_0000"])
        .exits(2);
    assert!(
        ran.stderr.contains("orchestrator session list"),
        "{}",
        ran.stderr
    );
    let error = desk
        .run(&["send", "hello", "--to", "shpo", "--json"])
        .exits(2)
        .json();
    assert_eq!(error["error"]["hint"], "did you mean `shop`?");

    // Two megabytes, an empty message, a model without a provider.
    let huge = "x".repeat(2_000_000);
    for args in [
        &["send", "-", "--to", "shop", "--wait"][..],
        &["chat", "shop"],
        &["send", "-", "--to", "shop", "--json"],
    ] {
        let ran = desk.run_with_input(args, &huge).exits(2);
        let text = ran.stdout + &ran.stderr;
        assert!(
            text.contains("too large: more than 900,000 bytes"),
            "{text}"
        );
        assert!(text.contains("hint"), "{text}");
    }
    desk.run(&["send", " ", "--to", "shop"]).exits(2);
    let ran = desk
        .run(&["send", "hello", "--to", "shop", "--model", "sonnet"])
        .exits(2);
    assert!(ran.stderr.contains("provider/model"), "{}", ran.stderr);
    let error = desk.run(&["send", "--json"]).exits(2).json();
    assert_eq!(error["error"]["exit"], 2);

    // Who is not the owner.
    for token in ["nonsense", "eyJhbGciOiJIUzI1NiJ9.e30.xx"] {
        let ran = as_stranger(&desk, token, &["send", "hello", "--to", "shop"]).exits(6);
        assert!(
            ran.stderr.contains("hint: prove who you are"),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("eyJ"), "{}", ran.stderr);
        let ran = as_stranger(&desk, token, &["send", "hello", "--json"]).exits(6);
        assert_eq!(ran.json()["error"]["exit"], 6);
    }
    let stranger = Home::new(ORCHESTRATOR);
    stranger.run(["owner", "init"]).exits(0);
    stranger
        .run(["send", "hello", "--url", deployment.url()])
        .exits(6);

    let sessions = api.query("sessions:list", &json!({ "includeEnded": true }));
    assert_eq!(sessions, json!([]), "something was sent");
    answers(&desk, "shop");
    desk.close(running);
}

#[test]
fn a_second_supervisor_is_told_about_the_first_one() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let desk = Desk::new(&server, &deployment, &["shop"]);
    let running = desk.supervisor();
    running.workers_are("ready");
    for args in [
        &["run", "--demo"][..],
        &["run", "--local"],
        &["run", "--detach"],
    ] {
        let ran = desk.run(args).exits(5);
        let expected = format!(
            "error: orchestrator is already running (pid {}, since ",
            running.pid()
        );
        assert!(ran.stderr.starts_with(&expected), "{}", ran.stderr);
        assert!(ran.stderr.contains("orchestrator stop"), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
    // Another state folder does not make another deployment of the same data.
    let alone = server
        .run(["run", "--local", "--demo", "--port", "0"])
        .exits(5);
    assert!(alone.stderr.contains("is in use"), "{}", alone.stderr);
    answers(&desk, "shop");
    desk.close(running);
}

/// With somebody else's token in the environment.
fn as_stranger(desk: &Desk, token: &str, args: &[&str]) -> Ran {
    let mut command = desk.home.command(args);
    command.env("ORCHESTRATOR_OWNER_TOKEN", token);
    desk.home.finish(command, "")
}
