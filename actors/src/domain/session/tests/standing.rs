//! What the deployment is told of a session is what it is.

use super::*;

fn said(effects: &[Effect]) -> Vec<Saying> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Say(saying, _) => Some(*saying),
            _ => None,
        })
        .collect()
}

/// The child answers nonsense until the session is parked; the last one still stops.
fn parked_by_child_failures() -> World {
    let mut world = World::new();
    world.on(want("t"));
    world.on(Input::Opened(Ok(())));
    world.on(Input::Claimed(Ok(Claim::Granted(Box::new(granted())))));
    for crash in 1..=5 {
        world.on(Input::Conversed(Ok("c".into())));
        world.on(Input::LookedUp(Ok(StoredTurn::Absent)));
        let nonsense = AgentError::Failed("nonsense".to_owned());
        let effects = world.on(Input::Delivered(Err(nonsense)));
        if crash < 5 {
            world.on(Input::ChildStopped);
            while world.machine.view().phase != Phase::Starting {
                world.after(500, Input::Tick);
            }
            world.on(Input::Opened(Ok(())));
        } else {
            assert_eq!(said(&effects), [Saying::Failed]);
        }
    }
    world
}

#[test]
fn a_session_parked_by_a_child_that_still_stops_stays_failed_until_it_is_unparked() {
    let mut world = parked_by_child_failures();
    assert_eq!(said(&world.on(Input::ChildStopped)), []);
    world.on(Input::Finished("t".into(), Ok(Finished::Closed)));
    assert_eq!(said(&world.on(Input::Wanted(None))), []);
    assert_eq!(said(&world.on(Input::Restart)), [Saying::Idle]);
}

#[test]
fn an_orderly_stop_in_mid_answer_leaves_no_session_active() {
    let mut world = World::new();
    world.until_streaming();
    world.on(Input::Close(Closing::Supervisor));
    let effects = world.on(Input::ChildStopped);
    assert_eq!(said(&effects), [Saying::Idle]);
    assert_eq!(effects.last(), Some(&Effect::Done));
}

#[test]
fn a_session_whose_child_does_not_come_back_is_not_active() {
    let mut world = World::new();
    world.until_streaming();
    world.on(exited());
    let missing = AgentError::Missing("no opencode".to_owned());
    world.on(Input::Opened(Err(missing)));
    let effects = world.on(Input::Finished("t".into(), Ok(Finished::Closed)));
    assert_eq!(said(&effects), [Saying::Idle]);
}

#[test]
fn a_successor_of_a_fallen_session_without_a_turn_does_not_leave_it_active() {
    let mut world = World::new();
    assert_eq!(said(&world.on(Input::Wanted(None))), [Saying::Idle]);
    assert_eq!(said(&world.on(Input::Wanted(None))), []);
}

#[test]
fn an_ended_session_is_never_said_to_be_idle() {
    let mut world = World::new();
    world.until_streaming();
    world.on(Input::Close(Closing::Ended));
    assert_eq!(said(&world.on(Input::ChildStopped)), [Saying::Ended]);
    assert_eq!(said(&world.on(Input::Tick)), []);
}

#[test]
fn a_word_that_the_deployment_failed_to_take_is_said_again_while_it_holds() {
    let mut world = World::new();
    world.until_streaming();
    assert_eq!(
        said(&world.on(Input::Unsaid(Saying::Active))),
        [Saying::Active]
    );
    world.on(Input::Close(Closing::Supervisor));
    world.on(Input::ChildStopped);
    assert_eq!(said(&world.on(Input::Unsaid(Saying::Active))), []);
    assert_eq!(said(&world.on(Input::Unsaid(Saying::Idle))), [Saying::Idle]);
}
