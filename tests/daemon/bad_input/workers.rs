//! A worker that cannot serve: it says why in `ps` and on stderr, and the other one serves.

use orchestrator_test_support::Home;
use serde_json::json;

use super::{Desk, answers, prints, row, tail_of_secret, worker_is};
use crate::ORCHESTRATOR;

#[test]
fn a_missing_directory_fails_alone_and_serves_when_it_is_made() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let desk = Desk::new(&server, &deployment, &["shop", "blog"]);
    let missing = desk.home.path().join("work/not-yet");
    desk.configure(1, "working_directory", &json!(missing));
    let supervisor = desk.supervisor();
    worker_is(&supervisor, "shop", "ready");
    let failed = worker_is(&supervisor, "not-yet", "failed");
    let reason = failed["detail"].as_str().unwrap();
    assert!(reason.contains("does not exist"), "{failed}");
    prints(&supervisor, &format!("worker not-yet: {reason}"));
    assert!(desk.run(&["ps"]).exits(0).stdout.contains("does not exist"));
    desk.run(&["ps", "--check"]).exits(1);
    answers(&desk, "shop");

    std::fs::create_dir(&missing).unwrap();
    desk.run(&["reload"]).exits(0);
    worker_is(&supervisor, "not-yet", "ready");
    prints(&supervisor, "worker not-yet: ready");
    answers(&desk, "blog");
    desk.close(supervisor);
}

#[test]
fn a_wrong_token_fails_alone() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let mut desk = Desk::new(&server, &deployment, &["shop", "blog"]);
    let wrong = "machine_m1:worker_blog:secret_neverissuedbyanybody0000";
    desk.secrets.push(tail_of_secret(wrong));
    desk.configure(1, "token", &json!(wrong));
    let supervisor = desk.supervisor();
    worker_is(&supervisor, "shop", "ready");
    let failed = worker_is(&supervisor, "blog", "failed");
    let reason = failed["detail"].as_str().unwrap();
    assert!(reason.contains("check token and URL"), "{failed}");
    prints(&supervisor, &format!("worker blog: {reason}"));
    answers(&desk, "shop");

    desk.restore();
    desk.run(&["reload"]).exits(0);
    worker_is(&supervisor, "blog", "ready");
    answers(&desk, "blog");
    assert_eq!(row(&supervisor, "shop")["restarts"], 0);
    desk.close(supervisor);
}

#[test]
fn tokens_that_are_all_wrong_are_exit_1_with_each_reason() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let mut desk = Desk::new(&server, &deployment, &["shop"]);
    let wrong = "machine_m1:worker_shop:secret_neverissuedbyanybody0000";
    desk.secrets.push(tail_of_secret(wrong));
    desk.configure(0, "token", &json!(wrong));
    let ran = desk.run(&["run", "--demo", "--no-input"]).exits(1);
    assert!(ran.stderr.contains("worker shop: "), "{}", ran.stderr);
    assert!(
        ran.stderr
            .ends_with("Failed to start any workers. Check the errors above.\n"),
        "{}",
        ran.stderr
    );
    desk.keeps_its_secrets();
}

#[test]
fn a_revoked_token_fails_alone_and_serves_again_when_it_is_approved() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let desk = Desk::new(&server, &deployment, &["shop", "blog"]);
    let supervisor = desk.supervisor();
    supervisor.workers_are("ready");
    desk.run(&["worker", "revoke", "blog"]).exits(0);
    worker_is(&supervisor, "blog", "revoked");
    prints(&supervisor, "worker blog: revoked by its owner");
    let refused = desk.run(&["send", "hello", "--to", "blog"]).exits(6);
    assert!(refused.stderr.contains("revoked"), "{}", refused.stderr);
    answers(&desk, "shop");

    desk.run(&["worker", "approve", "blog"]).exits(2);
    desk.run(&["worker", "approve", "blog", "--restore"])
        .exits(0);
    worker_is(&supervisor, "blog", "ready");
    prints(&supervisor, "worker blog: ready");
    answers(&desk, "blog");
    assert_eq!(row(&supervisor, "shop")["restarts"], 0);
    desk.close(supervisor);

    // A start with it is refused by name, and the other one serves.
    desk.run(&["worker", "revoke", "blog"]).exits(0);
    let supervisor = desk.supervisor();
    worker_is(&supervisor, "shop", "ready");
    let revoked = worker_is(&supervisor, "blog", "revoked");
    assert!(
        revoked["detail"].as_str().unwrap().contains("approve"),
        "{revoked}"
    );
    prints(&supervisor, "worker blog: ");
    desk.close(supervisor);
}

#[test]
fn a_deployment_that_is_not_there_is_waited_for() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let desk = Desk::new(&server, &deployment, &["shop"]);
    let port = deployment.address().port();
    drop(deployment);

    let refused = desk.run(&["send", "hello", "--to", "shop"]).exits(7);
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
    let supervisor = desk.supervisor();
    prints(&supervisor, "is offline, tried again until it answers");
    let ps = supervisor.ps();
    assert_eq!(ps["bridges"][0]["phase"], "offline", "{ps}");
    let error = desk.run(&["send", "hello", "--json"]).exits(7).json();
    assert_eq!(error["error"]["exit"], 7);

    let deployment = server.deployment_at(port);
    worker_is(&supervisor, "shop", "ready");
    prints(&supervisor, "worker shop: ready");
    answers(&desk, "shop");
    let lost = format!("deployment {}: offline", deployment.url());
    drop(deployment);
    prints(&supervisor, &lost);
    let _deployment = server.deployment_at(port);
    prints(&supervisor, "reached again");
    answers(&desk, "shop");
    desk.close(supervisor);
}
