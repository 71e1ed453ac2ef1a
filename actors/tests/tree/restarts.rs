//! Restart policy of each kind of actor: failed starts count, backoff shows, parking and un-parking, siblings untouched,
//! and what was ended while it waited does not come back.

use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::turn::Outcome;
use orchestrator_actors::machine::Desired;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::embedded::{Embedded, EmbeddedStatus};
use orchestrator_actors::supervision::fault::Fault;
use orchestrator_actors::table::ActorKey;

use crate::world::{BRIDGE, Setup, WORKER, World, is_serving, spec};

const SESSION: &str = "session/s";

async fn restart(world: &World, actor: &str) {
    let restarted = world.machine.restart(ActorKey::parse(actor)).await;
    restarted.unwrap();
}

/// Crashes an actor as soon as it is there, until its card says so many restarts.
async fn crash(world: &World, actor: &str, times: u32) {
    for crash in 1..=times {
        let is_up = |phase| !matches!(phase, Phase::Restarting | Phase::Starting);
        world.until_card(actor, |card| is_up(card.phase)).await;
        world.inject(actor, Fault::Panic);
        world.until_card(actor, |card| card.restarts >= crash).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_fails_in_its_start_is_started_again_with_backoff() {
    for (actor, fault) in [
        (WORKER, Fault::Panic),
        (WORKER, Fault::Fail),
        (BRIDGE, Fault::Panic),
        (BRIDGE, Fault::Fail),
    ] {
        let world = World::start().await;
        let key = ActorKey::parse(actor);
        world.machine.inject_at_start(key, fault, 2);
        world.inject(actor, Fault::Panic);
        let card = world
            .until_card(actor, |card| {
                card.restarts == 3 && card.phase != Phase::Restarting
            })
            .await;
        assert_eq!(card.restarts, 3, "{actor}");
        world.until_card(WORKER, is_serving).await;
        world.streaming("s", "t", "whole").await;
        world.agents.complete("s", "t", "whole").await;
        assert_eq!(world.deployment.ended("t").await.0, Outcome::Complete);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_fails_in_its_start_is_started_again_and_answers() {
    for fault in [Fault::Panic, Fault::Fail] {
        let world = World::start().await;
        world
            .machine
            .inject_at_start(ActorKey::parse(SESSION), fault, 3);
        world.streaming("s", "t", "whole").await;
        assert_eq!(world.card(SESSION).unwrap().restarts, 3);
        world.agents.complete("s", "t", "whole").await;
        assert_eq!(world.deployment.ended("t").await.0, Outcome::Complete);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_every_start_fails_is_parked_and_its_turn_closed() {
    let world = World::start().await;
    world
        .machine
        .inject_at_start(ActorKey::parse(SESSION), Fault::Panic, 5);
    world.deployment.send("s", "t");
    world
        .until_card(SESSION, |card| card.phase == Phase::Parked)
        .await;
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Failed);
    restart(&world, SESSION).await;
    world.streaming("s", "u", "whole").await;
    world.agents.complete("s", "u", "whole").await;
    assert_eq!(world.deployment.ended("u").await.0, Outcome::Complete);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn five_panics_park_one_session_and_its_siblings_do_not_notice() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    world.streaming("sibling", "u", "half").await;
    crash(&world, SESSION, 5).await;
    world
        .until_card(SESSION, |card| card.phase == Phase::Parked)
        .await;
    let sibling = world.card("session/sibling").unwrap();
    assert_eq!((sibling.restarts, sibling.phase), (0, Phase::Active));
    assert_eq!(world.card(WORKER).unwrap().restarts, 0);
    world.agents.complete("sibling", "u", "half").await;
    assert_eq!(world.deployment.ended("u").await.0, Outcome::Complete);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_bridge_in_backoff_has_a_card_and_a_restart_starts_it_at_once() {
    let world = World::start().await;
    // A bridge is never parked, however often it crashes; it only waits longer.
    crash(&world, BRIDGE, 9).await;
    let card = world.card(BRIDGE).unwrap();
    assert_eq!((card.phase, card.restarts), (Phase::Restarting, 9));
    assert!(card.last_error.unwrap().contains("injected"));
    restart(&world, BRIDGE).await;
    let card = world.card(BRIDGE).unwrap();
    assert_ne!(card.phase, Phase::Restarting);
    world.streaming("s", "t", "whole").await;
    world.agents.complete("s", "t", "whole").await;
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Complete);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_ended_during_its_backoff_does_not_come_back() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    crash(&world, SESSION, 4).await;
    assert_eq!(world.card(SESSION).unwrap().phase, Phase::Restarting);
    world.deployment.end("s");
    world.until_gone(SESSION).await;
    world
        .deployment
        .until("it says so", |d| d.status("s").as_deref() == Some("ended"))
        .await;
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert!(world.card(SESSION).is_none());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_and_a_bridge_that_a_reload_removes_during_their_backoff_do_not_come_back() {
    for actor in [WORKER, BRIDGE] {
        let world = World::start().await;
        crash(&world, actor, 3).await;
        assert_eq!(world.card(actor).unwrap().phase, Phase::Restarting);
        let nothing = Desired::default();
        world.machine.reload(nothing, false).await.unwrap();
        tokio::time::sleep(Duration::from_mins(2)).await;
        assert!(world.card(WORKER).is_none() && world.card(BRIDGE).is_none());
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_parked_workers_claimed_turns_are_closed_even_when_its_bridge_is_down() {
    let world = World::start().await;
    crash(&world, WORKER, 4).await;
    world.until_card(WORKER, is_serving).await;
    world.streaming("s", "t", "half").await;
    crash(&world, BRIDGE, 6).await;
    world.inject(WORKER, Fault::Panic);
    world
        .until_card(WORKER, |card| card.phase == Phase::Parked)
        .await;
    assert_eq!(
        world.deployment.ended("t").await,
        (Outcome::Failed, "half".to_owned())
    );
    restart(&world, WORKER).await;
    world.until_card(WORKER, is_serving).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_added_by_a_reload_is_not_touched_when_another_one_parks() {
    let world = World::start().await;
    let both = Desired {
        workers: vec![spec("w", 300_000), spec("x", 300_000)],
    };
    world.machine.reload(both, false).await.unwrap();
    world.until_card("worker/x", is_serving).await;
    crash(&world, "worker/x", 5).await;
    world
        .until_card("worker/x", |card| card.phase == Phase::Parked)
        .await;
    assert_eq!(world.card(WORKER).unwrap().restarts, 0);
    world.streaming("s", "t", "whole").await;
    world.agents.complete("s", "t", "whole").await;
    assert_eq!(world.deployment.ended("t").await.0, Outcome::Complete);
    world.stop().await;
}

/// A deployment whose watcher has nothing to tell.
struct Quiet;

impl Embedded for Quiet {
    fn url(&self) -> DeploymentUrl {
        DeploymentUrl::from("http://127.0.0.1:1")
    }

    fn detail(&self) -> String {
        "embedded".to_owned()
    }

    fn follow(&self, report: Box<dyn Fn(EmbeddedStatus) + Send + Sync>) -> Pending<()> {
        Box::pin(async move {
            report(EmbeddedStatus {
                phase: Phase::Ready,
                restarts: 0,
                last_error: None,
            });
            std::future::pending::<()>().await;
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_deployments_watcher_comes_back_with_backoff_and_its_card_stays() {
    let world = World::with(Setup {
        embedded: Some(Arc::new(Quiet)),
        ..Setup::default()
    })
    .await;
    let begun = tokio::time::Instant::now();
    crash(&world, "deployment", 6).await;
    assert_eq!(world.card("deployment").unwrap().phase, Phase::Restarting);
    // 0, 250, 500, 1000 and 2000 ms, each with its jitter.
    assert!(begun.elapsed() >= Duration::from_secs(3));
    restart(&world, "deployment").await;
    world
        .until_card("deployment", |card| card.phase == Phase::Ready)
        .await;
    let alone = world.machine.restart(ActorKey::parse("deployment")).await;
    assert!(alone.unwrap_err().contains("orchestrator stop"));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_come_to_a_parked_session_in_quick_succession_are_all_closed() {
    let world = World::start().await;
    world.streaming("s", "t", "half").await;
    crash(&world, SESSION, 5).await;
    for turn in ["u", "v", "w"] {
        world.deployment.send("s", turn);
    }
    for turn in ["u", "v", "w"] {
        assert_eq!(world.deployment.ended(turn).await.0, Outcome::Failed);
    }
    world.stop().await;
}
