//! Another supervisor took the token: this one stops, says so, and does not come back by itself, whatever crashes.

use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::turn::Outcome;
use orchestrator_actors::machine::Desired;
use orchestrator_actors::supervision::fault::Fault;
use orchestrator_actors::table::ActorKey;

use crate::world::{BRIDGE, Setup, WORKER, World, is_serving, spec};

async fn displaced() -> World {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    world.deployment.displace();
    world
        .until_card(WORKER, |card| card.phase == Phase::Displaced)
        .await;
    world
        .agents
        .until("its children are stopped", |agents| agents.alive() == 0)
        .await;
    world.quiet().await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_displaced_supervisor_stops_its_children_and_says_so() {
    let world = displaced().await;
    assert_eq!(world.deployment.take_overs().len(), 2);
    // What it could not hand over stays on disk for the day it has the token again.
    assert_eq!(world.disk.depth(), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_displaced_worker_that_crashes_does_not_ask_for_the_token_again() {
    for crashes in [WORKER, BRIDGE] {
        let world = displaced().await;
        let asked = world.deployment.take_overs().len();
        let restarts = |crash| {
            world.inject(crash, Fault::Panic);
            world.until_card(crash, |card| card.restarts == 1)
        };
        restarts(crashes).await;
        world
            .until_card(WORKER, |card| card.phase == Phase::Displaced)
            .await;
        tokio::time::sleep(std::time::Duration::from_mins(5)).await;
        assert_eq!(world.deployment.take_overs().len(), asked, "{crashes}");
        assert_eq!(world.card(WORKER).unwrap().phase, Phase::Displaced);
        assert_eq!(world.agents.alive(), 0);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_displaced_worker_asks_again_when_a_person_restarts_it_and_stays_refused_while_it_is_held()
 {
    let world = displaced().await;
    let asked = world.deployment.take_overs().len();
    let restarted = world.machine.restart(ActorKey::parse(WORKER)).await;
    restarted.unwrap();
    let card = world
        .until_card(WORKER, |card| card.phase == Phase::Failed)
        .await;
    assert!(card.detail.contains("--take-over"), "{}", card.detail);
    assert_eq!(world.deployment.take_overs().len(), asked + 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_displaced_worker_that_a_reload_removed_and_wants_again_is_a_new_one() {
    let world = displaced().await;
    let nothing = Desired::default();
    world.machine.reload(nothing, false).await.unwrap();
    world.until_gone(WORKER).await;
    let again = Desired {
        workers: vec![spec("w", 300_000)],
    };
    world.machine.reload(again, false).await.unwrap();
    world
        .until_card(WORKER, |card| card.phase == Phase::Failed)
        .await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_revoked_and_approved_while_away_serves_under_its_new_epoch() {
    let world = World::start().await;
    world.deployment.raise_epoch();
    world
        .deployment
        .until("it connects again", |d| d.take_overs().len() == 2)
        .await;
    world.streaming("s", "t", "hi").await;
    world.agents.complete("s", "t", "hi").await;
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Complete);
    world.stop().await;
}

/// A machine that was cloned, or a container that runs twice: the deployment takes both for one installation.
#[tokio::test(start_paused = true)]
async fn two_that_are_let_in_each_time_do_not_take_the_token_from_each_other_for_ever() {
    let world = World::start().await;
    let connects = |times: usize| {
        let what = format!("it connects {times} times");
        let deployment = &world.deployment;
        async move {
            deployment
                .until(&what, |d| d.take_overs().len() == times)
                .await;
        }
    };
    // Once in a while is an owner who revokes and approves.
    for times in 2..4 {
        world.deployment.raise_epoch();
        connects(times).await;
        world.until_card(WORKER, is_serving).await;
        tokio::time::sleep(std::time::Duration::from_mins(5)).await;
    }
    world.deployment.raise_epoch();
    connects(4).await;
    world.deployment.raise_epoch();
    world
        .until_card(WORKER, |card| card.phase == Phase::Displaced)
        .await;
    tokio::time::sleep(std::time::Duration::from_mins(5)).await;
    connects(4).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_takeover_is_asked_for_once_whatever_crashes_later() {
    let world = World::with(Setup {
        take_over: true,
        ..Setup::default()
    })
    .await;
    for (crashed, connects) in [(WORKER, 2), (BRIDGE, 3)] {
        world.inject(crashed, Fault::Panic);
        world
            .deployment
            .until("it connects again", |d| d.take_overs().len() == connects)
            .await;
    }
    world.until_card(WORKER, is_serving).await;
    assert_eq!(world.deployment.take_overs(), [true, false, false]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_under_an_epoch_that_rose_while_nobody_looked() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    world.agents.complete("s", "t", "half").await;
    world.deployment.ended("t").await;
    world.link.set_online(false);
    world.inject(BRIDGE, Fault::Panic);
    world.quiet().await;
    world.deployment.raise_epoch();
    world.link.set_online(true);
    world.quiet().await;
    world.streaming("s", "u", "whole").await;
    world.agents.complete("s", "u", "whole").await;
    assert_eq!(world.deployment.ended("u").await.0, Outcome::Complete);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_removed_worker_had_to_say_does_not_lie_on_disk_for_ever() {
    let mut world = World::start().await;
    world.streaming("s", "t", "half").await;
    world.link.set_online(false);
    world.agents.complete("s", "t", "half").await;
    world.quiet().await;
    world.kill().await;
    assert_eq!(world.disk.depth(), 1);
    world.deployment.remove_workers();
    world.start_again("boot").await;
    world
        .until_card(WORKER, |card| card.phase == Phase::Revoked)
        .await;
    world.quiet().await;
    assert_eq!(world.disk.depth(), 0);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_is_given_back_when_nobody_works_for_its_worker_any_more() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    let nothing = Desired::default();
    world.machine.reload(nothing, false).await.unwrap();
    let given_back = |deployment: &crate::fake_deployment::FakeDeployment| {
        let is_back = deployment.disconnects() == 1;
        assert!(!is_back || world.agents.leases() == 0, "its child works");
        is_back
    };
    world.deployment.until("it is given back", given_back).await;
    world.until_gone(WORKER).await;
    world.stop().await;
}
