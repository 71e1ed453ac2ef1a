//! What the assistant asks: who decides it, when it is over, and that it gets one reply.

use super::*;
use crate::domain::permission::{AskedKind, Choice, Question};
use crate::domain::policy::{Decision, Rule};

pub(super) fn key(id: &str) -> RequestKey {
    RequestKey::of(&"t".into(), &RequestId(id.to_owned()), 0)
}

fn bash() -> Asked {
    Asked {
        title: "bash: ls".to_owned(),
        permission: Some("bash".to_owned()),
        patterns: vec!["ls".to_owned()],
        ..Asked::default()
    }
}

fn question() -> Asked {
    Asked {
        kind: AskedKind::Question,
        title: "Which?".to_owned(),
        questions: vec![Question {
            question: "Which?".to_owned(),
            options: vec![Choice::default()],
            ..Question::default()
        }],
        ..Asked::default()
    }
}

fn asked(id: &str, asked: Asked) -> Input {
    Input::Event(AgentEvent::Asked {
        turn: "t".into(),
        request: RequestId(id.to_owned()),
        asked: Box::new(asked),
    })
}

pub(super) fn asks(id: &str) -> Input {
    asked(id, bash())
}

pub(super) fn settled(id: &str) -> Input {
    Input::Event(AgentEvent::Settled {
        request: RequestId(id.to_owned()),
    })
}

pub(super) fn stands(id: &str, standing: Standing) -> Input {
    Input::RequestStands(key(id), Ok(standing))
}

fn reply(id: &str, reply: Reply) -> Effect {
    Effect::Reply(RequestId(id.to_owned()), reply)
}

fn ask(id: &str, asked: Asked) -> Effect {
    Effect::Ask {
        key: key(id),
        turn: "t".into(),
        asked: Box::new(asked),
        timeout_ms: 60_000,
    }
}

/// A turn that has put a request before its owner.
fn waiting(what: Asked) -> World {
    let mut world = World::new();
    world.until_streaming();
    assert_eq!(world.on(asked("r", what.clone())), [ask("r", what)]);
    assert_eq!(world.on(stands("r", Standing::Open)), []);
    assert_eq!(world.machine.view().phase, Phase::Waiting);
    world
}

fn answered(world: &mut World, answer: Reply) -> Vec<Effect> {
    assert_eq!(
        world.on(Input::RequestEnded(key("r"))),
        [Effect::Take(key("r"))]
    );
    world.on(stands("r", Standing::Answered(answer)))
}

fn rejected() -> Input {
    ended(TurnEnd::Failed {
        error: TurnError::new("rejected", "OpenCode ended the turn"),
        usage: None,
    })
}

#[test]
fn an_answer_is_heard_taken_and_given_once() {
    for answer in [
        Reply::Once,
        Reply::Always,
        Reply::rejection("use the other remote"),
        Reply::Answers(vec![vec!["A".to_owned()]]),
    ] {
        let mut world = waiting(bash());
        assert_eq!(answered(&mut world, answer.clone()), [reply("r", answer)]);
        assert_eq!(world.machine.view().phase, Phase::Active);
        // Snapshots name it until the deployment knows that it was taken, and calls can be answered late.
        assert_eq!(world.on(Input::RequestEnded(key("r"))), []);
        assert_eq!(world.on(stands("r", Standing::Answered(Reply::Once))), []);
        assert_eq!(world.on(stands("r", Standing::Expired)), []);
        assert_eq!(
            world.on(Input::Replied(RequestId("r".to_owned()), Ok(()))),
            []
        );
        assert_eq!(world.on(settled("r")), []);
        assert_eq!(
            outcome_of(&world.on(ended(TurnEnd::Complete { usage: None }))),
            Outcome::Complete
        );
    }
}

#[test]
fn a_request_that_nobody_answers_is_rejected_with_the_reason_when_the_deployment_says_so() {
    let mut world = waiting(bash());
    // The time is the deployment's to measure.
    assert_eq!(world.after(60_500, Input::Tick), []);
    assert_eq!(
        world.on(Input::RequestEnded(key("r"))),
        [Effect::Take(key("r"))]
    );
    let reason = Reply::rejection("nobody answered within 60 s");
    assert_eq!(
        world.on(stands("r", Standing::Expired)),
        [reply("r", reason)]
    );
}

#[test]
fn a_deployment_that_stays_away_does_not_hold_a_turn_for_ever() {
    let mut world = World::new();
    world.until_streaming();
    world.on(asks("r"));
    assert_eq!(world.after(119_000, Input::Tick), []);
    let effects = world.after(1_000, Input::Tick);
    assert!(
        matches!(&effects[..], [Effect::Withdraw(_), Effect::Reply(_, Reply::Reject { message: Some(reason) })] if reason.contains("60 s")),
        "{effects:?}"
    );
    // The call goes through in the end: it is late.
    assert_eq!(world.on(stands("r", Standing::Open)), []);
}

#[test]
fn a_deployment_that_fails_is_asked_again_and_one_that_refuses_ends_the_request() {
    let mut world = World::new();
    world.until_streaming();
    world.on(asks("r"));
    let failed = CallError::Server("upgrading".to_owned());
    assert_eq!(
        world.on(Input::RequestStands(key("r"), Err(failed.clone()))),
        []
    );
    assert_eq!(world.after(2_000, Input::Tick), [ask("r", bash())]);
    world.on(stands("r", Standing::Open));
    world.on(Input::RequestEnded(key("r")));
    assert_eq!(world.on(Input::RequestStands(key("r"), Err(failed))), []);
    assert_eq!(world.after(2_000, Input::Tick), [Effect::Take(key("r"))]);
    let refused = CallError::Refused {
        code: "invalid".to_owned(),
        message: "too odd".to_owned(),
    };
    let effects = world.on(Input::RequestStands(key("r"), Err(refused)));
    assert!(
        matches!(&effects[..], [Effect::Reply(_, Reply::Reject { message: Some(reason) })] if reason.contains("too odd")),
        "{effects:?}"
    );
}

#[test]
fn a_policy_decides_without_asking_anybody() {
    let rule = |pattern: &str, decision| Rule {
        permission: "bash".to_owned(),
        pattern: pattern.to_owned(),
        decision,
    };
    for (decision, expected) in [
        (Decision::Allow, Reply::Once),
        (
            Decision::Deny,
            Reply::rejection("the policy of this directory's worker denies it"),
        ),
    ] {
        let mut world = World::new();
        world.machine.limits.policy = Policy::new(vec![rule("ls *", decision)]);
        world.until_streaming();
        assert_eq!(world.on(asks("r")), [reply("r", expected)]);
        assert_eq!(world.machine.view().phase, Phase::Active);
        assert_eq!(world.on(settled("r")), []);
    }
}

#[test]
fn what_is_answered_in_the_assistant_itself_is_withdrawn() {
    let mut world = waiting(bash());
    assert_eq!(world.on(settled("r")), [Effect::Withdraw(key("r"))]);
    assert_eq!(world.machine.view().phase, Phase::Active);
    assert_eq!(world.on(Input::RequestEnded(key("r"))), []);
}

#[test]
fn what_a_lost_child_asked_is_withdrawn_and_never_answered() {
    let mut world = waiting(bash());
    let effects = world.on(exited());
    assert_eq!(effects, [Effect::OpenChild, Effect::Withdraw(key("r"))]);
    assert_eq!(world.on(Input::RequestEnded(key("r"))), []);
    assert_eq!(world.on(stands("r", Standing::Answered(Reply::Once))), []);
    world.on(Input::Opened(Ok(())));
    world.on(Input::Conversed(Ok("c".into())));
    let effects = world.on(Input::LookedUp(Ok(StoredTurn::Begun)));
    assert_eq!(outcome_of(&effects), Outcome::Interrupted);
}

#[test]
fn a_reply_that_the_assistant_did_not_take_is_given_again_the_same_a_few_times() {
    let mut world = waiting(bash());
    answered(&mut world, Reply::Always);
    for attempt in 1..=5 {
        let failed = AgentError::Failed("no answer".to_owned());
        world.on(Input::Replied(RequestId("r".to_owned()), Err(failed)));
        let effects = world.after(2_000, Input::Tick);
        if attempt < 5 {
            assert_eq!(effects, [reply("r", Reply::Always)]);
        } else {
            // A tool that waits for its answer is no silence: nothing else would end the turn.
            assert_eq!(effects, [Effect::Abort("c".into())]);
        }
    }
    let effects = world.on(ended(TurnEnd::Aborted { usage: None }));
    assert_eq!(outcome_of(&effects), Outcome::Failed);
}

#[test]
fn an_always_does_not_pass_what_the_policy_denies_or_nobody_has_seen() {
    let deny = Rule {
        permission: "bash".to_owned(),
        pattern: "rm *".to_owned(),
        decision: Decision::Deny,
    };
    let mut world = World::new();
    world.machine.limits.policy = Policy::new(vec![deny]);
    world.until_streaming();
    world.on(asks("r"));
    assert_eq!(
        answered(&mut world, Reply::Always),
        [reply("r", Reply::Once)]
    );

    let mut world = waiting(Asked {
        incomplete: true,
        ..bash()
    });
    assert_eq!(
        answered(&mut world, Reply::Always),
        [reply("r", Reply::Once)]
    );
}

#[test]
fn what_was_asked_keeps_the_time_that_its_owner_was_told() {
    let mut world = waiting(bash());
    world.machine.limits.request_ms = 1_000;
    assert_eq!(world.after(100_000, Input::Tick), []);
    let effects = world.after(30_000, Input::Tick);
    assert!(
        matches!(
            &effects[..],
            [Effect::Withdraw(_), Effect::Reply(_, Reply::Reject { .. })]
        ),
        "{effects:?}"
    );
}

#[test]
fn a_turn_that_is_to_stop_asks_nothing_more() {
    let mut world = World::new();
    world.until_streaming();
    world.on(want_abort("t"));
    assert_eq!(world.on(asks("r")), []);
}

#[test]
fn an_abort_reaches_a_turn_that_waits() {
    let mut world = waiting(bash());
    assert_eq!(world.on(want_abort("t")), [Effect::Abort("c".into())]);
    let effects = world.on(ended(TurnEnd::Aborted { usage: None }));
    assert_eq!(outcome_of(&effects), Outcome::Aborted);
}

#[test]
fn a_turn_that_the_assistant_ends_for_a_rejection_says_whose_it_was() {
    let mut world = waiting(bash());
    answered(&mut world, Reply::Reject { message: None });
    let effects = world.on(rejected());
    let error = finish_of(&effects).unwrap().error.clone().unwrap();
    assert_eq!(error.code, "rejected");
    assert!(error.message.contains("owner") && error.message.contains("bash: ls"));

    let mut world = waiting(question());
    world.on(Input::RequestEnded(key("r")));
    world.on(stands("r", Standing::Expired));
    let effects = world.on(rejected());
    let error = finish_of(&effects).unwrap().error.clone().unwrap();
    assert_eq!(error.code, "unanswered");
    assert!(error.message.contains("60 s") && error.message.contains("Which?"));
}

#[test]
fn a_turn_that_waits_is_not_idle_and_its_child_stays() {
    let mut world = World::new();
    world.machine.limits.request_ms = u64::MAX;
    world.until_streaming();
    world.on(asks("r"));
    world.on(stands("r", Standing::Open));
    assert_eq!(world.on(Input::Release), []);
    assert_eq!(world.on(wants_to_go()), []);
    assert_eq!(world.after(10_000_000, Input::Tick), []);
    assert_eq!(world.machine.view().waits_for.as_deref(), Some("bash: ls"));
}

proptest! {
    /// Whatever happens in whatever order: of one child's request there is one decision, and every reply says the same.
    #[test]
    fn no_order_of_events_answers_a_request_twice(inputs in prop::collection::vec((any_input(), 0u64..70_000), 1..200)) {
        let mut world = World::new();
        let mut given: std::collections::HashMap<RequestId, Reply> = std::collections::HashMap::new();
        world.until_streaming();
        for (input, gap) in inputs {
            // What a child asks after its last life, or anew after it was settled, is another request.
            match &input {
                Input::Event(AgentEvent::Settled { request }) => { given.remove(request); }
                Input::Event(AgentEvent::Exited { .. } | AgentEvent::TurnEnded { .. }) | Input::ChildStopped => given.clear(),
                _ => {}
            }
            for effect in world.after(gap, input) {
                match effect {
                    Effect::Reply(id, reply) => {
                        let first = given.entry(id).or_insert_with(|| reply.clone());
                        prop_assert_eq!(first, &reply);
                    }
                    Effect::Finish(..) | Effect::StopChild => given.clear(),
                    _ => {}
                }
            }
        }
    }
}
