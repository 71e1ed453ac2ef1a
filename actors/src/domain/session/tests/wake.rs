//! A person has the child up without a turn, or given up.

use super::*;

#[test]
fn a_person_has_the_child_up_without_a_turn_and_the_next_message_finds_it() {
    let mut world = World::new();
    assert_eq!(world.on(Input::Wake), [Effect::OpenChild]);
    assert_eq!(world.on(Input::Wake), [], "it opens already");
    assert_eq!(
        world.on(Input::Opened(Ok(()))),
        [Effect::Say(Saying::Active, None)]
    );
    assert_eq!(world.machine.view().phase, Phase::Ready);
    assert_eq!(world.on(want("t")), [Effect::Claim("t".into())]);
}

#[test]
fn a_child_that_is_kept_up_is_not_idle() {
    let mut world = World::new();
    world.on(Input::Wake);
    world.on(Input::Opened(Ok(())));
    let most = LIMITS.idle_ms - 10;
    assert_eq!(world.after(most, Input::Tick), []);
    assert_eq!(world.on(Input::Wake), []);
    assert_eq!(world.after(most, Input::Tick), [], "it was kept");
    assert_eq!(world.after(most, Input::Tick), [Effect::StopChild]);
    assert_eq!(world.on(Input::Wake), [], "it is being stopped");
    assert_eq!(
        world.on(Input::ChildStopped),
        [Effect::Say(Saying::Idle, None)]
    );
    assert_eq!(world.on(Input::Wake), [Effect::OpenChild]);
}

#[test]
fn a_start_that_fails_without_a_turn_is_not_tried_again_and_its_reason_is_shown() {
    let mut world = World::new();
    world.on(Input::Wake);
    let failed = Input::Opened(Err(AgentError::Boot("no port".to_owned())));
    assert_eq!(world.on(failed), []);
    assert_eq!(world.after(600_000, Input::Tick), []);
    let view = world.machine.view();
    assert_eq!(view.phase, Phase::Idle);
    assert!(
        view.last_error
            .is_some_and(|error| error.contains("no port"))
    );
    assert_eq!(world.on(Input::Wake), [Effect::OpenChild]);
    assert_eq!(world.machine.view().last_error, None);
}

#[test]
fn a_session_that_ends_is_not_woken() {
    let mut world = World::new();
    world.on(Input::Wake);
    world.on(Input::Opened(Ok(())));
    assert_eq!(world.on(Input::Close(Closing::Ended)), [Effect::StopChild]);
    assert_eq!(world.on(Input::Wake), []);
    let effects = world.on(Input::ChildStopped);
    assert!(effects.contains(&Effect::Done), "{effects:?}");
    assert_eq!(world.on(Input::Wake), []);
}
