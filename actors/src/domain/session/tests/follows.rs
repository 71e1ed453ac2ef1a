//! What follows an end or a refusal: provisional ends and their answers, the policy for interrupted turns, calls that are
//! made again, messages that came meanwhile.

use super::*;
use crate::domain::policy::Policy;
use crate::domain::turn::Then;

#[test]
fn a_claimed_turn_whose_child_cannot_be_started_again_is_closed_provisionally() {
    let mut world = World::new();
    world.until_streaming();
    let mut effects = world.on(exited());
    for _ in 0..3 {
        while !effects.contains(&Effect::OpenChild) {
            effects = world.after(500, Input::Tick);
        }
        effects = world.on(Input::Opened(Err(AgentError::Boot("no".to_owned()))));
    }
    let ending = finish_of(&effects).unwrap();
    assert_eq!(ending.error.as_ref().unwrap().code, "agent_boot");
    assert_eq!(ending.then, Some(Then::Provisional));
}

#[test]
fn a_turn_that_loses_child_after_child_is_closed_however_slowly_it_loses_them() {
    let mut world = World::new();
    world.until_streaming();
    for lost in 1..=5 {
        // Twenty seconds a boot: never five in a minute.
        let effects = world.after(20_000, exited());
        if lost == 5 {
            let ending = finish_of(&effects).unwrap();
            assert_eq!(ending.error.as_ref().unwrap().code, "agent_lost");
            assert_eq!(ending.then, Some(Then::Provisional));
            return;
        }
        assert_eq!(finish_of(&effects), None, "{lost}");
        world.after(2_000, Input::Tick);
        world.on(Input::Opened(Ok(())));
    }
}

#[test]
fn an_aborted_turn_whose_child_cannot_be_started_again_is_aborted() {
    let mut world = World::new();
    world.until_streaming();
    world.on(want_abort("t"));
    let mut effects = world.on(exited());
    for _ in 0..3 {
        while !effects.contains(&Effect::OpenChild) {
            effects = world.after(500, Input::Tick);
        }
        effects = world.on(Input::Opened(Err(AgentError::Boot("no".to_owned()))));
    }
    let ending = finish_of(&effects).unwrap();
    assert_eq!(ending.outcome, Outcome::Aborted);
    assert_eq!(ending.then, Some(Then::Provisional));
}

#[test]
fn a_child_that_is_slow_to_answer_is_asked_again_before_it_is_replaced() {
    let slow = || AgentError::Failed("it did not answer within 5 s".to_owned());
    let mut world = World::new();
    world.on(want("t"));
    world.on(Input::Opened(Ok(())));
    world.on(Input::Claimed(Ok(Claim::Granted(Box::new(granted())))));
    assert_eq!(
        world.on(Input::Conversed(Err(ConverseError::Agent(slow())))),
        []
    );
    let effects = world.after(500, Input::Tick);
    assert!(
        matches!(effects[..], [Effect::Converse { .. }]),
        "{effects:?}"
    );
    world.on(Input::Conversed(Ok("c".into())));
    assert_eq!(world.on(Input::LookedUp(Err(slow()))), []);
    world.after(500, Input::Tick);
    world.on(Input::Conversed(Ok("c".into())));
    // Three in a row are too many.
    let effects = world.on(Input::LookedUp(Err(slow())));
    assert_eq!(effects, [Effect::StopChild]);
    assert_eq!(world.machine.view().crashes, 1);
}

#[test]
fn a_turn_that_nobody_had_claimed_is_closed_for_good_when_its_child_cannot_be_started() {
    let mut world = World::new();
    world.on(want("t"));
    let missing = AgentError::Missing("no opencode".to_owned());
    let effects = world.on(Input::Opened(Err(missing)));
    assert_eq!(finish_of(&effects).unwrap().then, None);
}

#[test]
fn what_was_closed_provisionally_is_settled_from_the_store_before_the_next_turn() {
    let mut world = World::new();
    let earlier = |turn: &str, next_index| Unsettled {
        turn: turn.into(),
        next_index,
    };
    let granted = Granted {
        conversation: Some("c".into()),
        unsettled: vec![earlier("a", 2), earlier("b", 0)],
        ..granted()
    };
    world.on(want("t"));
    world.on(Input::Opened(Ok(())));
    world.on(Input::Claimed(Ok(Claim::Granted(Box::new(granted)))));
    assert_eq!(
        world.on(Input::Conversed(Ok("c".into()))),
        [Effect::Lookup("c".into(), "a".into())]
    );
    let answered = StoredTurn::Complete {
        parts: vec![draft("all")],
        usage: None,
    };
    assert_eq!(
        world.on(Input::LookedUp(Ok(answered))),
        [
            Effect::OpenStream {
                turn: "a".into(),
                next_index: 2
            },
            Effect::Recover("a".into(), vec![draft("all")]),
        ]
    );
    assert_eq!(
        world.on(Input::Recovered("a".into(), Ok(()))),
        [
            Effect::Finish("a".into(), Ending::complete(None)),
            Effect::Lookup("c".into(), "b".into()),
        ]
    );
    let effects = world.on(Input::LookedUp(Ok(StoredTurn::Begun)));
    assert_eq!(outcome_of(&effects), Outcome::Interrupted);
    assert_eq!(
        effects.last(),
        Some(&Effect::Lookup("c".into(), "t".into()))
    );
    // Its stream's refusal is not the present turn's.
    world.on(Input::StreamRefused("a".into(), StreamError::Unknown));
    let effects = world.on(Input::LookedUp(Ok(StoredTurn::Absent)));
    assert!(matches!(&effects[..], [Effect::Deliver(prompt)] if prompt.turn == "t".into()));
}

#[test]
fn an_interrupted_turn_goes_on_only_under_the_policy_and_an_aborted_one_never() {
    let ending = |policy, abort| {
        let mut world = World::new();
        world.machine.configure(Changeable {
            idle_ms: 300_000,
            on_interrupt: policy,
            request_ms: 60_000,
            policy: Policy::ASK,
        });
        world.until_streaming();
        if abort {
            world.on(want_abort("t"));
        }
        world.on(exited());
        world.after(500, Input::Tick);
        world.on(Input::Opened(Ok(())));
        world.on(Input::Conversed(Ok("c".into())));
        let effects = world.on(Input::LookedUp(Ok(StoredTurn::Begun)));
        let ending = finish_of(&effects).unwrap();
        (ending.outcome, ending.then)
    };
    assert_eq!(
        ending(OnInterrupt::Report, false),
        (Outcome::Interrupted, None)
    );
    assert_eq!(
        ending(OnInterrupt::Continue, false),
        (Outcome::Interrupted, Some(Then::Continue))
    );
    assert_eq!(
        ending(OnInterrupt::Continue, true),
        (Outcome::Aborted, None)
    );
}

#[test]
fn a_message_that_comes_while_a_closed_turn_is_claimed_is_not_forgotten() {
    for answer in [Claim::Closed, Claim::NotNext] {
        let mut world = World::new();
        world.on(want("t"));
        world.on(Input::Opened(Ok(())));
        assert_eq!(world.on(want("u")), []);
        assert_eq!(
            world.on(Input::Claimed(Ok(answer))),
            [Effect::Claim("u".into())]
        );
    }
}

#[test]
fn a_call_that_is_refused_because_too_many_wait_is_made_again() {
    let full = || CallError::Refused {
        code: "queue_full".to_owned(),
        message: "too many calls wait".to_owned(),
    };
    let mut world = World::new();
    world.on(want("t"));
    world.on(Input::Opened(Ok(())));
    assert_eq!(world.on(Input::Claimed(Err(full()))), []);
    assert_eq!(world.after(1_000, Input::Tick), []);
    assert_eq!(world.after(1_000, Input::Tick), [Effect::Claim("t".into())]);
    world.on(Input::Claimed(Ok(Claim::Granted(Box::new(granted())))));
    world.on(Input::Conversed(Err(ConverseError::Call(full()))));
    let effects = world.after(2_000, Input::Tick);
    assert!(
        matches!(effects[..], [Effect::Converse { .. }]),
        "{effects:?}"
    );
    world.on(Input::Conversed(Ok("c".into())));
    world.on(Input::LookedUp(Ok(StoredTurn::Begun)));
    world.on(want("t"));
    assert_eq!(world.on(Input::Finished("t".into(), Err(full()))), []);
    // Open there, settled here: its end is said again.
    assert!(matches!(
        world.after(2_000, Input::Tick)[..],
        [Effect::FinishAgain(..)]
    ));
}

#[test]
fn a_finish_that_the_deployment_failed_to_take_is_made_again_without_a_snapshot_that_says_so() {
    let mut world = World::new();
    world.until_streaming();
    // Nothing changes there, so no snapshot comes: the turn is neither wanted again nor relaxed.
    world.on(ended(TurnEnd::Complete { usage: None }));
    let failed = CallError::Server("six times in a row".to_owned());
    assert_eq!(world.on(Input::Finished("t".into(), Err(failed))), []);
    assert!(world.machine.has_timers());
    assert_eq!(
        world.after(2_000, Input::Tick),
        [Effect::FinishAgain("t".into(), Ending::complete(None))]
    );
}

fn refuses() -> Input {
    let failed = CallError::Server("ArgumentValidationError".to_owned());
    Input::Finished("t".into(), Err(failed))
}

#[test]
fn an_end_that_is_never_taken_is_said_ever_more_rarely_and_its_answer_is_not_written_again() {
    let mut world = World::new();
    world.until_lookup(granted());
    world.on(Input::LookedUp(Ok(StoredTurn::Complete {
        parts: vec![draft("the whole answer")],
        usage: None,
    })));
    let first = world.on(Input::Recovered("t".into(), Ok(())));
    assert_eq!(first, [Effect::Finish("t".into(), Ending::complete(None))]);
    let again = [Effect::FinishAgain("t".into(), Ending::complete(None))];
    let mut pauses = Vec::new();
    for _ in 0..12 {
        assert_eq!(world.on(refuses()), []);
        let asked = world.now;
        loop {
            let effects = world.after(499, Input::Tick);
            // An idle assistant goes meanwhile; nothing else happens.
            let others = effects.iter().filter(|one| **one != Effect::StopChild);
            let others: Vec<_> = others.cloned().collect();
            if others == again {
                break;
            }
            assert_eq!(others, []);
        }
        pauses.push((world.now - asked) / 1_000);
    }
    assert_eq!(pauses[..8], [2, 4, 8, 16, 32, 64, 128, 256]);
    assert_eq!(pauses[8..], [300; 4]);
    world.on(refuses());
    let shown = world.machine.view().refused.expect("it is shown");
    assert!(
        shown.contains("13 times") && shown.contains("ArgumentValidationError"),
        "{shown}"
    );
    // It heals.
    assert_eq!(world.after(301_000, Input::Tick), again);
    world.on(Input::Finished("t".into(), Ok(Finished::Closed)));
    let view = world.machine.view();
    assert_eq!((view.turns_served, view.turn), (1, None));
    assert_eq!((view.refused, view.last_error), (None, None));
}

#[test]
fn an_end_that_was_not_taken_is_said_at_once_when_the_turn_is_closed_there_or_somebody_asks() {
    for said in [Input::Wanted(None), want("another"), Input::Restart] {
        let mut world = World::new();
        world.until_streaming();
        world.on(ended(TurnEnd::Complete { usage: None }));
        world.on(refuses());
        let effects = world.on(said);
        let again = Effect::FinishAgain("t".into(), Ending::complete(None));
        assert!(effects.contains(&again), "{effects:?}");
    }
}

#[test]
fn a_parked_sessions_close_that_fails_is_made_again_after_a_pause_and_not_at_once() {
    let mut world = World::new();
    world.until_streaming();
    for crash in 1..=5 {
        let mut effects = world.on(exited());
        while crash < 5 && !effects.contains(&Effect::OpenChild) {
            effects = world.after(500, Input::Tick);
        }
        world.on(Input::Opened(Ok(())));
    }
    let failed = CallError::Server("not today".to_owned());
    assert_eq!(world.on(Input::Finished("t".into(), Err(failed))), []);
    let effects = world.after(2_000, Input::Tick);
    assert_eq!(
        finish_of(&effects).unwrap().error.as_ref().unwrap().code,
        "parked"
    );
}
