//! The reducer over transcripts: recorded ones of OpenCode 1.18.33 (`transcripts/`), and short ones written by hand for what
//! is hard to record.

use std::collections::HashMap;

use orchestrator_actors::domain::item::{Draft, ToolState};
use orchestrator_actors::domain::turn::TurnError;
use serde_json::{Value, json};

use super::*;

const SESSION: &str = "ses_1";
const USER: &str = "msg_u";

/// A reducer that follows a turn, with everything it said and a clock.
struct Run {
    reducer: Reducer,
    out: Vec<Effect>,
    now: u64,
    seen: Vec<Event>,
}

impl Run {
    /// Nothing comes between the reading and what is made of it.
    fn catch_up(&mut self, store: &[Stored], busy: bool, requests: &[Request]) -> Vec<Effect> {
        let asking = self.asking(requests);
        self.reducer.caught_up(store, busy, &asking, self.now)
    }

    fn asking(&self, requests: &[Request]) -> Asking {
        Asking {
            requests: requests.to_vec(),
            within: Vec::new(),
            known: self.reducer.asked(),
        }
    }

    fn of(session: &str, user: &str) -> Self {
        let mut reducer = Reducer::default();
        assert!(reducer.begin(TurnId::new("t"), &ConversationId::new(session), user, 0));
        Self {
            reducer,
            out: Vec::new(),
            now: 0,
            seen: Vec::new(),
        }
    }

    fn new() -> Self {
        Self::of(SESSION, USER)
    }

    fn event(&mut self, event: Event) {
        self.now += 5;
        self.seen.push(event.clone());
        let effects = self.reducer.event(event, self.now);
        self.keep(effects);
    }

    fn json(&mut self, kind: &str, properties: Value) {
        let mut properties = properties;
        if properties["sessionID"].is_null() {
            properties["sessionID"] = json!(SESSION);
        }
        for inner in ["info", "part"] {
            if properties[inner].is_object() && properties[inner]["sessionID"].is_null() {
                properties[inner]["sessionID"] = json!(SESSION);
            }
        }
        let text = json!({"type": kind, "properties": properties}).to_string();
        self.event(Event::parse(&text).unwrap());
    }

    /// The beginning of every turn: the user's message and one of the assistant's.
    fn begun() -> Self {
        let mut run = Self::new();
        run.json(
            "message.updated",
            json!({"info": {"id": USER, "role": "user", "time": {"created": 10}}}),
        );
        run.status("busy");
        run.step(json!({}));
        run
    }

    fn status(&mut self, kind: &str) {
        self.json(
            "session.status",
            json!({"status": {"type": kind, "attempt": 1, "next": 2000, "message": "m"}}),
        );
    }

    fn step(&mut self, more: Value) {
        let mut info =
            json!({"id": "msg_a", "role": "assistant", "parentID": USER, "time": {"created": 11}});
        for (name, value) in more.as_object().unwrap() {
            info[name] = value.clone();
        }
        self.json("message.updated", json!({"info": info}));
    }

    fn part(&mut self, id: &str, kind: &str, text: &str, closed: bool) {
        let time = if closed {
            json!({"start": 1, "end": 2})
        } else {
            json!({"start": 1})
        };
        self.json(
            "message.part.updated",
            json!({"part": {"id": id, "messageID": "msg_a", "type": kind, "text": text, "time": time}}),
        );
    }

    fn delta(&mut self, part: &str, text: &str) {
        self.json(
            "message.part.delta",
            json!({"messageID": "msg_a", "partID": part, "field": "text", "delta": text}),
        );
    }

    fn tool(&mut self, state: Value) {
        self.json(
            "message.part.updated",
            json!({"part": {"id": "p_t", "messageID": "msg_a", "type": "tool", "tool": "bash", "callID": "c", "state": state}}),
        );
    }

    fn done(&mut self) {
        self.step(json!({"finish": "stop", "time": {"created": 11, "completed": 20}}));
        self.status("idle");
    }

    fn keep(&mut self, effects: Vec<Effect>) {
        self.out.extend(effects);
    }

    /// What OpenCode's store would hold after the events so far.
    fn store(&self) -> Vec<Stored> {
        let mut messages: Vec<Stored> = Vec::new();
        for event in &self.seen {
            match event {
                Event::Message(info) => match messages.iter_mut().find(|m| m.info.id == info.id) {
                    Some(known) => known.info = info.clone(),
                    None => messages.push(Stored {
                        info: info.clone(),
                        parts: Vec::new(),
                    }),
                },
                Event::Part(part) => {
                    let message = messages.iter_mut().find(|m| m.info.id == part.message);
                    let Some(message) = message else { continue };
                    match message.parts.iter_mut().find(|known| known.id == part.id) {
                        Some(known) => *known = part.clone(),
                        None => message.parts.push(part.clone()),
                    }
                }
                _ => {}
            }
        }
        messages
    }

    fn settle(&mut self) {
        assert!(
            self.out.contains(&Effect::AskStore),
            "the store was not asked: {:?}",
            self.out
        );
        let store = self.store();
        let effects = self.reducer.settle(Some((&store, false)), self.now);
        self.keep(effects);
    }

    fn replay(mut self, transcript: &str) -> Self {
        for line in transcript.lines() {
            self.event(Event::parse(line).unwrap());
        }
        self
    }

    fn drafts(&self) -> Vec<&Draft> {
        self.out
            .iter()
            .filter_map(|effect| match effect {
                Effect::Emit(AgentEvent::Item { draft, .. }) => Some(draft),
                _ => None,
            })
            .collect()
    }

    fn resets(&self) -> usize {
        self.drafts()
            .iter()
            .filter(|draft| draft.kind == ItemKind::Reset)
            .count()
    }

    fn text(&self) -> String {
        let mut order = Vec::new();
        let mut texts: HashMap<&str, String> = HashMap::new();
        for draft in self.drafts() {
            match draft.kind {
                ItemKind::Text => {
                    if !order.contains(&draft.part_id.as_str()) {
                        order.push(draft.part_id.as_str());
                    }
                    texts
                        .entry(&draft.part_id)
                        .or_default()
                        .push_str(&draft.content);
                }
                ItemKind::Reset => {
                    texts.remove(draft.part_id.as_str());
                }
                _ => {}
            }
        }
        order
            .iter()
            .filter_map(|id| texts.get(id).map(String::as_str))
            .collect()
    }

    fn tools(&self) -> Vec<ToolState> {
        let tools = self
            .drafts()
            .into_iter()
            .filter(|draft| draft.kind == ItemKind::Tool);
        tools
            .map(|draft| serde_json::from_str(&draft.content).unwrap())
            .collect()
    }

    fn end(&self) -> &TurnEnd {
        let mut ends = self.out.iter().filter_map(|effect| match effect {
            Effect::Emit(AgentEvent::TurnEnded { ended, .. }) => Some(ended),
            _ => None,
        });
        let end = ends.next().expect("the turn ended");
        assert!(ends.next().is_none(), "it ended twice");
        assert!(
            matches!(
                self.out.last(),
                Some(Effect::Emit(AgentEvent::TurnEnded { .. }))
            ),
            "something follows the end"
        );
        end
    }

    fn failure(&self) -> &TurnError {
        match self.end() {
            TurnEnd::Failed { error, .. } => error,
            other => panic!("{other:?}"),
        }
    }
}

/// A recorded turn: its session and user message are those of its first user message.
fn recorded(transcript: &str) -> Run {
    let (session, user) = transcript
        .lines()
        .find_map(|line| match Event::parse(line) {
            Some(Event::Message(info)) if info.role == "user" => Some((info.session, info.id)),
            _ => None,
        })
        .unwrap();
    let mut run = Run::of(&session, &user).replay(transcript);
    run.settle();
    run
}

#[test]
fn recorded_texts_reasoning_and_a_file_over_two_steps() {
    let run = recorded(include_str!("transcripts/write.jsonl"));
    assert_eq!(run.text(), "I will Done.");
    let reasoning: String = run
        .drafts()
        .iter()
        .filter(|d| d.kind == ItemKind::Reasoning)
        .map(|d| d.content.as_str())
        .collect();
    assert_eq!(reasoning, "think ");
    assert_eq!(run.tools().last().unwrap().status, "completed");
    assert_eq!(run.resets(), 0);
    let TurnEnd::Complete { usage: Some(usage) } = run.end() else {
        panic!("{:?}", run.end())
    };
    assert!(
        (usage.input_tokens - 200.0).abs() < f64::EPSILON,
        "both steps count: {usage:?}"
    );
}

#[test]
fn a_recorded_abort_ends_once_although_idle_comes_twice() {
    let transcript = include_str!("transcripts/abort.jsonl");
    let run = recorded(transcript);
    assert!(matches!(run.end(), TurnEnd::Aborted { .. }));
    assert!(run.text().starts_with("go 0 1 2 "));
    assert_eq!(run.resets(), 0);
    let asked = run
        .out
        .iter()
        .filter(|effect| **effect == Effect::AskStore)
        .count();
    assert_eq!(asked, 1);
}

#[test]
fn a_recorded_refusal_of_the_provider_fails_with_its_text() {
    let run = recorded(include_str!("transcripts/provider_400.jsonl"));
    assert_eq!(run.failure().code, "provider_error");
    assert!(run.failure().message.contains("scripted 400"));
}

#[test]
fn a_recorded_tool_streams_its_output_sparingly() {
    let run = recorded(include_str!("transcripts/bash.jsonl"));
    let tools = run.tools();
    assert!(tools.len() <= 4, "{tools:?}");
    assert_eq!(tools.last().unwrap().output.as_deref(), Some("1\n2\n3\n"));
    assert_eq!(run.text(), "go fin");
}

#[test]
fn a_recorded_sub_agents_texts_and_idle_are_not_the_turns() {
    let run = recorded(include_str!("transcripts/subagent.jsonl"));
    assert_eq!(run.text(), "go fin");
    assert_eq!(run.tools().last().unwrap().tool, "task");
    assert!(matches!(run.end(), TurnEnd::Complete { .. }));
}

#[test]
fn what_a_retry_abandons_is_reset_and_its_late_deltas_are_ignored() {
    let mut run = Run::begun();
    run.part("p1", "text", "", false);
    run.delta("p1", "half an ans");
    run.status("retry");
    run.delta("p1", "wer");
    run.status("busy");
    run.part("p2", "text", "", false);
    run.delta("p2", "whole");
    run.part("p2", "text", "whole", true);
    run.done();
    run.settle();
    assert_eq!(run.text(), "whole");
    assert_eq!(run.resets(), 1);
    assert!(run.out.iter().any(|e| matches!(
        e,
        Effect::Emit(AgentEvent::Retrying {
            attempt: 1,
            next_ms: 2000,
            ..
        })
    )));
    assert!(matches!(run.end(), TurnEnd::Complete { .. }));
}

#[test]
fn a_new_part_in_place_of_an_open_one_resets_it_and_a_revived_one_comes_back_whole() {
    let mut run = Run::begun();
    run.part("p1", "text", "", false);
    run.delta("p1", "one ");
    run.part("r1", "reasoning", "", false);
    run.delta("r1", "think");
    // A part of another kind does not take its place.
    assert_eq!(run.resets(), 0);
    run.part("p2", "text", "", false);
    assert_eq!(run.resets(), 1);
    run.delta("p2", "two ");
    run.part("p1", "text", "one and more ", true);
    run.part("p2", "text", "two ", true);
    run.part("r1", "reasoning", "think", true);
    run.done();
    run.settle();
    assert_eq!(run.text(), "one and more two ");
}

#[test]
fn a_final_text_that_differs_replaces_and_one_that_is_longer_is_appended() {
    let mut run = Run::begun();
    run.part("p1", "text", "", false);
    run.delta("p1", "abc ");
    run.part("p1", "text", "abc", true);
    run.part("p2", "text", "", false);
    run.delta("p2", "de");
    run.part("p2", "text", "def", true);
    assert_eq!(run.text(), "abcdef");
    assert_eq!(run.resets(), 1);
}

#[test]
fn after_a_lost_connection_an_open_part_waits_for_its_whole_text() {
    let mut run = Run::begun();
    run.part("p1", "text", "", false);
    run.delta("p1", "one ");
    run.reducer.lost();
    // In the store an open part is empty, whatever had streamed.
    let store = run.store();
    let effects = run.catch_up(&store, true, &[]);
    run.keep(effects);
    run.delta("p1", "three ");
    assert_eq!(run.text(), "one ", "a hole was shown");
    run.part("p1", "text", "one two three ", true);
    assert_eq!(run.text(), "one two three ");
    assert_eq!(run.resets(), 0);
    // The end itself can be what was missed.
    run.step(json!({"finish": "stop", "time": {"created": 11, "completed": 20}}));
    let store = run.store();
    let effects = run.catch_up(&store, false, &[]);
    run.keep(effects);
    run.settle();
    assert!(matches!(run.end(), TurnEnd::Complete { .. }));
}

#[test]
fn requests_missed_in_an_outage_are_told_and_answered_ones_settled() {
    let request = |id: &str| -> Request {
        serde_json::from_value(
            json!({"id": id, "sessionID": SESSION, "permission": "bash", "patterns": ["ls"]}),
        )
        .unwrap()
    };
    let mut run = Run::begun();
    run.event(Event::Asked(request("per_1")));
    let store = run.store();
    let effects = run.catch_up(&store, true, &[request("per_2")]);
    run.keep(effects);
    let told: Vec<String> = run
        .out
        .iter()
        .filter_map(|effect| match effect {
            Effect::Emit(AgentEvent::Asked { request, .. }) => Some(format!("+{}", request.0)),
            Effect::Emit(AgentEvent::Settled { request }) => Some(format!("-{}", request.0)),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["+per_1", "+per_2", "-per_1"]);
}

#[test]
fn what_is_asked_while_the_store_is_read_is_not_taken_for_gone() {
    let request: Request = serde_json::from_value(
        json!({"id": "per_1", "sessionID": SESSION, "permission": "bash", "patterns": ["ls"]}),
    )
    .unwrap();
    let mut run = Run::begun();
    let before = run.asking(&[]);
    run.event(Event::Asked(request));
    let store = run.store();
    let effects = run.reducer.caught_up(&store, true, &before, run.now);
    let settled = |effect: &Effect| matches!(effect, Effect::Emit(AgentEvent::Settled { .. }));
    assert!(!effects.iter().any(settled));
}

#[test]
fn a_sub_agents_request_is_the_turns() {
    let mut run = Run::begun();
    run.json(
        "session.created",
        json!({"sessionID": "ses_c", "info": {"id": "ses_c", "parentID": SESSION, "title": "look (@general subagent)"}}),
    );
    run.json(
        "permission.asked",
        json!({"id": "per_1", "sessionID": "ses_c", "permission": "bash", "patterns": ["ls"]}),
    );
    run.json(
        "permission.asked",
        json!({"id": "per_2", "sessionID": "ses_other", "permission": "bash"}),
    );
    let asked: Vec<_> = run
        .out
        .iter()
        .filter_map(|effect| match effect {
            Effect::Emit(AgentEvent::Asked { asked, .. }) => Some(asked.from.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [Some("look (@general subagent)".to_owned())]);
}

/// Its event was too large, or came while the stream was away and could not be read after it.
#[test]
fn a_request_that_no_event_told_of_is_found_by_the_poll() {
    let request = |id: &str, session: &str| -> Request {
        serde_json::from_value(
            json!({"id": id, "sessionID": session, "permission": "bash", "patterns": ["ls"]}),
        )
        .unwrap()
    };
    let mut run = Run::begun();
    let mut asking = run.asking(&[
        request("per_1", SESSION),
        request("per_2", "ses_deep"),
        request("per_3", "ses_other"),
    ]);
    asking.within = vec!["ses_deep".to_owned()];
    let told = |effects: &[Effect]| -> Vec<String> {
        let of = |effect: &Effect| match effect {
            Effect::Emit(AgentEvent::Asked { request, .. }) => Some(format!("+{}", request.0)),
            Effect::Emit(AgentEvent::Settled { request }) => Some(format!("-{}", request.0)),
            _ => None,
        };
        effects.iter().filter_map(of).collect()
    };
    let first = run.reducer.polled(true, Some(&asking), run.now);
    assert_eq!(told(&first), ["+per_1", "+per_2"]);
    asking.known = run.reducer.asked();
    assert_eq!(
        told(&run.reducer.polled(true, Some(&asking), run.now)),
        [""; 0]
    );
    asking.requests.remove(0);
    let gone = run.reducer.polled(true, Some(&asking), run.now);
    assert_eq!(told(&gone), ["-per_1"]);
}

#[test]
fn what_an_aborted_turn_left_behind_is_not_the_next_ones() {
    let stale: Request = serde_json::from_value(
        json!({"id": "per_1", "sessionID": SESSION, "permission": "bash", "patterns": ["ls"]}),
    )
    .unwrap();
    let unseen: Request = serde_json::from_value(
        json!({"id": "per_0", "sessionID": SESSION, "permission": "bash", "tool": {"messageID": "msg_of_another_turn"}}),
    )
    .unwrap();
    let mut run = Run::begun();
    run.event(Event::Asked(stale.clone()));
    run.reducer.abort_asked();
    run.reducer.settle(None, run.now);
    let next = TurnId::new("next");
    assert!(
        run.reducer
            .begin(next, &ConversationId::new(SESSION), "msg_next", run.now)
    );
    let effects = run.catch_up(&[], true, &[stale, unseen]);
    let asks = |effect: &Effect| matches!(effect, Effect::Emit(AgentEvent::Asked { .. }));
    assert!(!effects.iter().any(asks), "{effects:?}");
}

#[test]
fn an_unknown_agent_brings_neither_busy_nor_idle_and_fails_all_the_same() {
    let mut run = Run::new();
    run.json(
        "session.error",
        json!({"error": {"name": "UnknownError", "data": {"message": "Agent not found: x"}}}),
    );
    assert_eq!(run.out, [Effect::Arrived]);
    let effects = run.reducer.tick(run.now + IDLE_GRACE_MS);
    run.keep(effects);
    run.settle();
    assert!(run.failure().message.contains("Agent not found"));
}

#[test]
fn an_abort_between_two_tries_is_an_abort() {
    let mut run = Run::begun();
    run.status("retry");
    run.reducer.abort_asked();
    run.step(json!({"time": {"created": 11, "completed": 20}}));
    run.status("idle");
    run.settle();
    assert!(matches!(run.end(), TurnEnd::Aborted { .. }));
}

#[test]
fn a_rejected_permission_that_ends_the_turn_is_its_reason() {
    let mut run = Run::begun();
    run.json(
        "permission.asked",
        json!({"id": "per_1", "permission": "bash"}),
    );
    run.json(
        "permission.replied",
        json!({"requestID": "per_1", "reply": "reject"}),
    );
    run.tool(json!({"status": "error", "error": "rejected"}));
    run.step(json!({"finish": "tool-calls", "time": {"created": 11, "completed": 20}}));
    run.status("idle");
    run.settle();
    assert_eq!(run.failure().code, "rejected");
}

#[test]
fn an_idle_that_got_lost_is_found_by_the_poll() {
    let mut run = Run::begun();
    let effects = run.reducer.polled(true, None, run.now);
    run.keep(effects);
    run.step(json!({"finish": "stop", "time": {"created": 11, "completed": 20}}));
    let effects = run.reducer.polled(false, None, run.now);
    run.keep(effects);
    run.settle();
    assert!(matches!(run.end(), TurnEnd::Complete { .. }));
}

#[test]
fn a_prompt_that_has_just_arrived_is_not_taken_for_ended() {
    let mut run = Run::new();
    run.json(
        "message.updated",
        json!({"info": {"id": USER, "role": "user", "time": {"created": 10}}}),
    );
    let effects = run.reducer.polled(false, None, run.now);
    assert_eq!(effects, []);
    // The trailing idle of the turn before must not end it either.
    run.status("idle");
    assert_eq!(run.out, [Effect::Arrived]);
}

#[test]
fn a_running_tool_is_a_sign_of_life_and_a_silent_model_is_not() {
    let mut run = Run::begun();
    assert_eq!(run.reducer.polled(true, None, 50_000), []);
    run.tool(json!({"status": "running", "input": {}}));
    let alive = run.reducer.polled(true, None, 60_000);
    assert!(matches!(
        alive[..],
        [Effect::Emit(AgentEvent::Alive { .. })]
    ));
}

#[test]
fn an_older_store_takes_nothing_back() {
    let mut run = Run::begun();
    run.tool(json!({"status": "running", "input": {}}));
    let old = run.store();
    run.tool(json!({"status": "completed", "output": "ok"}));
    run.step(json!({"finish": "stop", "time": {"created": 11, "completed": 20}}));
    let effects = run.catch_up(&old, false, &[]);
    run.keep(effects);
    assert_eq!(run.tools().last().unwrap().status, "completed");
    run.settle();
    assert!(matches!(run.end(), TurnEnd::Complete { .. }));
}

#[test]
fn a_turn_whose_end_was_seen_survives_its_child_and_another_one_does_not() {
    let mut run = Run::begun();
    run.part("p1", "text", "", false);
    run.delta("p1", "half");
    assert_eq!(run.reducer.child_gone(run.now), []);
    run.done();
    let effects = run.reducer.child_gone(run.now);
    run.keep(effects);
    assert!(matches!(run.end(), TurnEnd::Complete { .. }));
}

#[test]
fn another_sessions_events_are_nothing_to_us() {
    let mut run = Run::begun();
    run.out.clear();
    run.json(
        "message.part.updated",
        json!({"part": {"id": "p", "sessionID": "ses_x", "messageID": "msg_a", "type": "text"}}),
    );
    run.json("session.idle", json!({"sessionID": "ses_x"}));
    run.json(
        "session.status",
        json!({"sessionID": "ses_x", "status": {"type": "idle"}}),
    );
    assert_eq!(run.out, []);
}

#[test]
fn another_name_is_told_between_turns_too_and_the_one_that_it_has_is_not() {
    let mut run = Run::begun();
    let named =
        |title: &str, id: &str| json!({"sessionID": id, "info": {"id": id, "title": title}});
    run.json("session.updated", named("fix the cart", SESSION));
    run.json("session.updated", named("another session", "ses_other"));
    run.json("session.updated", named("fix the cart", SESSION));
    run.reducer.settle(None, run.now);
    run.json("session.updated", named("Rounding", SESSION));
    run.json("session.updated", named("Rounding", SESSION));
    let told: Vec<&str> = run
        .out
        .iter()
        .filter_map(|effect| match effect {
            Effect::Emit(AgentEvent::Titled { title }) => Some(title.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["Rounding"]);
}
