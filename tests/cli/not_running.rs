//! Commands that need a supervisor or a deployment, when there is none.

use insta::assert_snapshot;

use crate::{home, told};

#[test]
fn commands_for_the_supervisor_are_exit_4() {
    let home = home();
    for args in [
        &["ps"][..],
        &["status"],
        &["reload"],
        &["stop"],
        &["restart", "shop"],
    ] {
        let ran = home.run(args).exits(4);
        assert_eq!(ran.stdout, "", "{args:?}");
        assert!(
            ran.stderr
                .starts_with("error: orchestrator is not running\nhint: "),
            "{}",
            ran.stderr
        );
    }
    assert_snapshot!(told(&home, &home.run(["ps"])));
    let json = home.run(["ps", "--json"]).exits(4).json();
    assert_eq!(json["error"]["exit"], 4);
    let json = home.run(["status", "--json"]).exits(4).json();
    assert_eq!(json["running"], false);
}

#[test]
fn no_deployment_is_named() {
    let home = home();
    assert_snapshot!(told(&home, &home.run(["send", "hello"])));
}

#[test]
fn the_deployment_is_not_there() {
    let home = home();
    home.run(["owner", "init"]).exits(0);
    // Nobody listens on the discard port of the loopback.
    let ran = home
        .run(["send", "hello", "--url", "http://127.0.0.1:9"])
        .exits(7);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("http://127.0.0.1:9"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn a_deployment_must_be_reached_safely() {
    let home = home();
    for url in ["http://example.com", "ftp://x", "nonsense"] {
        let ran = home.run(["send", "hello", "--url", url]).exits(2);
        assert!(ran.stderr.contains("Convex URL"), "{}", ran.stderr);
        // Only where it would help.
        let way = ran.stderr.contains("--allow-insecure-url");
        assert_eq!(way, url.starts_with("http:"), "{}", ran.stderr);
    }
}

#[test]
fn without_a_key_nobody_is_the_owner() {
    let home = home();
    let ran = home.run(["send", "hello", "--url", "http://127.0.0.1:9"]);
    assert_snapshot!(told(&home, &ran));
}

#[test]
fn a_message_must_be_text_of_a_bearable_size() {
    let home = home();
    home.run(["owner", "init"]).exits(0);
    let huge = "x".repeat(2_000_000);
    let ran = home
        .run_with_input(["send", "-", "--url", "http://127.0.0.1:9"], &huge)
        .exits(2);
    assert!(
        ran.stderr
            .contains("the message is too large: more than 900,000 bytes"),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_is_asked_of_an_assistant_is_exit_4_without_a_supervisor() {
    let home = home();
    for args in [
        &["models"][..],
        &["models", "--refresh"],
        &["ps", "--watch"],
    ] {
        let ran = home.run(args).exits(4);
        assert!(
            ran.stderr
                .starts_with("error: orchestrator is not running\n"),
            "{}",
            ran.stderr
        );
    }
    for pause in ["0", "soon", "10ms"] {
        home.run(["ps", "--watch", pause]).exits(2);
    }
}
