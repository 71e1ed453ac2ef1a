//! Crashes stay local: each actor is replaced, its siblings do not notice, and no prompt is given twice.

use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::turn::Outcome;
use orchestrator_actors::table::ActorKey;

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn a_killed_child_interrupts_its_turn_and_the_next_one_is_served() {
    let world = World::start().await;
    world.streaming("s", "t1", "half").await;
    world.agents.kill("s").await;
    assert_eq!(
        world.deployment.ended("t1").await,
        (Outcome::Interrupted, "half".to_owned())
    );
    assert_eq!(world.agents.deliveries("t1"), 1);
    world.streaming("s", "t2", "whole").await;
    world.agents.complete("s", "t2", "whole").await;
    assert_eq!(world.deployment.ended("t2").await.0, Outcome::Complete);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panicking_session_is_replaced_and_its_sibling_streams_on() {
    let world = World::start().await;
    world.streaming("a", "ta", "half").await;
    world.streaming("b", "tb", "half").await;
    world
        .machine
        .inject_panic(ActorKey::parse("session/a"))
        .unwrap();
    assert_eq!(world.deployment.ended("ta").await.0, Outcome::Interrupted);
    let card = world
        .until_card("session/a", |card| card.phase == Phase::Ready)
        .await;
    assert_eq!(card.restarts, 1);
    world.agents.say("b", "tb", " and more").await;
    world.agents.complete("b", "tb", "").await;
    assert_eq!(
        world.deployment.ended("tb").await,
        (Outcome::Complete, "half and more".to_owned())
    );
    assert_eq!(world.card("session/b").unwrap().restarts, 0);
    assert_eq!(world.agents.deliveries("ta"), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panicking_worker_is_replaced_its_turns_settled_and_its_sessions_serve_again() {
    let world = World::start().await;
    world.streaming("a", "ta", "half").await;
    world.streaming("b", "tb", "half").await;
    world
        .machine
        .inject_panic(ActorKey::parse("worker/w"))
        .unwrap();
    assert_eq!(world.deployment.ended("ta").await.0, Outcome::Interrupted);
    assert_eq!(world.deployment.ended("tb").await.0, Outcome::Interrupted);
    assert_eq!(
        world
            .until_card("worker/w", |card| card.phase == Phase::Ready)
            .await
            .restarts,
        1
    );
    world.streaming("a", "ta2", "whole").await;
    world.agents.complete("a", "ta2", "whole").await;
    assert_eq!(world.deployment.ended("ta2").await.0, Outcome::Complete);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panicking_bridge_is_replaced_and_the_answer_goes_on() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    world
        .machine
        .inject_panic(ActorKey::parse("bridge/http://127.0.0.1:1"))
        .unwrap();
    let mut drives = world.link.drives();
    drives.wait_for(|drives| *drives == 2).await.unwrap();
    world.agents.say("s", "t", " and the rest").await;
    world.agents.complete("s", "t", "").await;
    assert_eq!(
        world.deployment.ended("t").await,
        (Outcome::Complete, "half and the rest".to_owned())
    );
    assert_eq!(world.card("worker/w").unwrap().restarts, 0);
    assert_eq!(world.card("session/s").unwrap().restarts, 0);
    world
        .until_card("bridge/http://127.0.0.1:1", |card| card.restarts == 1)
        .await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_keeps_panicking_is_parked_its_turns_are_closed_and_a_restart_unparks_it() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    for crash in 1..=5 {
        world
            .until_card("session/s", |card| {
                matches!(card.phase, Phase::Idle | Phase::Ready | Phase::Active)
            })
            .await;
        world
            .machine
            .inject_panic(ActorKey::parse("session/s"))
            .unwrap();
        world
            .until_card("session/s", |card| card.restarts == crash)
            .await;
    }
    world
        .until_card("session/s", |card| card.phase == Phase::Parked)
        .await;
    world.deployment.send("s", "u");
    assert_eq!(world.deployment.ended("u").await.0, Outcome::Failed);
    world
        .machine
        .restart(ActorKey::parse("session/s"))
        .await
        .unwrap();
    world.streaming("s", "v", "whole").await;
    world.agents.complete("s", "v", "whole").await;
    assert_eq!(world.deployment.ended("v").await.0, Outcome::Complete);
    assert_eq!(world.agents.deliveries("t"), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_keeps_panicking_is_parked_and_its_claimed_turns_are_closed() {
    let world = World::start().await;
    let panic = || {
        world
            .machine
            .inject_panic(ActorKey::parse("worker/w"))
            .unwrap();
    };
    for crash in 1..=4 {
        panic();
        world
            .until_card("worker/w", |card| {
                card.restarts == crash && card.phase == Phase::Ready
            })
            .await;
    }
    world.streaming("s", "t", "half").await;
    panic();
    world
        .until_card("worker/w", |card| card.phase == Phase::Parked)
        .await;
    assert_eq!(
        world.deployment.ended("t").await,
        (Outcome::Failed, "half".to_owned())
    );
    world
        .machine
        .restart(ActorKey::parse("worker/w"))
        .await
        .unwrap();
    world.streaming("s", "u", "whole").await;
    world.agents.complete("s", "u", "whole").await;
    assert_eq!(world.deployment.ended("u").await.0, Outcome::Complete);
    world.stop().await;
}
