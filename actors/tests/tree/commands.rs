//! What owners ask from afar: carried out once, ended with a result or a reason whatever crashes in between, and the
//! assistants that are started so are supervised like every other child.

use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::assistant::AgentError;
use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::token::WorkerToken;
use orchestrator_actors::machine::{Desired, WorkerSpec};
use orchestrator_actors::supervision::fault::Fault;
use orchestrator_actors::table::ActorKey;
use serde_json::{Value, json};

use crate::fake_roles::code;
use crate::world::{WORKER, World, is_serving, spec};

const ROLE: &str = "role/w/shop/builder";
const PART: &str = "shop/builder";

fn start() -> Value {
    json!({
        "type": "start-agent", "room": "shop", "role": "builder", "tool": "goose",
        "workingDirectory": "/w", "prompt": "You are the builder.",
    })
}

fn stop() -> Value {
    json!({ "type": "stop-agent", "room": "shop", "role": "builder" })
}

impl World {
    /// An assistant plays the part.
    async fn playing(&self, id: &str) {
        self.deployment.ask(id, &start());
        let answered = self.deployment.answered(id).await;
        assert_eq!(answered.state, "completed", "{answered:?}");
        self.until_card(ROLE, |card| card.phase == Phase::Active)
            .await;
    }

    async fn runs_end_with(&self, states: &[&str]) {
        let what = format!("{PART} is reported as {states:?}");
        self.deployment
            .until(&what, |d| {
                d.runs(PART)
                    .ends_with(&states.iter().map(ToString::to_string).collect::<Vec<_>>())
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_once_and_the_status_shows_this_deployments_tree() {
    let world = World::start().await;
    world.deployment.ask("c1", &json!({ "type": "ping" }));
    let ping = world.deployment.answered("c1").await;
    assert_eq!((&*ping.state, &*ping.result), ("completed", "pong"));
    world.deployment.ask("c2", &json!({ "type": "status" }));
    let status = world.deployment.answered("c2").await;
    let tree: Value = serde_json::from_str(&status.result).unwrap();
    assert_eq!(tree["actors"][0]["key"], WORKER, "{tree}");
    assert_eq!(tree["actors"][0]["phase"], "ready", "{tree}");
    world.quiet().await;
    assert_eq!(world.deployment.command("c1").handed_out, 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_assistant_is_started_for_a_role_shown_and_stopped() {
    let world = World::start().await;
    world.playing("c1").await;
    let casting = world.roles.started().remove(0);
    assert_eq!(
        (&*casting.tool, &*casting.prompt),
        ("goose", "You are the builder.")
    );
    assert_eq!(casting.directory.to_str(), Some("/w"));
    let card = world.card(ROLE).unwrap();
    assert_eq!(card.parent, Some(ActorKey::parse(WORKER)));
    assert_eq!((card.agent_pid, &*card.detail), (Some(1), "goose"));
    world.runs_end_with(&["running"]).await;

    world.deployment.ask("c2", &start());
    let second = world.deployment.answered("c2").await;
    assert_eq!(second.state, "failed");
    assert!(
        second.result.contains("plays shop/builder already"),
        "{second:?}"
    );

    world.deployment.ask("c3", &stop());
    assert_eq!(world.deployment.answered("c3").await.state, "completed");
    world.until_gone(ROLE).await;
    assert_eq!(world.roles.alive(), 0);
    world.runs_end_with(&["running", "ended"]).await;
    world.deployment.ask("c4", &stop());
    let nobody = world.deployment.answered("c4").await;
    assert_eq!(
        (&*nobody.state, &*nobody.result),
        ("failed", "nobody plays shop/builder here")
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_keeps_an_assistant_from_starting_reaches_the_row() {
    let world = World::start().await;
    let missing = "goose is not installed on this machine";
    world.roles.refuse(AgentError::Missing(missing.to_owned()));
    world.deployment.ask("c1", &start());
    let failed = world.deployment.answered("c1").await;
    assert_eq!((&*failed.state, &*failed.result), ("failed", missing));
    world.until_gone(ROLE).await;
    world.runs_end_with(&["failed"]).await;
    world.stop().await;

    // Started, and ended at once: it does not come back either.
    let world = World::start().await;
    world.roles.end_at_once(Some(code(7)));
    world.deployment.ask("c1", &start());
    let failed = world.deployment.answered("c1").await;
    assert_eq!(failed.state, "failed");
    assert!(
        failed.result.contains("goose ended with exit code 7")
            && failed.result.contains("not logged in"),
        "{failed:?}"
    );
    world.quiet().await;
    assert_eq!(world.roles.started().len(), 1);
    assert!(world.card(ROLE).is_none());

    // What ends well has done what it was started for.
    world.roles.end_at_once(Some(code(0)));
    world.deployment.ask("c2", &start());
    let ended = world.deployment.answered("c2").await;
    assert_eq!(
        (&*ended.state, &*ended.result),
        ("completed", "goose played shop/builder and has ended")
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_meets_a_failing_first_start_is_answered() {
    let world = World::start().await;
    world.roles.go_deaf();
    world.deployment.ask("c1", &start());
    world
        .until_card(ROLE, |card| card.phase == Phase::Active)
        .await;
    world.deployment.ask("c2", &stop());
    world
        .until_card(ROLE, |card| card.phase == Phase::Stopping)
        .await;
    world.inject(ROLE, Fault::Panic);
    let failed = world.deployment.answered("c1").await;
    assert_eq!(failed.state, "failed", "{failed:?}");
    let stopped = world.deployment.answered("c2").await;
    assert_eq!(stopped.state, "completed", "{stopped:?}");
    assert!(world.card(ROLE).is_none());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_hands_the_results_of_open_commands_over() {
    let world = World::start().await;
    world.deployment.ask("c1", &start());
    world
        .until_card(ROLE, |card| card.phase == Phase::Active)
        .await;
    world.stop_machine().await;
    let command = world.deployment.command("c1");
    assert_eq!(
        (&*command.state, &*command.result),
        ("failed", "it was stopped before it had begun")
    );
    world.left_nothing();
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_results_that_a_deployment_out_of_reach_does_not_take() {
    let world = World::start().await;
    world.deployment.ask("c1", &start());
    world
        .until_card(ROLE, |card| card.phase == Phase::Active)
        .await;
    world.link.set_online(false);
    let begun = tokio::time::Instant::now();
    world.stop_machine().await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    world.left_nothing();
}

#[tokio::test(start_paused = true)]
async fn a_report_that_the_deployment_failed_to_take_is_made_again() {
    let world = World::start().await;
    world.deployment.fail_reports(3);
    world.playing("c1").await;
    world.runs_end_with(&["running"]).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_no_worker_of_another_machine_and_so_of_another_owner() {
    let world = World::start().await;
    let token = "machine_theirs:worker_other:secret_s";
    let other = WorkerSpec {
        token: Arc::new(WorkerToken::parse(token).unwrap()),
        ..spec("other", 300_000)
    };
    let workers = vec![spec("w", 300_000), spec("mate", 300_000), other];
    world
        .machine
        .reload(Desired { workers }, false)
        .await
        .unwrap();
    for key in ["worker/mate", "worker/other"] {
        world.until_card(key, is_serving).await;
    }
    world.deployment.ask("c1", &json!({ "type": "status" }));
    let status = world.deployment.answered("c1").await;
    // The deployment of the test gives a command to whichever worker asks first.
    let is_theirs = status
        .taken_by
        .as_ref()
        .is_some_and(|(by, _)| by == "other");
    let shows = |worker: &str| status.result.contains(&format!("worker/{worker}"));
    assert_eq!(shows("other"), is_theirs, "{status:?}");
    assert_eq!(shows("mate"), !is_theirs, "{status:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_assistant_that_crashes_comes_back_and_one_that_keeps_crashing_is_parked() {
    let world = World::start().await;
    world.playing("c1").await;
    world.roles.exit(&code(1));
    let card = world
        .until_card(ROLE, |card| {
            card.phase == Phase::Active && card.restarts == 1
        })
        .await;
    assert_eq!(card.agent_pid, Some(2));
    world.inject(ROLE, Fault::Panic);
    world
        .until_card(ROLE, |card| {
            card.phase == Phase::Active && card.restarts == 2
        })
        .await;
    assert_eq!(world.roles.alive(), 1, "the panic's child is gone");

    world.roles.end_at_once(Some(code(1)));
    world.roles.exit(&code(1));
    let card = world
        .until_card(ROLE, |card| card.phase == Phase::Parked)
        .await;
    assert!(card.last_error.unwrap().contains("exit code 1"));
    world.runs_end_with(&["failed"]).await;
    let lives = world.roles.started().len();
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(world.roles.started().len(), lives, "parked is parked");

    // A person gives it another chance; or its owner starts it anew.
    world.roles.end_at_once(None);
    world.machine.restart(ActorKey::parse(ROLE)).await.unwrap();
    world
        .until_card(ROLE, |card| card.phase == Phase::Active)
        .await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_role_whose_worker_crashed_is_not_shown_as_running() {
    let world = World::start().await;
    world.playing("c1").await;
    world.runs_end_with(&["running"]).await;
    world.inject(WORKER, Fault::Panic);
    world.runs_end_with(&["running", "ended"]).await;
    world.quiet().await;
    assert_eq!(world.roles.alive(), 0);
    // It can be started anew.
    world.playing("c2").await;
    world.runs_end_with(&["ended", "running"]).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_replayed_command_is_not_run_twice() {
    let world = World::start().await;
    world.playing("c1").await;
    world.quiet().await;
    // The same row again, as an inbox that is behind the times has it.
    world.deployment.reopen("c1");
    let again = world.deployment.answered("c1").await;
    assert_eq!(again.state, "failed");
    assert!(
        again.result.contains("crashed before it reported"),
        "{again:?}"
    );
    assert_eq!(again.handed_out, 1);
    assert_eq!(world.roles.started().len(), 1);
    assert_eq!(world.roles.alive(), 1, "what it started plays on");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_left_behind_by_a_crash_is_ended_and_not_begun_again() {
    // By the worker's actor.
    let mut world = World::start().await;
    world.deployment.ask("c1", &start());
    world
        .deployment
        .until("it is taken", |d| d.command("c1").handed_out == 1)
        .await;
    world.inject(WORKER, Fault::Panic);
    let ended = world.deployment.answered("c1").await;
    assert_eq!(ended.state, "failed", "{ended:?}");
    world.quiet().await;
    assert_eq!(world.roles.alive(), 0, "its assistant went with the worker");

    // By the whole supervisor.
    world.deployment.ask("c2", &start());
    world
        .deployment
        .until("it is taken", |d| d.command("c2").handed_out == 1)
        .await;
    world.kill().await;
    world.start_again("boot").await;
    let ended = world.deployment.answered("c2").await;
    assert_eq!(ended.state, "failed", "{ended:?}");
    world.playing("c3").await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_forged_command_is_refused_and_nothing_is_started() {
    let world = World::start().await;
    for (id, field, value) in [
        ("c1", "tool", json!("goose; rm -rf ~")),
        ("c2", "role", json!("$(reboot)")),
        ("c3", "workingDirectory", json!("../..")),
        ("c4", "type", json!("exec")),
        ("c5", "tool", json!(["goose"])),
    ] {
        let mut forged = start();
        forged[field] = value;
        world.deployment.ask(id, &forged);
        let refused = world.deployment.answered(id).await;
        assert_eq!(refused.state, "failed", "{refused:?}");
    }
    assert_eq!(world.roles.started().len(), 0);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn revoking_stops_a_roles_assistant_too() {
    let world = World::start().await;
    world.playing("c1").await;
    world.deployment.set_revoked(true);
    world.until_gone(ROLE).await;
    assert_eq!(world.roles.alive(), 0);
    world.deployment.set_revoked(false);
    world.stop().await;
}
