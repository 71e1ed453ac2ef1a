//! What people are shown is what is: the deployment's word for a session, and the cards of the table.

use std::time::Duration;

use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::turn::Outcome;
use orchestrator_actors::machine::Desired;
use orchestrator_actors::supervision::fault::Fault;
use orchestrator_actors::supervision::gauge::STUCK;
use orchestrator_actors::table::ActorKey;

use crate::world::{WORKER, World, is_serving};

const SESSION: &str = "session/s";
const FOREVER: Duration = Duration::from_hours(10);

async fn is_said(world: &World, status: &str) {
    world
        .deployment
        .until(status, |d| d.status("s").as_deref() == Some(status))
        .await;
}

async fn panic(world: &World, times: u32) {
    for crash in 1..=times {
        let is_up = |phase| !matches!(phase, Phase::Restarting | Phase::Starting);
        world.until_card(SESSION, |card| is_up(card.phase)).await;
        world.inject(SESSION, Fault::Panic);
        world
            .until_card(SESSION, |card| card.restarts >= crash)
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_its_own_panics_parked_is_shown_as_failed_until_it_is_unparked() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    is_said(&world, "active").await;
    panic(&world, 5).await;
    is_said(&world, "failed").await;
    tokio::time::sleep(Duration::from_mins(2)).await;
    is_said(&world, "failed").await;
    world
        .machine
        .restart(ActorKey::parse(SESSION))
        .await
        .unwrap();
    is_said(&world, "idle").await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_in_mid_answer_leaves_no_session_active() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    is_said(&world, "active").await;
    world.stop_machine().await;
    assert_eq!(world.deployment.status("s").as_deref(), Some("idle"));
    assert_eq!(
        world.deployment.ended("t").await,
        (Outcome::Interrupted, "half".to_owned())
    );
    world.left_nothing();
}

#[tokio::test(start_paused = true)]
async fn a_session_that_waits_for_its_restart_when_the_supervisor_stops_is_not_left_active() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    panic(&world, 4).await;
    assert_eq!(world.card(SESSION).unwrap().phase, Phase::Restarting);
    world.stop_machine().await;
    assert_eq!(world.deployment.status("s").as_deref(), Some("idle"));
    world.left_nothing();
}

#[tokio::test(start_paused = true)]
async fn a_ready_session_that_panics_loses_its_child_and_is_not_shown_as_active() {
    let world = World::start().await;
    world.streaming("s", "t", "whole").await;
    world.agents.complete("s", "t", "whole").await;
    world.deployment.ended("t").await;
    world.quiet().await;
    is_said(&world, "active").await;
    world.inject(SESSION, Fault::Panic);
    is_said(&world, "idle").await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_card_of_a_fallen_session_does_not_outlive_its_worker() {
    for crashes in [4, 5] {
        let world = World::start().await;
        world.streaming("s", "t", "half").await;
        panic(&world, crashes).await;
        // Its turn is closed, so that nothing brings the session back.
        world.deployment.abort("t");
        if crashes == 5 {
            world.deployment.ended("t").await;
        }
        let nothing = Desired::default();
        world.machine.reload(nothing, false).await.unwrap();
        world.until_gone(WORKER).await;
        assert!(world.card(SESSION).is_none(), "{crashes}");
        world.stop().await;
    }
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    panic(&world, 5).await;
    world.deployment.ended("t").await;
    world.inject(WORKER, Fault::Panic);
    world.until_gone(SESSION).await;
    world.until_card(WORKER, is_serving).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_worker_that_is_removed_is_gone_after_its_deadline() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    world.inject(WORKER, Fault::Block(FOREVER));
    world
        .machine
        .reload(Desired::default(), false)
        .await
        .unwrap();
    let begun = tokio::time::Instant::now();
    world.until_gone(WORKER).await;
    assert!(begun.elapsed() <= Duration::from_mins(1));
    world.until_gone(SESSION).await;
    world
        .agents
        .until("its child is gone", |agents| agents.alive() == 0)
        .await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_worker_that_is_being_removed_is_gone_at_once_when_a_person_restarts_it() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    world.inject(WORKER, Fault::Block(FOREVER));
    tokio::time::sleep(STUCK * 2).await;
    let nothing = Desired::default();
    world.machine.reload(nothing, false).await.unwrap();
    let begun = tokio::time::Instant::now();
    world
        .machine
        .restart(ActorKey::parse(WORKER))
        .await
        .unwrap();
    world.until_gone(WORKER).await;
    assert!(begun.elapsed() <= Duration::from_secs(1));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_worker_does_not_keep_the_supervisor_from_stopping() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    world.inject(WORKER, Fault::Block(FOREVER));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_child_is_started_for_a_session_that_its_owner_has_just_ended() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    assert_eq!(world.agents.boots(), 1);
    world.deployment.end("s");
    world.deployment.ended("t").await;
    is_said(&world, "ended").await;
    world.quiet().await;
    assert_eq!(world.agents.boots(), 1);
    assert!(world.card(SESSION).is_none());
    world.stop().await;
}
