//! What the assistant's store has of a turn waits for room in its stream, whatever happens to the child meanwhile; and what
//! a full stream missed is had from the store.

use super::*;

fn complete() -> Input {
    Input::LookedUp(Ok(StoredTurn::Complete {
        parts: vec![draft("all")],
        usage: None,
    }))
}

fn recovering() -> World {
    let mut world = World::new();
    world.until_lookup(granted());
    world.on(complete());
    world
}

#[test]
fn a_recovered_answer_that_meets_a_full_link_ends_only_when_all_of_it_has_its_place() {
    let mut world = recovering();
    // Longer than any guard is patient.
    for _ in 0..10 {
        assert_eq!(world.after(600_000, Input::Tick), []);
    }
    let effects = world.on(Input::Recovered("t".into(), Ok(())));
    assert_eq!(
        effects,
        [Effect::Finish("t".into(), Ending::complete(None))]
    );
}

#[test]
fn a_child_that_dies_while_its_answer_waits_for_room_changes_nothing() {
    let mut world = recovering();
    assert_eq!(world.on(exited()), []);
    assert_eq!(world.after(5_000, Input::Tick), []);
    let effects = world.on(Input::Recovered("t".into(), Ok(())));
    assert_eq!(outcome_of(&effects), Outcome::Complete);
}

#[test]
fn a_recovery_whose_stream_is_refused_does_not_end_as_complete() {
    let mut world = recovering();
    let refused = StreamError::Refused("closed".to_owned());
    let effects = world.on(Input::Recovered("t".into(), Err(refused)));
    assert_eq!(outcome_of(&effects), Outcome::Failed);
}

#[test]
fn a_supervisor_that_stops_while_an_answer_waits_for_room_leaves_the_turn_to_the_next_start() {
    let mut world = recovering();
    assert_eq!(
        world.on(Input::Close(Closing::Supervisor)),
        [Effect::StopChild]
    );
    let effects = world.on(Input::ChildStopped);
    assert!(finish_of(&effects).is_none() && effects.contains(&Effect::Done));
}

#[test]
fn the_turn_after_an_earlier_one_goes_on_in_a_new_child_when_the_old_one_died_meanwhile() {
    let mut world = World::new();
    let earlier = Unsettled {
        turn: "a".into(),
        next_index: 0,
    };
    world.until_claimed(Granted {
        conversation: Some("c".into()),
        unsettled: vec![earlier],
        ..granted()
    });
    world.on(Input::Conversed(Ok("c".into())));
    world.on(complete());
    world.on(exited());
    assert_eq!(
        world.on(Input::Recovered("a".into(), Ok(()))),
        [
            Effect::Finish("a".into(), Ending::complete(None)),
            Effect::OpenChild
        ]
    );
    world.on(Input::Opened(Ok(())));
    assert_eq!(
        world.on(Input::Conversed(Ok("c".into()))),
        [Effect::Lookup("c".into(), "t".into())]
    );
}

/// A stream that was full once.
fn missed() -> World {
    let mut world = World::new();
    world.until_streaming();
    world.on(item("no room"));
    world.on(Input::StreamRefused("t".into(), StreamError::Missed));
    world
}

#[test]
fn what_a_full_stream_missed_of_a_complete_answer_is_had_from_the_store() {
    let mut world = missed();
    // It goes on, and nobody stops it.
    assert_eq!(
        world.on(item("more")),
        [Effect::Push("t".into(), vec![draft("more")])]
    );
    assert_eq!(
        world.on(ended(TurnEnd::Complete { usage: None })),
        [Effect::Lookup("c".into(), "t".into())]
    );
    assert_eq!(
        world.on(complete()),
        [Effect::Recover("t".into(), vec![draft("all")])]
    );
    let effects = world.on(Input::Recovered("t".into(), Ok(())));
    assert_eq!(outcome_of(&effects), Outcome::Complete);
}

#[test]
fn what_was_missed_and_cannot_be_had_ends_the_turn_as_it_ended_and_asks_nobody_twice() {
    for stored in [
        StoredTurn::Absent,
        StoredTurn::Unanswered,
        StoredTurn::Begun,
    ] {
        let mut world = missed();
        world.on(ended(TurnEnd::Complete { usage: None }));
        assert_eq!(
            world.on(Input::LookedUp(Ok(stored))),
            [Effect::Finish("t".into(), Ending::complete(None))]
        );
    }
    // No child comes up any more to be asked.
    let mut world = missed();
    world.on(ended(TurnEnd::Complete { usage: None }));
    world.on(exited());
    let missing = AgentError::Missing("no opencode".to_owned());
    let effects = world.on(Input::Opened(Err(missing)));
    assert_eq!(outcome_of(&effects), Outcome::Complete);
}
