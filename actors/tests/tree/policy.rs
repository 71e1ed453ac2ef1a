//! What follows an end: nothing, a turn that goes on with it, or the answer that the store had after all. And what was
//! sent while nobody was there.

use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::turn::{OnInterrupt, Outcome};
use orchestrator_actors::machine::{Desired, WorkerSpec};
use orchestrator_actors::supervision::fault::Fault;
use orchestrator_actors::table::ActorKey;

use crate::fold::text;
use crate::script::whole;
use crate::world::{Setup, World, spec};

async fn world(on_interrupt: OnInterrupt) -> World {
    World::with(Setup {
        on_interrupt,
        ..Setup::default()
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_turn_is_reported_and_nothing_goes_on_with_it() {
    let world = world(OnInterrupt::Report).await;
    world.streaming("s", "t", "half").await;
    world.inject("session/s", Fault::Panic);
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Interrupted);
    world.quiet().await;
    assert_eq!(world.deployment.turns().len(), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn with_the_policy_continue_a_new_turn_goes_on_ahead_of_the_queue_and_only_once() {
    let world = world(OnInterrupt::Continue).await;
    world.streaming("s", "t", "half").await;
    world.deployment.send("s", "later");
    world.inject("session/s", Fault::Panic);
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Interrupted);
    world.delivered("t.continued").await;
    assert_eq!(world.agents.deliveries("later"), 0);
    world.agents.say("s", "t.continued", "half again").await;
    world
        .deployment
        .until("it streams", |d| !d.turn("t.continued").items.is_empty())
        .await;
    world.inject("session/s", Fault::Panic);
    let ended = world.deployment.ended("t.continued").await;
    assert_eq!(ended, (Outcome::Interrupted, "half again".to_owned()));
    world.delivered("later").await;
    assert_eq!(world.deployment.turns().len(), 3);
    assert_eq!(world.agents.deliveries("t"), 1);
    world.agents.complete("s", "later", "done").await;
    world.deployment.ended("later").await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_the_supervisors_stop_interrupts_is_gone_on_with_at_the_next_start() {
    let mut world = world(OnInterrupt::Continue).await;
    world.streaming("s", "t", "half").await;
    world.machine.stop(std::time::Duration::from_mins(1)).await;
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Interrupted);
    assert_eq!(world.agents.deliveries("t.continued"), 0);
    world.start_again("boot").await;
    world.delivered("t.continued").await;
    world.agents.complete("s", "t.continued", "done").await;
    let ended = world.deployment.ended("t.continued").await;
    assert_eq!(ended.0, Outcome::Complete);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_store_has_replaces_the_end_of_a_turn_whose_child_could_not_be_started()
{
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    // The assistant finishes, and dies before it can say so; and then it cannot be started.
    world.agents.answered_silently("t");
    world.agents.fail_boots(3);
    assert!(world.agents.kill("s").await);
    let (outcome, _) = world.deployment.ended("t").await;
    assert_eq!(outcome, Outcome::Failed);
    // Visible, and not for good: the next message asks the store first.
    world.deployment.send("s", "u");
    world.delivered("u").await;
    world
        .deployment
        .until("the answer is there", |d| {
            let ending = d.turn("t").ending;
            ending.is_some_and(|ending| ending.outcome == Outcome::Complete)
        })
        .await;
    // The part that had streamed belongs to a dead attempt of the test's; the store's parts are whole.
    assert!(
        world
            .deployment
            .turn("t")
            .text()
            .ends_with(&text(&whole("t")))
    );
    assert_eq!(world.agents.deliveries("t"), 1);
    world.agents.complete("s", "u", "done").await;
    assert_eq!(world.deployment.ended("u").await.0, Outcome::Complete);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_parked_sessions_answer_is_not_lost() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    world.agents.answered_silently("t");
    // It cannot even be looked up: every successor crashes in its start.
    let session = ActorKey::parse("session/s");
    world
        .machine
        .inject_at_start(session.clone(), Fault::Panic, 4);
    world.inject("session/s", Fault::Panic);
    world
        .until_card("session/s", |card| card.phase == Phase::Parked)
        .await;
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Failed);
    assert!(world.deployment.turn("t").provisional);
    world.machine.restart(session).await.unwrap();
    world.deployment.send("s", "u");
    world.delivered("u").await;
    world
        .deployment
        .until("the answer is there", |d| !d.turn("t").provisional)
        .await;
    let ended = world.deployment.ended("t").await;
    assert_eq!(ended.0, Outcome::Complete);
    assert!(ended.1.ends_with(&text(&whole("t"))));
    world.agents.complete("s", "u", "done").await;
    world.deployment.ended("u").await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_while_the_machine_was_off_is_answered_in_order() {
    let mut world = World::start().await;
    world.streaming("a", "a0", "half").await;
    world.kill().await;
    for n in 1..=4 {
        for session in ["a", "b", "c"] {
            world.deployment.send(session, &format!("{session}{n}"));
        }
    }
    world.start_again("next boot").await;
    assert_eq!(world.deployment.ended("a0").await.0, Outcome::Interrupted);
    for n in 1..=4 {
        for session in ["c", "b", "a"] {
            let turn = format!("{session}{n}");
            world.delivered(&turn).await;
            let next = format!("{session}{}", n + 1);
            assert_eq!(world.agents.deliveries(&next), 0, "{next} before {turn}");
            world.agents.complete(session, &turn, "done").await;
            assert_eq!(world.deployment.ended(&turn).await.0, Outcome::Complete);
            assert_eq!(world.agents.deliveries(&turn), 1);
        }
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_the_policy_of_a_turn_that_runs() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    let desired = Desired {
        workers: vec![WorkerSpec {
            on_interrupt: OnInterrupt::Continue,
            ..spec("w", 300_000)
        }],
    };
    let report = world.machine.reload(desired, false).await.unwrap();
    assert_eq!(
        report.changed,
        [(
            "w".to_owned(),
            "interrupted_turns report -> continue (live)".to_owned()
        )]
    );
    assert!(world.agents.kill("s").await);
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Interrupted);
    world.delivered("t.continued").await;
    world.agents.complete("s", "t.continued", "done").await;
    world.deployment.ended("t.continued").await;
    world.stop().await;
}
