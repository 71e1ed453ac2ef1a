//! A stuck actor is named, with what it does and since when, and nobody asks it; mailboxes are measured.

use std::time::Duration;

use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::turn::Outcome;
use orchestrator_actors::supervision::fault::Fault;
use orchestrator_actors::supervision::gauge::{STUCK, Stuck};
use orchestrator_actors::table::ActorKey;

use crate::world::{BRIDGE, WORKER, World, is_serving};

const FOREVER: Duration = Duration::from_hours(10);

fn stuck(world: &World, actor: &str) -> Option<Stuck> {
    world.card(actor).unwrap().gauge.read().stuck
}

#[tokio::test(start_paused = true)]
async fn a_blocked_handler_is_named_with_what_it_does_while_the_others_go_on() {
    for actor in [WORKER, BRIDGE, "session/s", "machine"] {
        let world = World::start().await;
        world.streaming("s", "t", "half").await;
        world.streaming("other", "u", "half").await;
        world.inject(actor, Fault::Block(FOREVER));
        tokio::time::sleep(STUCK * 2).await;
        let named = stuck(&world, actor).expect("it is named");
        assert_eq!(named.doing, "Fault");
        assert!(named.for_ms >= 5_000, "{named:?}");
        for other in [WORKER, BRIDGE, "session/other", "machine"] {
            assert!(actor == other || stuck(&world, other).is_none(), "{other}");
        }
        world.agents.complete("other", "u", "half").await;
        assert_eq!(world.deployment.ended("u").await.0, Outcome::Complete);
        world.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_replaces_an_actor_that_is_stuck() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    for actor in ["session/s", WORKER, BRIDGE] {
        world.inject(actor, Fault::Block(FOREVER));
        tokio::time::sleep(STUCK * 2).await;
        assert!(stuck(&world, actor).is_some());
        let restarted = world.machine.restart(ActorKey::parse(actor)).await;
        restarted.unwrap();
        world
            .until_card(actor, |card| {
                card.gauge.read().stuck.is_none() && card.phase != Phase::Restarting
            })
            .await;
    }
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Interrupted);
    world.until_card(WORKER, is_serving).await;
    world.streaming("s", "u", "whole").await;
    world.agents.complete("s", "u", "whole").await;
    assert_eq!(world.deployment.ended("u").await.0, Outcome::Complete);
    assert_eq!(world.agents.deliveries("t"), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_grows_shows_and_the_largest_one_is_remembered() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    world.inject("session/s", Fault::Block(Duration::from_mins(1)));
    world.quiet().await;
    // Each wish of the owner's is a message to the session that cannot take it.
    for _ in 0..100 {
        world.deployment.abort("t");
        world.deployment.send("other", "noise");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let waiting = world.card("session/s").unwrap().gauge.read().waiting;
    assert!(waiting > 0);
    world.deployment.ended("t").await;
    world
        .until_card("session/s", |card| card.gauge.read().waiting == 0)
        .await;
    let largest = world.machine.table().largest_mailbox();
    assert!(largest.messages >= waiting, "{largest:?}");
    world.kill().await;
    // It is gone, and still remembered.
    let after = world.machine.table().largest_mailbox();
    assert!(after.messages >= largest.messages);
}
