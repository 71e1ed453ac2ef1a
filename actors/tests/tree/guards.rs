//! The turn guards: nothing that an assistant does or leaves undone lets a turn hang. Minutes pass, virtually.

use std::time::Duration;

use orchestrator_actors::domain::assistant::{AgentEvent, RequestId};
use orchestrator_actors::domain::permission::Asked;
use orchestrator_actors::domain::turn::Outcome;
use tokio::time::Instant;

use crate::fake_agent::Call;
use crate::rows::POISON;
use crate::world::World;

async fn ended_with(world: &World, turn: &str) -> (Outcome, String) {
    let (outcome, _) = world.deployment.ended(turn).await;
    let ending = world.deployment.turn(turn).ending.expect("an ending");
    (
        outcome,
        ending.error.map(|error| error.code).unwrap_or_default(),
    )
}

fn failed(code: &str) -> (Outcome, String) {
    (Outcome::Failed, code.to_owned())
}

#[tokio::test(start_paused = true)]
async fn an_assistant_that_does_not_answer_is_asked_again_and_then_replaced_whatever_it_was_asked()
{
    for (call, times, restarts, deliveries) in [
        (Call::Conversation, 2, 0, 1),
        (Call::Conversation, 3, 1, 1),
        (Call::Lookup, 2, 0, 1),
        (Call::Lookup, 3, 1, 1),
        // Whether a prompt arrived is never asked of the child that may still take it.
        (Call::Deliver, 1, 1, 2),
    ] {
        let world = World::start().await;
        world.agents.mute(call, times);
        let begun = Instant::now();
        world.deployment.send("s", "t");
        world
            .agents
            .until("it is delivered", |agents| {
                agents.deliveries("t") == deliveries
            })
            .await;
        assert!(begun.elapsed() < Duration::from_mins(4), "{call:?}");
        world.agents.complete("s", "t", "done").await;
        assert_eq!(
            world.deployment.ended("t").await.0,
            Outcome::Complete,
            "{call:?}"
        );
        let card = world.card("session/s").unwrap();
        assert_eq!(card.restarts, restarts, "{call:?}");
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_assistant_whose_planned_stop_does_not_end_is_let_go() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    world.agents.mute(Call::Stop, 1);
    world.machine.stop(Duration::from_mins(2)).await;
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Interrupted);
    assert_eq!(world.agents.alive(), 0);
    assert_eq!(world.agents.leases(), 0);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_turn_at_every_step_of_its_answer() {
    for spoken in ["", "half"] {
        let world = World::start().await;
        world.deployment.send("s", "t");
        world.delivered("t").await;
        if !spoken.is_empty() {
            world.agents.say("s", "t", spoken).await;
        }
        let begun = Instant::now();
        assert_eq!(ended_with(&world, "t").await, failed("silent"));
        let waited = begun.elapsed();
        assert!(
            waited > Duration::from_secs(330) && waited < Duration::from_mins(6),
            "{waited:?}"
        );
        assert_eq!(world.agents.deliveries("t"), 1);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_a_person_is_no_silence_and_is_rejected_in_time() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    let asked = AgentEvent::Asked {
        turn: "t".into(),
        request: RequestId("r".to_owned()),
        asked: Box::new(Asked {
            title: "bash: ls".to_owned(),
            ..Asked::default()
        }),
    };
    world.agents.emit("s", asked).await;
    let card = world
        .until_card("session/s", |card| !card.detail.is_empty())
        .await;
    assert!(card.detail.contains("bash"));
    let begun = Instant::now();
    // Rejected after its time; only then the silence begins.
    assert_eq!(ended_with(&world, "t").await, failed("silent"));
    assert!(begun.elapsed() > Duration::from_secs(60 + 330));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_wants_to_wait_longer_than_two_minutes_ends_the_turn() {
    let retrying = |next_ms| AgentEvent::Retrying {
        turn: "t".into(),
        attempt: 1,
        next_ms,
        message: "slow down".to_owned(),
    };
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    world.agents.emit("s", retrying(119_000)).await;
    world.quiet().await;
    assert!(world.deployment.turn("t").ending.is_none());
    world.agents.emit("s", retrying(121_000)).await;
    assert_eq!(ended_with(&world, "t").await, failed("provider_retry"));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_item_fails_its_own_turn_and_no_other() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    world.streaming("sibling", "u", "half").await;
    world.agents.say("s", "t", POISON).await;
    world.quiet().await;
    world.agents.say("s", "t", " and more").await;
    assert_eq!(ended_with(&world, "t").await, failed("stream_refused"));
    assert_eq!(world.deployment.turn("t").text(), "half");
    world.agents.say("sibling", "u", " and more").await;
    world.agents.complete("sibling", "u", "").await;
    assert_eq!(
        world.deployment.ended("u").await,
        (Outcome::Complete, "half and more".to_owned())
    );
    world.stop().await;
}
