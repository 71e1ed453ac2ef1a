//! The machine against a scripted world: each test says what happened and what had to follow.

mod follows;
mod recovery;
mod requests;
mod standing;
mod wake;

use proptest::prelude::*;

use super::machine::{SessionLimits, SessionMachine};
use super::*;
use crate::domain::assistant::{ExitReport, TurnEnd};
use crate::domain::inbox::OpenState;
use crate::domain::phase::Phase;
use crate::domain::policy::Policy;
use crate::domain::turn::{OnInterrupt, Outcome, TurnError};

const LIMITS: SessionLimits = SessionLimits {
    idle_ms: 300_000,
    silence_ms: 330_000,
    retry_limit_ms: 120_000,
    request_ms: 60_000,
    policy: Policy::ASK,
    on_interrupt: OnInterrupt::Report,
};

struct World {
    machine: SessionMachine,
    now: u64,
}

impl World {
    fn new() -> Self {
        Self {
            machine: SessionMachine::new("s".into(), "boot".to_owned(), LIMITS),
            now: 1_000,
        }
    }

    fn on(&mut self, input: Input) -> Vec<Effect> {
        self.now += 1;
        self.machine.on(input, self.now, 0.5)
    }

    fn after(&mut self, ms: u64, input: Input) -> Vec<Effect> {
        self.now += ms;
        self.on(input)
    }

    fn until_claimed(&mut self, granted: Granted) {
        self.on(want("t"));
        self.on(Input::Opened(Ok(())));
        self.on(Input::Claimed(Ok(Claim::Granted(Box::new(granted)))));
    }

    /// Brings a turn to the lookup.
    fn until_lookup(&mut self, granted: Granted) {
        assert_eq!(self.on(want("t")), [Effect::OpenChild]);
        assert_eq!(
            self.on(Input::Opened(Ok(()))),
            [Effect::Say(Saying::Active, None), Effect::Claim("t".into())]
        );
        let next_index = granted.next_index;
        let effects = self.on(Input::Claimed(Ok(Claim::Granted(Box::new(granted)))));
        assert_eq!(
            effects[0],
            Effect::OpenStream {
                turn: "t".into(),
                next_index
            }
        );
        assert!(matches!(effects[2], Effect::Converse { .. }));
        assert_eq!(
            self.on(Input::Conversed(Ok("c".into()))),
            [Effect::Lookup("c".into(), "t".into())]
        );
    }

    fn until_streaming(&mut self) {
        self.until_lookup(granted());
        assert!(matches!(
            self.on(Input::LookedUp(Ok(StoredTurn::Absent)))[..],
            [Effect::Deliver(_)]
        ));
        assert_eq!(self.on(Input::Delivered(Ok(()))), []);
    }
}

fn want(id: &str) -> Input {
    Input::Wanted(Some(OpenTurn {
        turn_id: id.into(),
        session_id: "s".into(),
        state: OpenState::Queued,
        abort: false,
    }))
}

fn want_abort(id: &str) -> Input {
    Input::Wanted(Some(OpenTurn {
        turn_id: id.into(),
        session_id: "s".into(),
        state: OpenState::Claimed,
        abort: true,
    }))
}

fn granted() -> Granted {
    Granted {
        content: "hello".to_owned(),
        model: None,
        agent: None,
        attachments: Vec::new(),
        title: "hello".to_owned(),
        conversation: None,
        abort: false,
        next_index: 0,
        claimed_boot: "boot".to_owned(),
        first: true,
        unsettled: Vec::new(),
    }
}

fn item(text: &str) -> Input {
    Input::Event(AgentEvent::Item {
        turn: "t".into(),
        draft: draft(text),
    })
}

fn draft(text: &str) -> Draft {
    Draft {
        part_id: "p".to_owned(),
        kind: crate::domain::item::ItemKind::Text,
        content: text.to_owned(),
    }
}

fn ended(ended: TurnEnd) -> Input {
    Input::Event(AgentEvent::TurnEnded {
        turn: "t".into(),
        ended,
    })
}

fn exited() -> Input {
    Input::Event(AgentEvent::Exited {
        report: ExitReport {
            signal: Some(9),
            ..ExitReport::default()
        },
    })
}

fn wants_to_go() -> Input {
    Input::Event(AgentEvent::ReleaseWanted {
        reason: "it is too big".to_owned(),
    })
}

fn finish_of(effects: &[Effect]) -> Option<&Ending> {
    effects.iter().find_map(|effect| match effect {
        Effect::Finish(_, ending) | Effect::FinishAgain(_, ending) => Some(ending),
        _ => None,
    })
}

fn outcome_of(effects: &[Effect]) -> Outcome {
    finish_of(effects).expect("a finish").outcome
}

#[test]
fn a_turn_goes_from_snapshot_to_finish() {
    let mut world = World::new();
    world.until_streaming();
    assert_eq!(
        world.on(item("hi")),
        [Effect::Push("t".into(), vec![draft("hi")])]
    );
    let effects = world.on(ended(TurnEnd::Complete { usage: None }));
    assert_eq!(
        effects,
        [Effect::Finish("t".into(), Ending::complete(None))]
    );
    assert_eq!(
        world.on(Input::Finished("t".into(), Ok(Finished::Closed))),
        []
    );
    assert_eq!(world.machine.view().phase, Phase::Ready);
    // a stale snapshot that still names the turn starts nothing
    assert_eq!(world.on(want("t")), []);
}

#[test]
fn the_next_turn_waits_for_the_end_of_the_first() {
    let mut world = World::new();
    world.until_streaming();
    world.on(ended(TurnEnd::Complete { usage: None }));
    assert_eq!(world.on(want("u")), []);
    assert_eq!(
        world.on(Input::Finished("t".into(), Ok(Finished::Closed))),
        [Effect::Claim("u".into())]
    );
}

#[test]
fn a_child_killed_in_mid_answer_is_replaced_and_the_turn_interrupted_not_repeated() {
    let mut world = World::new();
    world.until_streaming();
    world.on(item("half"));
    assert_eq!(world.on(exited()), [Effect::OpenChild]);
    let effects = world.on(Input::Opened(Ok(())));
    assert!(matches!(effects[1], Effect::Converse { .. }), "{effects:?}");
    world.on(Input::Conversed(Ok("c".into())));
    let effects = world.on(Input::LookedUp(Ok(StoredTurn::Begun)));
    assert_eq!(outcome_of(&effects), Outcome::Interrupted);
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Push(..) | Effect::Deliver(_)))
    );
}

#[test]
fn an_abort_in_the_store_is_the_owners_only_when_the_owner_asked() {
    let stored = || StoredTurn::Failed {
        parts: vec![draft("so far")],
        error: TurnError::new("aborted", "Aborted"),
        aborted: true,
        usage: None,
    };
    for (abort, expected) in [(false, Outcome::Interrupted), (true, Outcome::Aborted)] {
        let mut world = World::new();
        world.until_lookup(Granted { abort, ..granted() });
        let effects = world.on(Input::LookedUp(Ok(stored())));
        assert_eq!(
            effects,
            [Effect::Recover("t".into(), vec![draft("so far")])]
        );
        let effects = world.on(Input::Recovered("t".into(), Ok(())));
        assert_eq!(outcome_of(&effects), expected);
    }
}

#[test]
fn an_answer_that_was_complete_in_the_store_is_recovered_whole() {
    let mut world = World::new();
    world.until_lookup(Granted {
        next_index: 3,
        ..granted()
    });
    let effects = world.on(Input::LookedUp(Ok(StoredTurn::Complete {
        parts: vec![draft("all")],
        usage: None,
    })));
    assert_eq!(effects, [Effect::Recover("t".into(), vec![draft("all")])]);
    let effects = world.on(Input::Recovered("t".into(), Ok(())));
    assert_eq!(outcome_of(&effects), Outcome::Complete);
}

#[test]
fn a_turn_given_in_a_conversation_that_had_to_be_left_is_not_given_again_in_the_next_one() {
    let moved = || {
        let mut world = World::new();
        world.on(want("t"));
        world.on(Input::Opened(Ok(())));
        let known = Granted {
            conversation: Some("before".into()),
            ..granted()
        };
        world.on(Input::Claimed(Ok(Claim::Granted(Box::new(known)))));
        assert_eq!(
            world.on(Input::Conversed(Ok("c".into()))),
            [Effect::Lookup("before".into(), "t".into())]
        );
        world
    };
    for stored in [StoredTurn::Begun, StoredTurn::Unanswered] {
        let effects = moved().on(Input::LookedUp(Ok(stored)));
        assert_eq!(outcome_of(&effects), Outcome::Interrupted);
    }
    let mut world = moved();
    assert_eq!(
        world.on(Input::LookedUp(Ok(StoredTurn::Absent))),
        [Effect::Lookup("c".into(), "t".into())]
    );
    let effects = world.on(Input::LookedUp(Ok(StoredTurn::Absent)));
    assert!(
        matches!(&effects[..], [Effect::Deliver(prompt)] if prompt.conversation == "c".into()),
        "{effects:?}"
    );
    // A child that crashes meanwhile does not make it forget where it was.
    let mut world = moved();
    assert_eq!(world.on(exited()), [Effect::OpenChild]);
    let effects = world.on(Input::Opened(Ok(())));
    assert!(
        matches!(&effects[1], Effect::Converse { known, .. } if *known == Some("before".into())),
        "{effects:?}"
    );
}

#[test]
fn a_turn_that_was_claimed_before_is_not_given_again_when_its_conversation_is_gone() {
    let mut world = World::new();
    world.on(want("t"));
    world.on(Input::Opened(Ok(())));
    let again = Granted {
        conversation: Some("gone with its store".into()),
        first: false,
        ..granted()
    };
    world.on(Input::Claimed(Ok(Claim::Granted(Box::new(again)))));
    world.on(Input::Conversed(Ok("c".into())));
    let effects = world.on(Input::LookedUp(Ok(StoredTurn::Absent)));
    assert_eq!(outcome_of(&effects), Outcome::Interrupted);
}

#[test]
fn a_turn_that_was_given_is_not_given_again_when_its_conversation_is_gone() {
    let mut world = World::new();
    let known = Granted {
        conversation: Some("c".into()),
        ..granted()
    };
    world.until_lookup(known);
    world.on(Input::LookedUp(Ok(StoredTurn::Absent)));
    world.on(exited());
    world.on(Input::Opened(Ok(())));
    world.on(Input::Conversed(Ok("another".into())));
    let effects = world.on(Input::LookedUp(Ok(StoredTurn::Absent)));
    assert_eq!(outcome_of(&effects), Outcome::Interrupted);
}

#[test]
fn a_turn_claimed_before_the_last_boot_is_not_delivered() {
    let mut world = World::new();
    world.until_lookup(Granted {
        claimed_boot: "older".to_owned(),
        ..granted()
    });
    let effects = world.on(Input::LookedUp(Ok(StoredTurn::Absent)));
    assert_eq!(outcome_of(&effects), Outcome::Interrupted);
}

#[test]
fn an_abort_before_delivery_delivers_nothing() {
    let mut world = World::new();
    world.until_lookup(granted());
    world.on(want_abort("t"));
    let effects = world.on(Input::LookedUp(Ok(StoredTurn::Absent)));
    assert_eq!(outcome_of(&effects), Outcome::Aborted);
}

#[test]
fn a_queued_turn_that_the_deployment_closed_is_dropped_while_the_child_boots() {
    let mut world = World::new();
    world.on(want("t"));
    world.on(Input::Wanted(None));
    assert_eq!(
        world.on(Input::Opened(Ok(()))),
        [Effect::Say(Saying::Active, None)]
    );
}

#[test]
fn an_abort_is_repeated_until_the_turn_ends_and_a_completion_that_wins_stays() {
    let mut world = World::new();
    world.until_streaming();
    assert_eq!(world.on(want_abort("t")), [Effect::Abort("c".into())]);
    assert_eq!(world.after(1_000, Input::Tick), []);
    assert_eq!(world.after(1_500, Input::Tick), [Effect::Abort("c".into())]);
    assert_eq!(
        outcome_of(&world.on(ended(TurnEnd::Complete { usage: None }))),
        Outcome::Complete
    );
}

#[test]
fn an_assistant_that_ignores_the_abort_is_replaced_and_the_turn_aborted() {
    let mut world = World::new();
    world.until_streaming();
    world.on(want_abort("t"));
    assert_eq!(world.after(16_000, Input::Tick), [Effect::StopChild]);
    assert_eq!(outcome_of(&world.on(Input::ChildStopped)), Outcome::Aborted);
}

#[test]
fn silence_ends_a_turn_but_not_while_a_request_waits() {
    let mut world = World::new();
    world.machine.limits.request_ms = u64::MAX;
    world.until_streaming();
    world.on(requests::asks("r"));
    assert_eq!(world.after(400_000, Input::Tick), []);
    world.on(requests::settled("r"));
    assert_eq!(
        world.after(330_000, Input::Tick),
        [Effect::Abort("c".into())]
    );
    let effects = world.on(ended(TurnEnd::Aborted { usage: None }));
    assert_eq!(
        finish_of(&effects).unwrap().error.as_ref().unwrap().code,
        "silent"
    );
}

#[test]
fn a_provider_that_wants_a_long_pause_ends_the_turn_with_its_reason() {
    let mut world = World::new();
    world.until_streaming();
    let effects = world.on(Input::Event(AgentEvent::Retrying {
        turn: "t".into(),
        attempt: 1,
        next_ms: 500_000,
        message: "slow down".to_owned(),
    }));
    assert_eq!(effects, [Effect::Abort("c".into())]);
    let effects = world.on(ended(TurnEnd::Aborted { usage: None }));
    let ending = finish_of(&effects).unwrap();
    assert_eq!(
        (ending.outcome, ending.error.as_ref().unwrap().code.as_str()),
        (Outcome::Failed, "provider_retry")
    );
}

#[test]
fn a_missing_assistant_fails_the_turn_once_and_the_next_message_tries_again() {
    let mut world = World::new();
    world.on(want("t"));
    let effects = world.on(Input::Opened(Err(AgentError::Missing(
        "no opencode".to_owned(),
    ))));
    assert_eq!(
        finish_of(&effects).unwrap().error,
        Some(TurnError::new("agent_missing", "no opencode"))
    );
    world.on(Input::Finished("t".into(), Ok(Finished::Closed)));
    assert_eq!(world.on(want("u")), [Effect::OpenChild]);
}

#[test]
fn a_prompt_that_the_assistant_refuses_fails_its_turn_and_costs_no_child() {
    let mut world = World::new();
    world.until_lookup(granted());
    world.on(Input::LookedUp(Ok(StoredTurn::Absent)));
    let effects = world.on(Input::Delivered(Err(AgentError::Unacceptable(
        "no such model".to_owned(),
    ))));
    assert_eq!(
        effects,
        [Effect::Finish(
            "t".into(),
            Ending::because(Outcome::Failed, "prompt_refused", "no such model")
        )]
    );
    world.on(Input::Finished("t".into(), Ok(Finished::Closed)));
    assert_eq!(world.machine.view().crashes, 0);
    assert_eq!(world.on(want("u")), [Effect::Claim("u".into())]);
}

#[test]
fn five_crashes_park_the_session_close_its_turn_and_a_restart_unparks_it() {
    let mut world = World::new();
    world.until_streaming();
    let mut effects = Vec::new();
    for crash in 1..=5 {
        effects = world.on(exited());
        if crash < 5 {
            while !effects.contains(&Effect::OpenChild) {
                effects = world.after(500, Input::Tick);
            }
            world.on(Input::Opened(Ok(())));
        }
    }
    assert_eq!(
        finish_of(&effects).unwrap().error.as_ref().unwrap().code,
        "parked"
    );
    assert_eq!(world.machine.view().phase, Phase::Parked);
    world.on(Input::Finished("t".into(), Ok(Finished::Closed)));
    assert_eq!(outcome_of(&world.on(want("u"))), Outcome::Failed);
    world.on(Input::Finished("u".into(), Ok(Finished::Closed)));
    world.on(Input::Restart);
    assert_eq!(world.on(want("v")), [Effect::OpenChild]);
}

#[test]
fn three_boots_that_fail_end_the_turn_however_long_each_took_and_the_next_message_tries_again() {
    let mut world = World::new();
    world.on(want("t"));
    let mut effects = Vec::new();
    for _ in 0..3 {
        effects = world.after(
            20_000,
            Input::Opened(Err(AgentError::Boot("no port line".to_owned()))),
        );
        if finish_of(&effects).is_none() {
            assert_eq!(world.after(1_000, Input::Tick), [Effect::OpenChild]);
        }
    }
    let error = finish_of(&effects).unwrap().error.clone().unwrap();
    assert_eq!(error.code, "agent_boot");
    assert!(error.message.contains("no port line"));
    world.on(Input::Finished("t".into(), Ok(Finished::Closed)));
    assert_eq!(world.machine.view().phase, Phase::Idle);
    assert_eq!(world.on(want("u")), [Effect::OpenChild]);
}

#[test]
fn the_child_is_stopped_after_the_idle_time_and_the_next_message_starts_it_again() {
    let mut world = World::new();
    world.until_streaming();
    world.on(ended(TurnEnd::Complete { usage: None }));
    world.on(Input::Finished("t".into(), Ok(Finished::Closed)));
    assert_eq!(world.after(299_000, Input::Tick), []);
    assert_eq!(world.after(1_000, Input::Tick), [Effect::StopChild]);
    assert_eq!(
        world.on(Input::ChildStopped),
        [Effect::Say(Saying::Idle, None)]
    );
    assert_eq!(world.machine.view().phase, Phase::Idle);
    assert_eq!(world.on(want("u")), [Effect::OpenChild]);
}

#[test]
fn closing_stops_the_child_first_and_interrupts_the_answer() {
    let mut world = World::new();
    world.until_streaming();
    assert_eq!(
        world.on(Input::Close(Closing::Supervisor)),
        [Effect::StopChild]
    );
    let effects = world.on(ended(TurnEnd::Aborted { usage: None }));
    assert_eq!(outcome_of(&effects), Outcome::Interrupted);
    assert_eq!(
        world.on(Input::ChildStopped),
        [Effect::Say(Saying::Idle, None), Effect::Done]
    );
}

#[test]
fn closing_leaves_an_undelivered_turn_to_the_next_start() {
    let mut world = World::new();
    world.until_lookup(granted());
    world.on(Input::Close(Closing::Supervisor));
    assert_eq!(
        world
            .on(Input::LookedUp(Ok(StoredTurn::Absent)))
            .iter()
            .filter(|e| matches!(e, Effect::Deliver(_)))
            .count(),
        0
    );
    assert_eq!(
        world.on(Input::ChildStopped),
        [Effect::Say(Saying::Idle, None), Effect::Done]
    );
}

#[test]
fn a_name_given_in_the_assistant_is_the_deployments_and_one_that_came_from_there_is_no_news() {
    let titled = |title: &str| {
        Input::Event(AgentEvent::Titled {
            title: title.to_owned(),
        })
    };
    let mut world = World::new();
    world.until_streaming();
    assert_eq!(world.on(titled("hello")), []);
    let told = [
        Effect::Title("Rounding".to_owned()),
        Effect::Retitle("Rounding".to_owned()),
    ];
    assert_eq!(world.on(titled("Rounding")), told);
    assert_eq!(world.on(titled("Rounding")), []);
}

/// Every input that the world can produce at random times.
fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(want("t")),
        Just(want("u")),
        Just(want_abort("t")),
        Just(Input::Wanted(None)),
        Just(Input::Opened(Ok(()))),
        Just(Input::Opened(Err(AgentError::Boot("x".to_owned())))),
        Just(Input::Claimed(Ok(Claim::Granted(Box::new(granted()))))),
        Just(Input::Claimed(Ok(Claim::Closed))),
        Just(Input::Claimed(Ok(Claim::NotNext))),
        Just(Input::Conversed(Ok("c".into()))),
        Just(Input::LookedUp(Ok(StoredTurn::Absent))),
        Just(Input::LookedUp(Ok(StoredTurn::Begun))),
        Just(Input::LookedUp(Ok(StoredTurn::Complete {
            parts: vec![draft("a")],
            usage: None
        }))),
        Just(Input::Delivered(Ok(()))),
        Just(Input::Delivered(Err(AgentError::Failed("x".to_owned())))),
        Just(Input::Recovered("t".into(), Ok(()))),
        Just(Input::StreamRefused("t".into(), StreamError::Missed)),
        Just(item("x")),
        Just(ended(TurnEnd::Complete { usage: None })),
        Just(ended(TurnEnd::Aborted { usage: None })),
        Just(exited()),
        Just(requests::asks("r")),
        Just(requests::asks("q")),
        Just(requests::settled("r")),
        Just(Input::RequestEnded(requests::key("r"))),
        Just(requests::stands("r", Standing::Open)),
        Just(requests::stands("r", Standing::Answered(Reply::Once))),
        Just(requests::stands(
            "r",
            Standing::Answered(Reply::rejection("no"))
        )),
        Just(requests::stands("q", Standing::Expired)),
        Just(requests::stands("r", Standing::Withdrawn)),
        Just(Input::RequestStands(
            requests::key("r"),
            Err(CallError::Server("x".to_owned()))
        )),
        Just(Input::Replied(RequestId("r".to_owned()), Ok(()))),
        Just(Input::Replied(
            RequestId("r".to_owned()),
            Err(AgentError::Failed("x".to_owned()))
        )),
        Just(Input::Finished("t".into(), Ok(Finished::Closed))),
        Just(Input::ChildStopped),
        Just(Input::Tick),
        Just(Input::Release),
        Just(wants_to_go()),
        Just(Input::Restart),
    ]
}

#[test]
fn a_child_that_wants_to_go_goes_between_turns_only_and_it_is_shown_why() {
    let mut world = World::new();
    world.until_streaming();
    assert_eq!(world.on(wants_to_go()), []);
    world.on(ended(TurnEnd::Complete { usage: None }));
    world.on(Input::Finished("t".into(), Ok(Finished::Closed)));
    assert_eq!(world.on(wants_to_go()), [Effect::StopChild]);
    // Said once more while it goes.
    assert_eq!(world.on(wants_to_go()), []);
    world.on(Input::ChildStopped);
    let view = world.machine.view();
    assert_eq!(view.phase, Phase::Idle);
    assert_eq!(view.released_for.as_deref(), Some("it is too big"));
    assert_eq!((view.crashes, view.last_error), (0, None));
    assert_eq!(world.on(want("u")), [Effect::OpenChild]);
    world.on(Input::Opened(Ok(())));
    assert_eq!(world.machine.view().released_for, None);
}

proptest! {
    /// Whatever happens in whatever order: a delivery is always preceded by a lookup of the same turn that found
    /// no answer, with no other delivery in between; and nothing is opened twice at once.
    #[test]
    fn no_order_of_events_delivers_without_a_fresh_lookup(inputs in prop::collection::vec((any_input(), 0u64..3_000), 1..200)) {
        let mut world = World::new();
        let mut may_deliver = false;
        let mut child_open = false;
        for (input, gap) in inputs {
            if matches!(input, Input::LookedUp(Ok(StoredTurn::Absent))) {
                may_deliver = true;
            }
            let stopped = matches!(input, Input::ChildStopped | Input::Opened(Err(_)) | Input::Event(AgentEvent::Exited { .. }));
            if stopped {
                child_open = false;
            }
            let effects = world.after(gap, input);
            for effect in &effects {
                match effect {
                    Effect::Deliver(_) => {
                        prop_assert!(may_deliver);
                    }
                    Effect::OpenChild => {
                        prop_assert!(!child_open);
                        child_open = true;
                    }
                    _ => {}
                }
            }
            may_deliver = false;
        }
    }
}
