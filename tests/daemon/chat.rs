//! Messages from the terminal and back.

use orchestrator_test_support::{Stage, script, text_of};
use serde_json::json;

use crate::ORCHESTRATOR;

#[test]
fn send_wait_prints_the_answer_and_nothing_else_and_stream_prints_it_as_it_comes() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let prompt = script(&json!([[{ "text": "forty-" }, { "text": "two" }]]));
    let sent = stage.home.run(["send", prompt.as_str(), "--wait"]).exits(0);
    assert_eq!(sent.stdout, "forty-two\n");
    let prompt =
        script(&json!([[{ "stream": { "n": 40, "rate": 100, "size": 6 } }, { "text": " end" }]]));
    let streamed = stage
        .home
        .run(["send", prompt.as_str(), "--wait", "--stream"])
        .exits(0);
    assert!(streamed.stdout.ends_with(" end\n"), "{}", streamed.stdout);
    let plain = stage.home.run(["send", "hello", "--wait"]).exits(0);
    assert!(plain.stdout.contains("hello"), "{}", plain.stdout);
    assert!(supervisor.terminate().success());
}

#[test]
fn chat_holds_two_turns_in_one_conversation() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let chat = stage
        .home
        .run_with_input(["chat"], "hi there\nagain please\n")
        .exits(0);
    assert!(chat.stdout.contains("hi there"), "{}", chat.stdout);
    assert_eq!(supervisor.sessions().len(), 1);
    let stats = stage.model.stats();
    let last = stats["history"]
        .as_array()
        .and_then(|history| history.last().cloned())
        .expect("a request");
    let history = last["messages"].to_string();
    assert!(
        history.contains("hi there") && history.contains("again please"),
        "{history}"
    );
    assert!(supervisor.terminate().success());
}

#[test]
fn a_tool_call_changes_the_disk_and_stands_in_the_stored_turn() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let file = stage.home.dir("shop").join("b.txt");
    let prompt = script(&json!([
        [{ "text": "writing" }, { "tool": "write", "args": { "filePath": file, "content": "made by a tool" } }],
        [{ "text": "written" }],
    ]));
    let (session, turn) = api.send("m1", &stage.worker(&supervisor), &prompt);
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "made by a tool");
    let parts = row["parts"].as_array().expect("parts");
    let tool = parts
        .iter()
        .find(|part| part["kind"] == "tool")
        .expect("a tool part");
    assert!(
        tool["text"].as_str().unwrap().contains("\"write\""),
        "{tool}"
    );
    assert_eq!(text_of(&row), "writingwritten");
    assert!(supervisor.terminate().success());
}

#[test]
fn ps_draws_the_tree_and_its_json_names_every_session() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    stage.home.run(["send", "hello", "--wait"]).exits(0);
    let tree = stage.home.run(["ps"]).exits(0).stdout;
    for word in [
        "machine",
        "deployment",
        "bridge",
        "worker",
        "session",
        "pid",
        "MB",
    ] {
        assert!(tree.contains(word), "`{word}` is missing in:\n{tree}");
    }
    let ps = supervisor.ps();
    assert_eq!(ps["schema"], 1);
    let session = supervisor.session("is ready", |session| session["phase"] == "ready");
    assert!(
        session["agent_pid"].is_u64() && session["restarts"] == 0 && session["id"].is_string(),
        "{session}"
    );
    assert!(supervisor.terminate().success());
}

#[test]
fn a_session_gives_its_child_up_when_idle_and_resumes_with_its_context() {
    let mut stage = Stage::new(ORCHESTRATOR);
    stage.home.set("IDLE_TIMEOUT", "1000");
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    let (session, turn) = api.send(
        "m1",
        &stage.worker(&supervisor),
        "remember the number seven",
    );
    api.closed(&session, &turn);
    let pid = supervisor.session("is idle", |session| session["phase"] == "idle");
    assert!(pid["agent_pid"].is_null(), "{pid}");
    let (_, again) = api.send("m2", &json!({ "sessionId": session }), "what was it");
    assert_eq!(api.closed(&session, &again)["state"], "complete");
    let stats = stage.model.stats();
    let last = stats["history"]
        .as_array()
        .and_then(|history| history.last().cloned())
        .expect("a request");
    assert!(
        last["messages"].to_string().contains("number seven"),
        "{last}"
    );
    assert!(supervisor.terminate().success());
}
