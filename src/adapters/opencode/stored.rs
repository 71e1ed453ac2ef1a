//! What OpenCode's store says about a turn, judged by the table in the design ("A prompt is given once"). Pure.

use std::collections::HashSet;

use orchestrator_actors::domain::item::{Draft, ItemKind};
use orchestrator_actors::domain::turn::{StoredTurn, TurnError};

use super::content;
use super::wire::{Info, Part, Stored};

/// A finish reason after which OpenCode goes on with another step.
pub const TOOL_CALLS: &str = "tool-calls";

/// Whether a step is the last one of a complete answer.
pub fn is_final(step: &Info) -> bool {
    step.time.completed.is_some()
        && step.error.is_none()
        && !step.is_compaction()
        && step
            .finish
            .as_deref()
            .is_some_and(|finish| finish != TOOL_CALLS)
}

/// The steps of the turn whose user message is `user`, oldest first. When OpenCode compacts a long history in the middle
/// of a turn, it goes on under a user message of its own making (all its parts are synthetic), which belongs to the turn.
pub fn steps<'a>(user: &str, messages: &'a [Stored]) -> Vec<&'a Stored> {
    let Some(at) = messages.iter().position(|message| message.info.id == user) else {
        return Vec::new();
    };
    let mut parents = HashSet::from([user]);
    let mut steps = Vec::new();
    for message in &messages[at + 1..] {
        if message.info.is_assistant() {
            if message
                .info
                .parent
                .as_deref()
                .is_some_and(|parent| parents.contains(parent))
            {
                steps.push(message);
            }
        } else if is_made_by_opencode(&message.parts) {
            parents.insert(&message.info.id);
        } else {
            break;
        }
    }
    steps
}

fn is_made_by_opencode(parts: &[Part]) -> bool {
    !parts.is_empty()
        && parts
            .iter()
            .all(|part| part.synthetic || part.kind == "compaction")
}

/// The verdict. `messages` are the conversation's, oldest first, from the turn's user message on at least.
pub fn judge(user: &str, messages: &[Stored]) -> StoredTurn {
    if !messages.iter().any(|message| message.info.id == user) {
        return StoredTurn::Absent;
    }
    let steps = steps(user, messages);
    let Some(last) = steps.last() else {
        return StoredTurn::Unanswered;
    };
    let usage = content::usage(steps.iter().map(|step| &step.info));
    if let Some(error) = &last.info.error {
        return StoredTurn::Failed {
            parts: whole_parts(&steps),
            error: content::turn_error(error),
            aborted: content::is_abort(error),
            usage,
        };
    }
    if is_final(&last.info) {
        return StoredTurn::Complete {
            parts: whole_parts(&steps),
            usage,
        };
    }
    StoredTurn::Begun
}

/// Every part whole: a reset (what had streamed before is void), then its text. A tool that never ended is an error.
fn whole_parts(steps: &[&Stored]) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for part in steps
        .iter()
        .filter(|step| !step.info.is_compaction())
        .flat_map(|step| &step.parts)
    {
        match content::kind_of(part) {
            // A part that was given up at a retry is stored empty, though it had streamed: it is reset, too.
            Some(kind @ (ItemKind::Text | ItemKind::Reasoning)) => {
                drafts.push(content::reset(&part.id));
                drafts.extend(content::pieces(&part.id, kind, &part.text));
            }
            Some(ItemKind::Tool) => drafts.push(content::tool_draft(&ended(part))),
            _ => {}
        }
    }
    drafts
}

/// A tool part of a turn that is over: one that still says "running" never will say anything else.
pub fn ended(part: &Part) -> Part {
    let mut part = part.clone();
    if matches!(part.state.status.as_str(), "pending" | "running") {
        "error".clone_into(&mut part.state.status);
        part.state.error = Some("interrupted".to_owned());
    }
    part
}

/// An answer that ended without being one: no error, but no final step either.
pub fn unfinished(steps: &[&Info], rejected: bool) -> TurnError {
    match steps.last() {
        None => TurnError::new("no_answer", "OpenCode ended the turn without an answer"),
        Some(_) if rejected => TurnError::new(
            "rejected",
            "OpenCode ended the turn because a permission request or a question was rejected",
        ),
        Some(_) => TurnError::new(
            "incomplete",
            "OpenCode ended the turn before its answer was complete",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn user(id: &str, synthetic: bool) -> Value {
        json!({"info": {"id": id, "role": "user"}, "parts": [{"id": "u", "type": "text", "text": "q", "synthetic": synthetic}]})
    }

    fn step(parent: &str, info: Value, parts: Value) -> Value {
        let mut message = json!({
            "info": {"id": "a", "role": "assistant", "parentID": parent, "time": {"created": 1, "completed": 2}},
            "parts": parts,
        });
        for (name, value) in info.as_object().unwrap() {
            message["info"][name] = value.clone();
        }
        message
    }

    fn judged(messages: Vec<Value>) -> StoredTurn {
        judge(
            "u1",
            &serde_json::from_value::<Vec<Stored>>(Value::Array(messages)).unwrap(),
        )
    }

    #[test]
    fn nothing_and_no_answer() {
        assert_eq!(judged(vec![]), StoredTurn::Absent);
        assert_eq!(
            judged(vec![
                user("u0", false),
                step("u0", json!({"finish": "stop"}), json!([]))
            ]),
            StoredTurn::Absent
        );
        assert_eq!(judged(vec![user("u1", false)]), StoredTurn::Unanswered);
        // Somebody else's later answer is not this turn's.
        assert_eq!(
            judged(vec![
                user("u1", false),
                user("u2", false),
                step("u2", json!({"finish": "stop"}), json!([]))
            ]),
            StoredTurn::Unanswered
        );
    }

    #[test]
    fn a_complete_answer_comes_whole_over_all_its_steps() {
        let turn = judged(vec![
            user("u1", false),
            step(
                "u1",
                json!({"finish": "tool-calls", "tokens": {"input": 5, "output": 1}}),
                json!([
                    {"id": "p1", "type": "text", "text": "I will "},
                    {"id": "p2", "type": "tool", "tool": "write", "state": {"status": "completed", "output": "ok"}},
                ]),
            ),
            step(
                "u1",
                json!({"finish": "stop", "tokens": {"input": 7, "output": 2}, "cost": 0.5}),
                json!([
                    {"id": "p3", "type": "text", "text": ""},
                    {"id": "p4", "type": "text", "text": "Done."},
                ]),
            ),
        ]);
        let StoredTurn::Complete { parts, usage } = turn else {
            panic!("{turn:?}")
        };
        let ids: Vec<(&str, ItemKind)> =
            parts.iter().map(|d| (d.part_id.as_str(), d.kind)).collect();
        assert_eq!(
            ids,
            [
                ("p1", ItemKind::Reset),
                ("p1", ItemKind::Text),
                ("p2", ItemKind::Tool),
                ("p3", ItemKind::Reset),
                ("p4", ItemKind::Reset),
                ("p4", ItemKind::Text),
            ]
        );
        let usage = usage.unwrap();
        assert!(
            (usage.input_tokens - 12.0).abs() < f64::EPSILON
                && (usage.cost - 0.5).abs() < f64::EPSILON
        );
    }

    #[test]
    fn anything_that_has_begun_and_is_not_complete_is_never_asked_again() {
        for info in [
            json!({"finish": "tool-calls"}),
            json!({"time": {"created": 1}}),
            json!({"time": {"created": 1}, "finish": "stop"}),
            json!({}),
            json!({"finish": "stop", "summary": true}),
        ] {
            assert_eq!(
                judged(vec![user("u1", false), step("u1", info.clone(), json!([]))]),
                StoredTurn::Begun,
                "{info}"
            );
        }
    }

    #[test]
    fn an_error_on_the_last_message_fails_or_aborts() {
        for (name, aborted) in [("APIError", false), ("MessageAbortedError", true)] {
            let error = json!({"error": {"name": name, "data": {"message": "m"}}});
            let parts = json!([{"id": "p", "type": "tool", "tool": "bash", "state": {"status": "running"}}]);
            let turn = judged(vec![user("u1", false), step("u1", error, parts)]);
            let StoredTurn::Failed {
                aborted: got,
                parts,
                ..
            } = turn
            else {
                panic!("{turn:?}")
            };
            assert_eq!(got, aborted);
            assert!(parts[0].content.contains("interrupted"));
        }
    }

    #[test]
    fn an_answer_that_goes_on_after_a_compaction_belongs_to_the_turn() {
        let turn = judged(vec![
            user("u1", false),
            step("u1", json!({"finish": "tool-calls"}), json!([])),
            user("c1", true),
            step(
                "c1",
                json!({"finish": "stop", "summary": true}),
                json!([{"id": "s", "type": "text", "text": "summary"}]),
            ),
            user("c2", true),
            step(
                "c2",
                json!({"finish": "stop"}),
                json!([{"id": "p", "type": "text", "text": "Done."}]),
            ),
        ]);
        let StoredTurn::Complete { parts, .. } = turn else {
            panic!("{turn:?}")
        };
        assert_eq!(parts.len(), 2);
    }
}
