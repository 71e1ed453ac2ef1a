//! The outbox with a whole supervisor around it: what was finished is told after any kill, and damage stops nobody.

use std::fs;

use orchestrator_test_support::{Home, Model, Proxy, eventually, script, text_of};
use serde_json::json;

use crate::ORCHESTRATOR;

/// Three sessions answer while the deployment holds its breath; the supervisor is killed, twice; everything is there once.
#[test]
fn finishes_survive_two_kills_and_arrive_once() {
    let model = Model::start(ORCHESTRATOR);
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let proxy = Proxy::to(deployment.address());
    let mut home = Home::new(ORCHESTRATOR);
    home.set("ORCHESTRATOR_DEMO_MODEL", model.url());
    let api = deployment.api();
    home.enrol(&api, &proxy.url(), "shop");
    let supervisor = home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let sessions: Vec<String> = (0..3)
        .map(|n| {
            let (session, turn) = api.send(
                &format!("h{n}"),
                &json!({ "workerId": "shop" }),
                "are you there",
            );
            assert_eq!(api.closed(&session, &turn)["state"], "complete");
            session
        })
        .collect();
    let turns: Vec<(String, String)> = (0..3)
        .map(|n| {
            let text = format!("answer {n} ");
            let prompt =
                script(&json!([[{ "text": text }, { "sleep": 5000 }, { "text": "is whole" }]]));
            api.send(
                &format!("m{n}"),
                &json!({ "sessionId": sessions[n] }),
                &prompt,
            )
        })
        .collect();
    for (_, turn) in &turns {
        eventually("it streams", || api.streamed(turn).contains("answer"));
    }
    proxy.hold();
    let waiting = || supervisor.ps()["machine"]["outbox"].as_u64();
    eventually("the finishes wait in the outbox", || waiting() == Some(3));
    supervisor.kill();
    proxy.cut();
    // Starts, reads them, cannot tell anybody, and is killed in the middle of trying.
    let supervisor = home.supervisor(["run", "--demo", "--no-input"]);
    assert_eq!(supervisor.ps()["machine"]["outbox"], 3);
    supervisor.kill();
    proxy.cut();
    proxy.release();
    let supervisor = home.supervisor(["run", "--demo", "--no-input"]);
    for (n, (session, turn)) in turns.iter().enumerate() {
        let row = api.closed(session, turn);
        assert_eq!(row["state"], "complete", "{row}");
        assert_eq!(text_of(&row), format!("answer {n} is whole"));
    }
    eventually("the outbox is empty", || {
        supervisor.ps()["machine"]["outbox"] == 0
    });
    let stats = model.stats();
    let prompts = stats["prompts"].as_array().expect("prompts");
    let mut scripts = prompts.iter().filter(|prompt| {
        prompt["text"]
            .as_str()
            .is_some_and(|text| text.contains("is whole"))
    });
    assert!(
        scripts.all(|prompt| prompt["starts"] == 1),
        "a prompt was given twice"
    );
    assert!(supervisor.terminate().success());
}

/// Everything that a supervisor keeps is damaged at once: it says so once, keeps what it found, and is who it was.
#[test]
fn a_supervisor_all_of_whose_files_are_damaged_serves_the_same_chats() {
    let mut stage = orchestrator_test_support::Stage::new(ORCHESTRATOR);
    stage.home.set("IDLE_TIMEOUT", "600000");
    let supervisor = stage.run();
    let worker = supervisor.ps()["workers"][0]["id"].clone();
    let api = stage.api(&supervisor);
    let (session, turn) = api.send(
        "m1",
        &stage.worker(&supervisor),
        "remember the number seven",
    );
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    let machine = supervisor.ps()["machine"]["id"].clone();
    supervisor.kill();

    let config =
        std::path::Path::new(stage.home.get("XDG_CONFIG_HOME")).join("opencode-orchestrator");
    let data = std::path::Path::new(stage.home.get("XDG_DATA_HOME")).join("opencode-orchestrator");
    let state = stage.home.state();
    fs::write(config.join("machine.json"), "").unwrap();
    fs::remove_file(state.join("daemon.json")).unwrap();
    for directory in [state.join("outbox"), state.join("daemon.json")] {
        let _ = fs::remove_file(&directory);
        fs::create_dir_all(directory.join("of somebody")).unwrap();
    }
    let supervisor = stage.run();
    assert_eq!(supervisor.ps()["machine"]["id"], machine, "another machine");
    for (what, kept) in [
        (
            "machine.json was damaged",
            config.join("machine.json.damaged-1"),
        ),
        (
            "the outbox could not be used",
            state.join("outbox.damaged-1"),
        ),
    ] {
        eventually("it says so", || supervisor.printed().contains(what));
        assert_eq!(supervisor.printed().matches(what).count(), 1, "{what}");
        assert!(kept.exists(), "{} is not kept", kept.display());
    }
    assert!(state.join("daemon.json.damaged-1/of somebody").is_dir());
    supervisor.kill();

    // The tokens, too: the directory's worker gets another one, and its chat goes on.
    fs::write(data.join("local/tokens.json"), "{\"schema\":1,\"wor").unwrap();
    let supervisor = stage.run();
    assert!(data.join("local/tokens.json.damaged-1").exists());
    assert_eq!(
        supervisor.ps()["workers"][0]["id"],
        worker,
        "another worker"
    );
    let api = stage.api(&supervisor);
    let (_, again) = api.send("m2", &json!({ "sessionId": session }), "what was it");
    assert_eq!(api.closed(&session, &again)["state"], "complete");
    let stats = stage.model.stats();
    let last = stats["history"]
        .as_array()
        .and_then(|all| all.last().cloned());
    let last = last.expect("a request")["messages"].to_string();
    assert!(last.contains("number seven"), "{last}");
    assert!(supervisor.terminate().success());
}
