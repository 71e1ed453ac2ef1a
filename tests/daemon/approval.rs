//! What an owner decides about a worker acts on the supervisor that runs, at once: it is told by its subscription, and
//! asks nobody in between.

use std::time::{Duration, Instant};

use orchestrator_test_support::{Home, Supervisor, until};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::stage::Site;

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
