//! A deployment that is away, or slow: everything goes on by itself when it is back, nothing is said twice, and nothing
//! grows meanwhile.

use std::time::Duration;

use orchestrator_actors::domain::item::ItemKind;
use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::turn::Outcome;

use crate::script::item;
use crate::world::{BRIDGE, Setup, WORKER, World, is_serving};

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_down_at_the_start_is_waited_for_and_then_served() {
    let world = World::with(Setup {
        offline: true,
        ..Setup::default()
    })
    .await;
    assert_eq!(world.card(WORKER).unwrap().phase, Phase::Starting);
    world
        .until_card(BRIDGE, |card| card.phase == Phase::Offline)
        .await;
    world.deployment.send("s", "t");
    tokio::time::sleep(Duration::from_hours(3)).await;
    world.link.set_online(true);
    world.until_card(WORKER, is_serving).await;
    world.delivered("t").await;
    world.agents.complete("s", "t", "done").await;
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Complete);
    assert_eq!(world.deployment.take_overs().len(), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_mid_answer_loses_nothing_and_says_nothing_twice() {
    let world = World::start().await;
    world.streaming("s", "t", "before").await;
    world.link.set_online(false);
    world.agents.say("s", "t", " during").await;
    // What was sent meanwhile, and what is over meanwhile, is known when it is back.
    world.deployment.send("s", "u");
    world.agents.complete("s", "t", "").await;
    tokio::time::sleep(Duration::from_hours(5)).await;
    assert!(world.deployment.turn("t").ending.is_none());
    world.link.set_online(true);
    assert_eq!(
        world.deployment.ended("t").await,
        (Outcome::Complete, "before during".to_owned())
    );
    world.delivered("u").await;
    world.agents.complete("s", "u", "").await;
    assert_eq!(world.deployment.ended("u").await.0, Outcome::Complete);
    assert_eq!(
        (world.agents.deliveries("t"), world.agents.deliveries("u")),
        (1, 1)
    );
    for actor in [WORKER, BRIDGE, "session/s"] {
        assert_eq!(world.card(actor).unwrap().restarts, 0, "{actor}");
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_deployment_and_ten_thousand_deltas_leave_every_mailbox_small() {
    let world = World::start().await;
    world.streaming("s", "t", "").await;
    world.link.set_online(false);
    for _ in 0..10_000 {
        let delta = item("t", "p", ItemKind::Text, "delta ");
        world.agents.emit("s", delta).await;
    }
    // The credit of a session's events is 256.
    let largest = world.machine.table().largest_mailbox();
    assert!(largest.messages <= 300, "{largest:?}");
    world.link.set_online(true);
    world.agents.complete("s", "t", "").await;
    let (outcome, text) = world.deployment.ended("t").await;
    assert_eq!((outcome, text.len()), (Outcome::Complete, 60_000));
    world.stop().await;
}
