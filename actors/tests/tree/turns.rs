//! Turns without accidents.

use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::turn::Outcome;
use orchestrator_actors::machine::Desired;
use orchestrator_actors::table::ActorKey;

use crate::world::{BRIDGE, World, spec};

#[tokio::test(start_paused = true)]
async fn a_message_is_answered_and_the_child_goes_when_idle_and_comes_back() {
    let world = World::start().await;
    world.streaming("s", "t1", "hi").await;
    world.agents.complete("s", "t1", "hi").await;
    assert_eq!(
        world.deployment.ended("t1").await,
        (Outcome::Complete, "hi".to_owned())
    );
    world
        .until_card("session/s", |card| card.phase == Phase::Idle)
        .await;
    assert_eq!(world.agents.alive(), 0);
    world
        .deployment
        .until("it says so", |d| d.status("s").as_deref() == Some("idle"))
        .await;
    world.streaming("s", "t2", "again").await;
    world.agents.complete("s", "t2", "again").await;
    assert_eq!(world.deployment.ended("t2").await.0, Outcome::Complete);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_messages_to_one_session_are_answered_one_after_the_other() {
    let world = World::start().await;
    world.deployment.send("s", "t1");
    world.deployment.send("s", "t2");
    world
        .until_card("session/s", |card| {
            card.turn.as_deref() == Some("t1") && card.phase == Phase::Active
        })
        .await;
    world.delivered("t1").await;
    assert_eq!(world.agents.deliveries("t2"), 0);
    world.agents.complete("s", "t1", "one").await;
    world.deployment.ended("t1").await;
    world.delivered("t2").await;
    world.agents.complete("s", "t2", "two").await;
    assert_eq!(world.deployment.ended("t2").await.0, Outcome::Complete);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_interrupts_a_busy_turn_with_its_text_and_leaves_no_child() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    let deployment = world.deployment.clone();
    world.stop().await;
    assert_eq!(
        deployment.ended("t").await,
        (Outcome::Interrupted, "half".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_the_idle_time_without_touching_the_stream_and_adds_and_removes_workers() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    let desired = Desired {
        workers: vec![spec("w", 900_000), spec("x", 300_000)],
    };
    let report = world.machine.reload(desired.clone(), true).await.unwrap();
    assert_eq!(report.added, ["x"]);
    assert_eq!(
        report.changed,
        [(
            "w".to_owned(),
            "idle_timeout 300s -> 900s (live)".to_owned()
        )]
    );
    assert!(
        world.card("worker/x").is_none(),
        "a dry run changes nothing"
    );
    world.machine.reload(desired, false).await.unwrap();
    world
        .until_card("worker/x", |card| card.phase == Phase::Ready)
        .await;
    let report = world
        .machine
        .reload(
            Desired {
                workers: vec![spec("w", 900_000)],
            },
            false,
        )
        .await
        .unwrap();
    assert_eq!(
        (report.removed, report.sessions_kept),
        (vec!["x".to_owned()], 1)
    );
    world.agents.complete("s", "t", "half").await;
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Complete);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_removed_and_wanted_again_at_once_comes_back() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    let nothing = Desired::default();
    let desired = |idle| Desired {
        workers: vec![spec("w", idle)],
    };
    // The child's stop takes a moment; meanwhile the configuration changes again, and again.
    world.machine.reload(nothing.clone(), false).await.unwrap();
    world.machine.reload(desired(300_000), false).await.unwrap();
    let report = world.machine.reload(nothing, false).await.unwrap();
    assert_eq!(report.removed, ["w"]);
    let restarted = world.machine.restart(ActorKey::parse("worker/w")).await;
    assert!(restarted.is_err(), "it would bring a removed worker back");
    let report = world.machine.reload(desired(300_000), false).await.unwrap();
    assert_eq!(report.added, ["w"]);
    let report = world.machine.reload(desired(900_000), false).await.unwrap();
    assert_eq!(report.changed.len(), 1);
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Interrupted);
    world
        .until_card("worker/w", |card| card.phase == Phase::Ready)
        .await;
    let report = world.machine.reload(desired(900_000), true).await.unwrap();
    assert_eq!(report.unchanged, 1);
    world.streaming("s", "u", "whole").await;
    world.agents.complete("s", "u", "whole").await;
    assert_eq!(world.deployment.ended("u").await.0, Outcome::Complete);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_bridge_without_workers_hands_over_their_finishes_before_it_goes() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    world
        .machine
        .reload(Desired::default(), false)
        .await
        .unwrap();
    let mut flushes = world.link.flushes();
    flushes.wait_for(|flushes| *flushes == 1).await.unwrap();
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Interrupted);
    world.until_gone(BRIDGE).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_stopped_while_it_connects_gives_the_token_back() {
    let mut world = World::start().await;
    world.kill().await;
    world.start_again("boot").await;
    // The deployment gives the token now; the answer is on its way.
    world.machine.stop(std::time::Duration::from_mins(1)).await;
    assert_eq!(world.deployment.disconnects(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_a_reload_removes_while_it_connects_gives_the_token_back() {
    let mut world = World::start().await;
    world.kill().await;
    world.start_again("boot").await;
    let nothing = Desired::default();
    world.machine.reload(nothing, false).await.unwrap();
    world
        .deployment
        .until("the token is free", |d| d.disconnects() == 1)
        .await;
    world.stop().await;
}
