//! What an owner decides about a worker acts on the supervisor that runs, at once: it is told by its subscription, and
//! asks nobody in between.

use std::time::{Duration, Instant};

use orchestrator_test_support::{Api, Home, Supervisor, eventually, until};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::stage::{self, Site};

fn shop(supervisor: &Supervisor) -> Value {
    supervisor.ps()["workers"][0].clone()
}

/// How long it took until `ps` showed the phase.
fn until_phase(supervisor: &Supervisor, phase: &str) -> Duration {
    let begun = Instant::now();
    until(&format!("the worker is {phase}"), || {
        (shop(supervisor)["phase"] == phase).then_some(())
    });
    begun.elapsed()
}

#[test]
fn approving_revoking_and_rotating_act_on_a_running_supervisor_within_a_second() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let site = Site::new(&server);
    site.pending(&api, deployment.url(), "shop");
    site.write();
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    until_phase(&supervisor, "pending");
    assert_eq!(
        shop(&supervisor)["detail"],
        "waits for its owner's approval"
    );
    let (session, turn) = api.send("m1", &json!({ "workerId": "shop" }), "hello");
    assert_eq!(api.turn(&session, &turn)["state"], "queued");

    // The quickest of some, because the machine that runs this may be busy with something else.
    let worker = json!({ "workerId": "shop" });
    let (mut approved, mut revoked) = (Duration::MAX, Duration::MAX);
    for round in 0..4 {
        api.mutation("workers:approve", &worker);
        approved = approved.min(until_phase(&supervisor, "ready"));
        if round == 0 {
            assert_eq!(api.closed(&session, &turn)["state"], "complete");
        }
        api.mutation("workers:revoke", &worker);
        revoked = revoked.min(until_phase(&supervisor, "revoked"));
    }
    let second = Duration::from_secs(1);
    assert!(approved < second, "approving took {approved:?}");
    assert!(revoked < second, "revoking took {revoked:?}");
    api.mutation("workers:approve", &worker);
    until_phase(&supervisor, "ready");

    // The token that is replaced by somebody elsewhere ends at once, and its successor is taken by a reload.
    let mut rotated = Duration::MAX;
    for _ in 0..3 {
        let token = api.mutation("workers:rotate", &worker)["token"].clone();
        rotated = rotated.min(until_phase(&supervisor, "revoked"));
        site.set(0, "token", token);
        site.write();
        site.run(&["reload"]).exits(0);
        until_phase(&supervisor, "ready");
    }
    assert!(rotated < second, "rotating took {rotated:?}");
    assert!(supervisor.terminate().success());
}

fn presence(api: &Api) -> Value {
    api.query("presence:list", &json!({}))[0].clone()
}

fn last_beat(api: &Api) -> f64 {
    presence(api)["lastBeat"].as_f64().unwrap_or_default()
}

/// The deployment's clock is this machine's.
fn now_ms() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs_f64() * 1_000.0
}

#[test]
fn offline_is_the_readers_judgement_of_the_last_beat() {
    let server = Home::new(ORCHESTRATOR);
    let (_deployment, api, site) = stage::served(&server, &["shop"]);
    site.write();
    let text = site
        .config_text()
        .replacen('{', "{ \"machine\": { \"sync_interval\": \"1s\" },", 1);
    site.home.write_config_text(&text);
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let first = last_beat(&api);
    eventually("it beats", || last_beat(&api) >= first + 2_000.0);
    assert_eq!(presence(&api)["disconnected"], false);

    // Killed: nobody says so. The row stays as it is, and whoever reads it sees how old it is.
    supervisor.kill();
    eventually("three beats are missing", || {
        now_ms() > last_beat(&api) + 3_000.0
    });
    assert_eq!(presence(&api)["disconnected"], false);

    // Stopped: it says so, and the token is free at once.
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    eventually("it beats again", || now_ms() < last_beat(&api) + 2_000.0);
    assert!(supervisor.terminate().success());
    assert_eq!(presence(&api)["disconnected"], true);
}
