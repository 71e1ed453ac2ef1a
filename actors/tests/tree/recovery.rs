//! Answers that the assistant's store has whole, and a link or a deployment that cannot take them just now.

use std::time::Duration;

use orchestrator_actors::domain::item::ItemKind;
use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::turn::Outcome;
use orchestrator_actors::supervision::fault::Fault;
use orchestrator_actors::table::ActorKey;

use crate::gate::Point;
use crate::ports::OneStore;
use crate::script::item;
use crate::world::{BRIDGE, Setup, World};

/// More than a link holds of one turn, and of all.
const PIECES: usize = 200;

fn piece() -> String {
    "0123456789abcdef".repeat(4 * 1024)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_met_a_full_link_is_whole_when_the_deployment_is_back() {
    let world = World::start().await;
    world.streaming("s", "t", "").await;
    world.link.set_online(false);
    for _ in 0..PIECES {
        let delta = item("t", "p", ItemKind::Text, &piece());
        world.agents.emit("s", delta).await;
    }
    let whole = piece().repeat(PIECES);
    world.agents.complete("s", "t", &whole).await;
    tokio::time::sleep(Duration::from_hours(5)).await;
    world.link.set_online(true);
    let (outcome, text) = world.deployment.ended("t").await;
    assert_eq!(outcome, Outcome::Complete);
    assert!(text == whole, "{} of {}", text.len(), whole.len());
    assert_eq!(world.agents.deliveries("t"), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_killed_while_a_recovery_waits_for_room_recovers_all_of_it_at_the_next_start()
{
    let mut world = World::start().await;
    world.streaming("s", "t", "").await;
    world.link.set_online(false);
    for _ in 0..PIECES {
        let delta = item("t", "p", ItemKind::Text, &piece());
        world.agents.emit("s", delta).await;
    }
    let whole = piece().repeat(PIECES);
    world.agents.complete("s", "t", &whole).await;
    world.quiet().await;
    world.kill().await;
    world.start_again("boot").await;
    let (outcome, text) = world.deployment.ended("t").await;
    assert_eq!(outcome, Outcome::Complete);
    assert!(text == whole, "{} of {}", text.len(), whole.len());
    assert_eq!(world.agents.deliveries("t"), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_finish_that_the_deployment_failed_to_take_does_not_wait_for_the_next_message() {
    let world = World::start().await;
    world.streaming("s", "t", "whole").await;
    // Claimed already: nothing in the inbox changes any more.
    world.quiet().await;
    world.deployment.fail_finishes(3);
    let begun = tokio::time::Instant::now();
    world.agents.complete("s", "t", "whole").await;
    assert_eq!(
        world.deployment.ended("t").await,
        (Outcome::Complete, "whole".to_owned())
    );
    assert!(begun.elapsed() < Duration::from_secs(30), "idle stop");
    assert_eq!(world.agents.deliveries("t"), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_finish_that_is_refused_for_hours_writes_the_answer_once_and_counts_it_once() {
    let mut world = World::start().await;
    world.streaming("s", "t", "").await;
    world.deployment.fail_finishes(20);
    // The next supervisor has the answer from the store: a recovery.
    let whole = piece().repeat(PIECES);
    world.link.set_online(false);
    world.agents.complete("s", "t", &whole).await;
    world.quiet().await;
    world.kill().await;
    world.start_again("boot").await;
    let begun = tokio::time::Instant::now();
    let (outcome, text) = world.deployment.ended("t").await;
    assert_eq!(outcome, Outcome::Complete);
    assert!(text == whole, "{} of {}", text.len(), whole.len());
    assert!(
        begun.elapsed() > Duration::from_mins(30),
        "{:?}",
        begun.elapsed()
    );
    let items = world.deployment.turn("t").items;
    let bytes: usize = items.iter().map(|item| item.content.len()).sum();
    // What the outbox had, and the recovery beside it.
    assert!(bytes <= 2 * whole.len(), "{bytes} of {}", whole.len());
    assert_eq!(world.agents.deliveries("t"), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_looked_up_in_the_conversation_that_was_confirmed_meanwhile() {
    let world = World::start().await;
    world.deployment.confirm_meanwhile("s", "ses_another");
    world.deployment.send("s", "t");
    world.delivered("t").await;
    assert_eq!(
        world.agents.looked_up_in("t").as_deref(),
        Some("ses_another")
    );
    world.agents.complete("s", "t", "whole").await;
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Complete);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_claimed_after_the_store_was_lost_is_recorded_under_the_new_one() {
    let store = OneStore::default();
    let world = World::with(Setup {
        store: store.clone(),
        ..Setup::default()
    })
    .await;
    world.streaming("s", "t", "whole").await;
    world.agents.complete("s", "t", "whole").await;
    world.deployment.ended("t").await;
    assert_eq!(world.deployment.turn("t").claimed_store, "store");
    store.becomes("another");
    for turn in ["u", "v"] {
        world.streaming("s", turn, "whole").await;
        world.agents.complete("s", turn, "whole").await;
        world.deployment.ended(turn).await;
        assert_eq!(world.deployment.turn(turn).claimed_store, "another");
    }
    // Told once, and without a right to the token that others may have.
    assert_eq!(world.deployment.take_overs(), [false, false]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_earlier_turns_recovery_goes_on_under_an_epoch_that_rose_meanwhile() {
    let world = World::start().await;
    world.streaming("s", "t", "").await;
    let whole = piece().repeat(PIECES);
    world.agents.answered_silently_with("t", &whole);
    let session = ActorKey::parse("session/s");
    world
        .machine
        .inject_at_start(session.clone(), Fault::Panic, 4);
    world.inject("session/s", Fault::Panic);
    world
        .until_card("session/s", |card| card.phase == Phase::Parked)
        .await;
    world
        .deployment
        .until("it is closed for now", |d| d.turn("t").provisional)
        .await;
    world.machine.restart(session).await.unwrap();
    world.gate.hold(Point::AfterClaim);
    world.deployment.send("s", "u");
    world.gate.reached().await;
    world.link.set_online(false);
    world.gate.open();
    // More than there is room for: the rest of it waits.
    world.quiet().await;
    world.inject(BRIDGE, Fault::Panic);
    world.quiet().await;
    world.deployment.raise_epoch();
    world.link.set_online(true);
    world
        .deployment
        .until("the answer is there", |d| !d.turn("t").provisional)
        .await;
    let (outcome, text) = world.deployment.ended("t").await;
    assert_eq!(outcome, Outcome::Complete);
    assert!(text.ends_with(&whole), "{} of {}", text.len(), whole.len());
    world.delivered("u").await;
    world.agents.complete("s", "u", "done").await;
    world.deployment.ended("u").await;
    world.stop().await;
}
