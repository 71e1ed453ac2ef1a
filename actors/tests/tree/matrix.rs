//! Every fault at every point of a turn. However it falls: the model is asked once at most, the turn ends as the table of
//! "a prompt is given once" says, its chunks have no gap and fold to the stored parts or to their beginning.

use std::time::Duration;

use orchestrator_actors::domain::item::ItemKind;
use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::turn::Outcome;
use orchestrator_actors::supervision::fault::Fault as ActorFault;

use crate::fold::{Part, fold};
use crate::gate::Point;
use crate::script::{Script, whole};
use crate::world::{BRIDGE, Setup, WORKER, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    SessionPanics,
    WorkerPanics,
    BridgePanics,
    ChildKilled,
    SupervisorKilled,
    /// The power goes: the next supervisor finds another boot id.
    MachineRestarts,
    OwnerAborts,
    OwnerAbortsAndSupervisorIsKilled,
    Displaced,
}

use Fault::{
    BridgePanics, ChildKilled, Displaced, MachineRestarts, OwnerAborts,
    OwnerAbortsAndSupervisorIsKilled, SessionPanics, SupervisorKilled, WorkerPanics,
};

/// The table of DESIGN, as (what had happened to the prompt) × (what goes wrong).
fn expected(point: Point, fault: Fault) -> Outcome {
    let answer_is_stored = point >= Point::AfterLastStep;
    let has_begun = point >= Point::FirstDelta;
    match fault {
        _ if answer_is_stored => Outcome::Complete,
        BridgePanics => Outcome::Complete,
        OwnerAborts | OwnerAbortsAndSupervisorIsKilled => Outcome::Aborted,
        MachineRestarts if point >= Point::AfterClaim => Outcome::Interrupted,
        _ if has_begun => Outcome::Interrupted,
        _ => Outcome::Complete,
    }
}

async fn strike(world: &mut World, fault: Fault) {
    match fault {
        SessionPanics => world.inject("session/s", ActorFault::Panic),
        WorkerPanics => world.inject(WORKER, ActorFault::Panic),
        BridgePanics => world.inject(BRIDGE, ActorFault::Panic),
        ChildKilled => {
            world.agents.kill("s").await;
        }
        SupervisorKilled => {
            world.kill().await;
            world.start_again("boot").await;
        }
        MachineRestarts => {
            world.kill().await;
            world.start_again("next boot").await;
        }
        OwnerAborts => world.deployment.abort("t"),
        OwnerAbortsAndSupervisorIsKilled => {
            world.deployment.abort("t");
            world.kill().await;
            world.start_again("boot").await;
        }
        Displaced => world.deployment.displace(),
    }
    world.quiet().await;
    world.gate.open();
}

async fn scripted() -> World {
    World::with(Setup {
        script: Some(Script {
            pause: Duration::from_millis(3),
        }),
        ..Setup::default()
    })
    .await
}

/// The streamed parts are the stored ones, or their beginning.
pub fn is_beginning(parts: &[Part], of: &[Part]) -> bool {
    parts.len() <= of.len()
        && parts.iter().zip(of).all(|(part, whole)| {
            let is_tool = whole.kind == ItemKind::Tool;
            part.id == whole.id && (is_tool || whole.text.starts_with(&part.text))
        })
}

async fn plays_out(point: Point, fault: Fault) {
    let mut world = scripted().await;
    world.gate.hold(point);
    world.deployment.send("s", "t");
    world.gate.reached().await;
    strike(&mut world, fault).await;
    let case = format!("{point:?} × {fault:?}");
    let (outcome, _) = world.deployment.ended("t").await;
    assert_eq!(outcome, expected(point, fault), "{case}");
    let starts = world.agents.starts("t");
    let streamed = fold(&world.deployment.turn("t").items);
    if outcome == Outcome::Complete {
        assert_eq!(streamed, whole("t"), "{case}");
        assert_eq!(starts, 1, "{case}");
    } else {
        assert!(is_beginning(&streamed, &whole("t")), "{case}: {streamed:?}");
        assert!(starts <= 1, "{case}: the model was asked {starts} times");
    }
    // The session goes on.
    world.deployment.send("s", "next");
    let (outcome, _) = world.deployment.ended("next").await;
    assert_eq!(outcome, Outcome::Complete, "{case}: the next message");
    assert_eq!(world.agents.starts("next"), 1, "{case}: the next message");
    world.quiet().await;
    assert_eq!(world.disk.depth(), 0, "{case}: a finish stays on disk");
    world.stop().await;
}

async fn at_every_point(fault: Fault) {
    for point in Point::ALL {
        plays_out(point, fault).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_session_panics_at_every_point_of_a_turn() {
    at_every_point(SessionPanics).await;
}

#[tokio::test(start_paused = true)]
async fn the_worker_panics_at_every_point_of_a_turn() {
    at_every_point(WorkerPanics).await;
}

#[tokio::test(start_paused = true)]
async fn the_bridge_panics_at_every_point_of_a_turn() {
    at_every_point(BridgePanics).await;
}

#[tokio::test(start_paused = true)]
async fn the_child_is_killed_at_every_point_of_a_turn() {
    at_every_point(ChildKilled).await;
}

#[tokio::test(start_paused = true)]
async fn the_supervisor_is_killed_at_every_point_of_a_turn() {
    at_every_point(SupervisorKilled).await;
}

#[tokio::test(start_paused = true)]
async fn the_machine_restarts_at_every_point_of_a_turn() {
    at_every_point(MachineRestarts).await;
}

#[tokio::test(start_paused = true)]
async fn the_owner_aborts_at_every_point_of_a_turn() {
    at_every_point(OwnerAborts).await;
}

#[tokio::test(start_paused = true)]
async fn the_owner_aborts_and_the_supervisor_is_killed_at_every_point_of_a_turn() {
    at_every_point(OwnerAbortsAndSupervisorIsKilled).await;
}

#[tokio::test(start_paused = true)]
async fn another_supervisor_takes_over_at_every_point_of_a_turn() {
    for point in Point::ALL {
        let mut world = scripted().await;
        world.gate.hold(point);
        world.deployment.send("s", "t");
        world.gate.reached().await;
        strike(&mut world, Displaced).await;
        world
            .until_card(WORKER, |card| card.phase == Phase::Displaced)
            .await;
        world
            .agents
            .until("its child is stopped", |agents| agents.alive() == 0)
            .await;
        world.quiet().await;
        assert!(world.agents.starts("t") <= 1, "{point:?}");
        // Nothing is written under the token that somebody else has.
        let turn = world.deployment.turn("t");
        assert_eq!(
            turn.ending.is_some(),
            point == Point::AfterFinish,
            "{point:?}"
        );
        world.stop().await;
    }
}
