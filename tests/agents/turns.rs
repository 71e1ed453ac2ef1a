//! Turns from the prompt to their end: texts, reasoning, tools, retries, aborts, permissions, errors.

use std::time::Duration;

use orchestrator_actors::domain::ids::{ModelId, TurnId};
use orchestrator_actors::domain::item::ItemKind;
use orchestrator_actors::domain::turn::StoredTurn;
use orchestrator_actors::ports::agent::{AgentError, AgentEvent, Prompt, Reply, TurnEnd};
use serde_json::json;

use crate::harness::{Answer, World, eventually, folded, script};

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_is_answered_and_the_next_one_knows_it() {
    let world = World::new().await;
    let mut session = world.open("s1").await;
    assert!(session.agent.rss_bytes() > 50_000_000);
    let lookup = |turn: &str| {
        session
            .agent
            .lookup(session.conversation.clone(), TurnId::new(turn))
    };
    assert_eq!(lookup("t1").await.unwrap(), StoredTurn::Absent);

    let first = session.ask("t1", "hello there").await;
    assert!(first.is_complete(), "{first:?}");
    assert!(first.text().contains("“hello there”"), "{first:?}");
    let pieces = first
        .drafts()
        .iter()
        .filter(|draft| draft.kind == ItemKind::Text)
        .count();
    assert!(pieces > 2, "it did not stream: {first:?}");
    let Some(TurnEnd::Complete { usage: Some(usage) }) = &first.end else {
        panic!("{first:?}")
    };
    assert!(usage.input_tokens > 0.0 && usage.output_tokens > 0.0);

    let StoredTurn::Complete { parts, .. } = session
        .agent
        .lookup(session.conversation.clone(), TurnId::new("t1"))
        .await
        .unwrap()
    else {
        panic!("it is complete in the store")
    };
    assert_eq!(folded(&parts, ItemKind::Text), first.text());

    let second = session.ask("t2", "and again").await;
    assert!(second.text().contains("one earlier message"), "{second:?}");
    let stats = world.stats().await;
    let history = stats["history"].as_array().unwrap().last().unwrap()["messages"].to_string();
    assert!(history.contains("hello there"));
    assert_eq!(world.starts("hello there").await, 1);
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_write_files_and_retries_reset_what_had_streamed() {
    let world = World::new().await;
    let mut session = world.open("s1").await;
    let file = world.work().join("b.txt");
    let answer = session
        .ask("t1", script(json!([
            [{"reason": "think "}, {"text": "I will "}, {"tool": "write", "args": {"filePath": file, "content": "x"}}],
            [{"text": "Done."}],
        ])))
        .await;
    assert!(answer.is_complete(), "{answer:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "x");
    assert_eq!(answer.reasoning(), "think ");
    assert_eq!(answer.text(), "I will Done.");
    let tools = answer.tools();
    assert_eq!(
        (tools[0].tool.as_str(), tools[0].status.as_str()),
        ("write", "completed")
    );

    // A task in plain words.
    let answer = session
        .ask("t2", "please create notes.md with a greeting")
        .await;
    assert!(
        answer.is_complete() && world.work().join("notes.md").is_file(),
        "{answer:?}"
    );

    // The connection breaks after some text: OpenCode starts the text again in a new part.
    let answer = session
        .ask("t3", script(json!([[
            {"text": "lost "}, {"stream": {"n": 5, "rate": 50}}, {"sleep": 1000}, {"drop": true, "times": 1}, {"text": "whole"},
        ]])))
        .await;
    assert!(answer.is_complete(), "{answer:?}");
    assert!(
        answer
            .events
            .iter()
            .any(|event| matches!(event, AgentEvent::Retrying { attempt: 1, .. })),
        "{answer:?}"
    );
    assert!(
        answer
            .drafts()
            .iter()
            .any(|draft| draft.kind == ItemKind::Reset),
        "{answer:?}"
    );
    assert_eq!(answer.text(), "lost 0 1 2 3 4 whole");
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_ends_the_turn_once_and_keeps_its_text() {
    let world = World::new().await;
    let mut session = world.open("s1").await;
    session
        .deliver("t1", script(json!([[{"stream": {"n": 2000, "rate": 50}}]])))
        .await
        .unwrap();
    let mut answer = Answer::default();
    session.until_text(&mut answer, "t1", "10 ").await;
    session
        .agent
        .abort(session.conversation.clone())
        .await
        .unwrap();
    while answer.end.is_none() {
        let event = session.next().await.unwrap();
        answer.take(event, "t1");
    }
    assert!(
        matches!(answer.end, Some(TurnEnd::Aborted { .. })),
        "{:?}",
        answer.end
    );
    assert!(answer.text().starts_with("0 1 2 "));
    let stored = session
        .agent
        .lookup(session.conversation.clone(), TurnId::new("t1"))
        .await
        .unwrap();
    assert!(
        matches!(stored, StoredTurn::Failed { aborted: true, .. }),
        "{stored:?}"
    );

    // A bash tool that runs for long is ended by the abort.
    session
        .deliver(
            "t2",
            script(
                json!([[{"tool": "bash", "args": {"command": "sleep 600", "description": "d"}}]]),
            ),
        )
        .await
        .unwrap();
    let mut answer = Answer::default();
    while !answer.tools().iter().any(|tool| tool.status == "running") {
        let event = session.next().await.unwrap();
        answer.take(event, "t2");
    }
    session
        .agent
        .abort(session.conversation.clone())
        .await
        .unwrap();
    while answer.end.is_none() {
        let event = session.next().await.unwrap();
        answer.take(event, "t2");
    }
    assert!(
        matches!(answer.end, Some(TurnEnd::Aborted { .. })),
        "{:?}",
        answer.end
    );
    eventually("the tool is gone", || {
        !world.left().iter().any(|line| line.contains("sleep 600"))
    })
    .await;

    // Nothing of the aborted turns disturbs the next one.
    let answer = session.ask("t3", "still there?").await;
    assert!(
        answer.is_complete() && answer.text().contains("still there?"),
        "{answer:?}"
    );
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_provider_and_unknown_models_fail_the_turn_with_a_reason() {
    let world = World::new().await;
    let mut session = world.open("s1").await;
    let answer = session
        .ask(
            "t1",
            script(json!([[{"status": 400, "message": "no credit"}]])),
        )
        .await;
    let Some(TurnEnd::Failed { error, .. }) = &answer.end else {
        panic!("{answer:?}")
    };
    assert_eq!(error.code, "provider_error");
    assert!(error.message.contains("no credit"), "{error:?}");

    let prompt = |model: &str| Prompt {
        conversation: session.conversation.clone(),
        turn: TurnId::new("t2"),
        content: "hi".to_owned(),
        model: Some(ModelId::new(model)),
        agent: None,
        attachments: Vec::new(),
    };
    let unknown = session.agent.deliver(prompt("fake/no/such"), Vec::new());
    // The prompt is at fault, not the child: giving it again would fail again, and park the session.
    let malformed = session
        .agent
        .deliver(prompt("justaname"), Vec::new())
        .await
        .unwrap_err();
    assert!(
        matches!(&malformed, AgentError::Unacceptable(reason) if reason.contains("provider/model")),
        "{malformed:?}"
    );
    unknown.await.unwrap();
    let answer = session.finish("t2").await;
    let Some(TurnEnd::Failed { error, .. }) = &answer.end else {
        panic!("{answer:?}")
    };
    assert!(error.message.contains("no/such"), "{error:?}");
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_request_is_told_and_can_be_rejected_with_a_reason() {
    let world = World::with(|config| {
        let hermetic = config.hermetic.as_mut().unwrap();
        hermetic.overrides = json!({"permission": {"*": "allow", "bash": "ask"}});
    })
    .await;
    let mut session = world.open("s1").await;
    session
        .deliver(
            "t1",
            script(json!([
                [{"tool": "bash", "args": {"command": "echo hi", "description": "d"}}],
                [{"text": "then not"}],
            ])),
        )
        .await
        .unwrap();
    let mut answer = Answer::default();
    let request = loop {
        let event = session.next().await.unwrap();
        let asked = match &event {
            AgentEvent::Asked { request, asked, .. } => Some((request.clone(), asked.clone())),
            _ => None,
        };
        answer.take(event, "t1");
        if let Some((request, asked)) = asked {
            assert_eq!(asked.title, "bash: echo hi");
            assert_eq!(asked.details.as_deref(), Some("echo hi"));
            assert_eq!(asked.always, ["echo *"]);
            break request;
        }
    };
    session
        .agent
        .reply(
            request.clone(),
            Reply::rejection("nobody is there to answer"),
        )
        .await
        .unwrap();
    while answer.end.is_none() {
        let event = session.next().await.unwrap();
        answer.take(event, "t1");
    }
    assert!(answer.is_complete(), "{answer:?}");
    assert_eq!(answer.text(), "then not");
    assert!(answer.events.contains(&AgentEvent::Settled { request }));
    assert_eq!(answer.tools()[0].status, "error");
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_into_a_slow_receiver_arrives_whole() {
    let world = World::new().await;
    let mut session = world.open("s1").await;
    session
        .deliver("t1", script(json!([[{"stream": {"n": 3000, "size": 40}}]])))
        .await
        .unwrap();
    // Nobody reads for a while.
    let stats_until = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        let stored = session
            .agent
            .lookup(session.conversation.clone(), TurnId::new("t1"))
            .await
            .unwrap();
        if matches!(stored, StoredTurn::Complete { .. }) {
            break;
        }
        assert!(std::time::Instant::now() < stats_until);
    }
    let answer = session.finish("t1").await;
    assert!(answer.is_complete());
    let words: Vec<String> = answer
        .text()
        .split_whitespace()
        .map(|word| word.trim_end_matches('x').to_owned())
        .collect();
    let expected: Vec<String> = (0..3000).map(|n: u32| n.to_string()).collect();
    assert_eq!(words, expected);
    assert!(
        answer.drafts().len() < 2000,
        "{} items",
        answer.drafts().len()
    );
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_that_is_made_again_loses_and_repeats_nothing() {
    // Shorter than the heartbeat: the stream is made again in every pause.
    let world = World::with(|config| config.deadlines.silence = Duration::from_millis(700)).await;
    let mut session = world.open("s1").await;
    let answer = session
        .ask("t1", script(json!([
            [
                {"text": "one "}, {"sleep": 2000}, {"text": "two "}, {"sleep": 2000}, {"text": "three "},
                {"tool": "bash", "args": {"command": "sleep 2; echo out", "description": "d"}},
            ],
            [{"sleep": 2000}, {"text": "four"}],
        ])))
        .await;
    assert!(answer.is_complete(), "{answer:?}");
    assert_eq!(answer.text(), "one two three four");
    let tools = answer.tools();
    assert_eq!(
        (tools.len(), tools[0].output.as_deref()),
        (1, Some("out\n"))
    );
    session.agent.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_agents_work_is_the_turns_tool_and_not_its_text() {
    let world = World::new().await;
    let mut session = world.open("s1").await;
    let child = script(json!([[{"text": "child says hi"}]]));
    let answer = session
        .ask("t1", script(json!([
            [{"text": "go "}, {"tool": "task", "args": {"description": "d", "prompt": child, "subagent_type": "general"}}],
            [{"text": "fin"}],
        ])))
        .await;
    assert!(answer.is_complete(), "{answer:?}");
    assert_eq!(answer.text(), "go fin");
    let tools = answer.tools();
    assert!(
        tools[0].tool == "task"
            && tools[0]
                .output
                .as_deref()
                .unwrap()
                .contains("child says hi"),
        "{tools:?}"
    );
    session.agent.stop().await;
    world.end().await;
}
