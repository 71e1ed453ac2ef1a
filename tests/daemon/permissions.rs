//! What the assistant asks its owner: the real OpenCode asks, and it is answered over the API, from a terminal, by the worker's
//! policy, by nobody, and not at all because something fell meanwhile.

use std::path::Path;

use orchestrator_test_support::{
    Api, Home, Stage, Supervisor, eventually, script, text_of, until, users_opencode,
};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::stage::Site;
use crate::terminal::Terminal;

fn asking() -> Stage {
    let mut stage = Stage::new(ORCHESTRATOR);
    users_opencode(&mut stage.home, &json!({ "*": "allow", "bash": "ask" }));
    stage
}

fn serve(stage: &Stage) -> Supervisor<'_> {
    let supervisor = stage.home.supervisor(["run", "--local", "--port", "0"]);
    supervisor.workers_are("ready");
    supervisor
}

/// Runs a command that leaves a file, then says "done".
fn touch(file: &Path) -> String {
    let command = format!("touch {}", file.display());
    script(&json!([
        [{ "tool": "bash", "args": { "command": command, "description": "d" } }],
        [{ "text": "done" }],
    ]))
}

fn open(api: &Api) -> Vec<Value> {
    let open = api.query("permissions:list", &json!({}));
    open.as_array().cloned().unwrap_or_default()
}

fn asked(api: &Api) -> Value {
    until("something is asked", || open(api).into_iter().next())
}

fn answer(api: &Api, request: &Value, reply: &Value) -> Result<Value, Value> {
    let mut args = reply.clone();
    args["requestId"] = request["requestId"].clone();
    api.call("mutation", "permissions:answer", &args)
}

fn ended(api: &Api) -> Value {
    api.query("permissions:list", &json!({ "ended": 1.0 }))[0].clone()
}

fn tool_of(row: &Value) -> Value {
    let parts = row["parts"].as_array().cloned().unwrap_or_default();
    let tool = parts.iter().find(|part| part["kind"] == "tool");
    let text = tool.expect("a tool")["text"].as_str().unwrap().to_owned();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_tool_that_is_asked_about_runs_when_its_owner_allows_it_and_the_wait_is_seen_everywhere() {
    let stage = asking();
    let supervisor = serve(&stage);
    let api = stage.api(&supervisor);
    let file = stage.home.dir("shop").join("made.txt");
    let (session, turn) = api.send("m1", &stage.worker(&supervisor), &touch(&file));
    let request = asked(&api);
    assert_eq!(request["kind"], "permission");
    assert_eq!(request["permission"], "bash");
    assert_eq!(request["turnId"], json!(turn));
    assert!(request["title"].as_str().unwrap().contains("touch"));
    assert!(!file.exists());
    let waits = supervisor.session("waits", |session| session["phase"] == "waiting");
    assert!(
        waits["detail"].as_str().unwrap().contains("touch"),
        "{waits}"
    );
    let list = stage.home.run(["session", "list"]).exits(0);
    assert!(list.stdout.contains("waiting"), "{}", list.stdout);
    let show = stage
        .home
        .run(["session", "show", session.as_str()])
        .exits(0);
    assert!(
        show.stdout.contains("orchestrator permission answer"),
        "{}",
        show.stdout
    );

    answer(&api, &request, &json!({ "reply": "once" })).unwrap();
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    assert_eq!(text_of(&row), "done");
    assert!(file.exists());
    let late = answer(&api, &request, &json!({ "reply": "reject" })).unwrap_err();
    assert_eq!(late["errorData"]["code"], "gone", "{late}");
    assert_eq!(ended(&api)["state"], "answered");
    assert!(supervisor.terminate().success());
}

#[test]
fn a_rejection_with_a_message_is_read_by_the_model_which_goes_on_and_one_without_ends_the_turn() {
    let stage = asking();
    let supervisor = serve(&stage);
    let api = stage.api(&supervisor);
    let file = stage.home.dir("shop").join("made.txt");
    let worker = stage.worker(&supervisor);
    let (session, turn) = api.send("m1", &worker, &touch(&file));
    let message = "use the other folder, please";
    answer(
        &api,
        &asked(&api),
        &json!({ "reply": "reject", "message": message }),
    )
    .unwrap();
    let row = api.closed(&session, &turn);
    assert_eq!(
        (&row["state"], text_of(&row).as_str()),
        (&json!("complete"), "done"),
        "{row}"
    );
    assert_eq!(tool_of(&row)["status"], "error", "{row}");
    let history = stage.model.stats()["history"].to_string();
    assert!(history.contains(message), "{history}");

    let (_, turn) = api.send("m2", &json!({ "sessionId": session }), &touch(&file));
    answer(&api, &asked(&api), &json!({ "reply": "reject" })).unwrap();
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "failed", "{row}");
    assert_eq!(row["error"]["code"], "rejected", "{row}");
    assert!(!file.exists());
    assert!(supervisor.terminate().success());
}

#[test]
fn a_supervisor_killed_while_it_waits_closes_the_request_and_nothing_is_answered_twice() {
    let stage = asking();
    let supervisor = serve(&stage);
    let api = stage.api(&supervisor);
    let file = stage.home.dir("shop").join("made.txt");
    let (session, turn) = api.send("m1", &stage.worker(&supervisor), &touch(&file));
    let request = asked(&api);
    supervisor.kill();

    let supervisor = serve(&stage);
    let api = stage.api(&supervisor);
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "interrupted", "{row}");
    assert_eq!(open(&api), Vec::<Value>::new());
    let late = answer(&api, &request, &json!({ "reply": "once" })).unwrap_err();
    assert_eq!(late["errorData"]["code"], "gone", "{late}");
    assert!(!file.exists());
    assert_eq!(stage.starts("touch"), 1);
    // The session goes on.
    let (_, turn) = api.send("m2", &json!({ "sessionId": session }), &touch(&file));
    answer(&api, &asked(&api), &json!({ "reply": "once" })).unwrap();
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    assert!(file.exists());
    assert!(supervisor.terminate().success());
}

#[test]
fn an_abort_while_it_waits_takes_the_request_away_and_the_next_turn_does_not_see_it() {
    let stage = asking();
    let supervisor = serve(&stage);
    let api = stage.api(&supervisor);
    let file = stage.home.dir("shop").join("made.txt");
    let (session, turn) = api.send("m1", &stage.worker(&supervisor), &touch(&file));
    asked(&api);
    api.mutation("messages:abort", &json!({ "turnId": turn }));
    assert_eq!(open(&api), Vec::<Value>::new());
    assert_eq!(api.closed(&session, &turn)["state"], "aborted");
    assert_eq!(ended(&api)["state"], "withdrawn");
    let (_, turn) = api.send("m2", &json!({ "sessionId": session }), "hello again");
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    assert_eq!(open(&api), Vec::<Value>::new());
    assert!(!file.exists());
    assert!(supervisor.terminate().success());
}

#[test]
fn what_a_sub_agent_asks_is_put_before_the_owner() {
    let stage = asking();
    let supervisor = serve(&stage);
    let api = stage.api(&supervisor);
    let file = stage.home.dir("shop").join("made.txt");
    let task = json!({ "description": "look", "prompt": touch(&file), "subagent_type": "general" });
    let prompt = script(&json!([[{ "tool": "task", "args": task }], [{ "text": "all done" }]]));
    let (session, turn) = api.send("m1", &stage.worker(&supervisor), &prompt);
    let request = asked(&api);
    assert_eq!(
        (&request["sessionId"], &request["turnId"]),
        (&json!(session), &json!(turn))
    );
    assert!(
        request["from"]
            .as_str()
            .is_some_and(|from| !from.is_empty()),
        "{request}"
    );
    answer(&api, &request, &json!({ "reply": "once" })).unwrap();
    let row = api.closed(&session, &turn);
    assert_eq!(
        (&row["state"], text_of(&row).as_str()),
        (&json!("complete"), "all done"),
        "{row}"
    );
    assert!(file.exists());
    assert!(supervisor.terminate().success());
}

fn question(text: &str) -> String {
    let options = json!([
        { "label": "red", "description": "warm" }, { "label": "blue", "description": "cold" },
    ]);
    let questions = json!([{ "question": text, "header": "Colour", "options": options }]);
    script(
        &json!([[{ "tool": "question", "args": { "questions": questions } }], [{ "text": "thanks" }]]),
    )
}

#[test]
fn a_question_is_answered_with_an_option_or_a_text_and_the_model_reads_it() {
    let stage = asking();
    let supervisor = serve(&stage);
    let api = stage.api(&supervisor);
    let worker = stage.worker(&supervisor);
    let (session, turn) = api.send("m1", &worker, &question("Which colour?"));
    let request = asked(&api);
    assert_eq!(request["kind"], "question");
    assert_eq!(
        request["questions"][0]["options"][1]["label"], "blue",
        "{request}"
    );
    let wrong = json!({ "reply": "answer", "answers": [{ "options": ["green"] }] });
    assert_eq!(
        answer(&api, &request, &wrong).unwrap_err()["errorData"]["code"],
        "invalid"
    );
    answer(
        &api,
        &request,
        &json!({ "reply": "answer", "answers": [{ "options": ["blue"] }] }),
    )
    .unwrap();
    let row = api.closed(&session, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    assert!(tool_of(&row).to_string().contains("blue"), "{row}");

    let (_, turn) = api.send(
        "m2",
        &json!({ "sessionId": session }),
        &question("And which shade?"),
    );
    let id = asked(&api)["requestId"].as_str().unwrap().to_owned();
    stage
        .home
        .run([
            "permission",
            "answer",
            &id,
            "--answer",
            "like moss after rain",
        ])
        .exits(0);
    assert_eq!(api.closed(&session, &turn)["state"], "complete");
    let history = stage.model.stats()["history"].to_string();
    assert!(history.contains("like moss after rain"), "{history}");
    assert!(supervisor.terminate().success());
}

/// A worker of `workers.json` with these settings.
fn configured(settings: &[(&str, Value)], what: impl FnOnce(&Site, &Api, &Path)) {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let mut site = Site::new(&server);
    users_opencode(&mut site.home, &json!({ "*": "allow", "bash": "ask" }));
    site.approved(&api, deployment.url(), "shop");
    for (name, value) in settings {
        site.set(0, name, value.clone());
    }
    site.write();
    site.run(&["config", "check", "--strict"]).exits(0);
    let supervisor = site.home.supervisor(["run"]);
    supervisor.workers_are("ready");
    what(&site, &api, &site.home.dir("shop"));
    assert!(supervisor.terminate().success());
}

#[test]
fn what_nobody_answers_is_rejected_with_the_reason_and_the_turn_goes_on() {
    configured(&[("answer_timeout", json!("2s"))], |_, api, shop| {
        let file = shop.join("made.txt");
        let worker = json!({ "workerId": "shop" });
        let (session, turn) = api.send("m1", &worker, &touch(&file));
        let row = api.closed(&session, &turn);
        assert_eq!(row["state"], "complete", "{row}");
        let tool = tool_of(&row).to_string();
        assert!(tool.contains("nobody answered within 2 s"), "{tool}");
        assert_eq!(ended(api)["state"], "expired");
        // A question that nobody answers is the end of its turn, with the reason.
        let (_, turn) = api.send("m2", &json!({ "sessionId": session }), &question("Which?"));
        let row = api.closed(&session, &turn);
        assert_eq!(row["state"], "failed", "{row}");
        assert_eq!(row["error"]["code"], "unanswered", "{row}");
        assert!(!file.exists());
    });
}

#[test]
fn with_local_the_deadline_and_the_policy_are_flags_or_variables_and_the_flag_wins() {
    let mut stage = asking();
    stage.home.set("ORCHESTRATOR_ANSWER_TIMEOUT", "1s");
    stage.home.set("ORCHESTRATOR_PERMISSIONS", "deny");
    let file = stage.home.dir("shop").join("made.txt");
    let run = |flags: &[&str]| {
        let args = ["run", "--local", "--port", "0"];
        let supervisor = stage.home.supervisor(args.iter().chain(flags));
        supervisor.workers_are("ready");
        let api = stage.api(&supervisor);
        let id = format!("m{}", flags.len());
        let (session, turn) = api.send(&id, &stage.worker(&supervisor), &touch(&file));
        api.closed(&session, &turn);
        let last = ended(&api);
        assert!(supervisor.terminate().success());
        last
    };
    let nothing = run(&[]);
    assert!(nothing.is_null(), "denied by the variable: {nothing}");
    assert!(!file.exists());
    let last = run(&["--permissions", "ask"]);
    assert_eq!(last["state"], "expired", "{last}");
    assert!(!file.exists());
    run(&["--permissions", "allow", "--answer-timeout", "60s"]);
    assert!(file.exists(), "allowed by the flag");
}

#[test]
fn the_workers_policy_decides_by_patterns_without_asking_and_a_reload_changes_it() {
    let policy = json!({ "bash": { "*": "deny", "touch *": "allow" } });
    configured(&[("permissions", policy)], |site, api, shop| {
        let file = shop.join("made.txt");
        let worker = json!({ "workerId": "shop" });
        let (session, turn) = api.send("m1", &worker, &touch(&file));
        assert_eq!(api.closed(&session, &turn)["state"], "complete");
        assert!(file.exists());
        let remove = script(&json!([
            [{ "tool": "bash", "args": { "command": format!("rm {}", file.display()), "description": "d" } }],
            [{ "text": "tried" }],
        ]));
        let here = json!({ "sessionId": session });
        let (_, turn) = api.send("m2", &here, &remove);
        let row = api.closed(&session, &turn);
        assert_eq!(row["state"], "complete", "{row}");
        assert!(tool_of(&row).to_string().contains("policy"), "{row}");
        assert!(file.exists());
        assert_eq!(ended(api), Value::Null);

        site.set(0, "permissions", json!("ask"));
        site.write();
        let shown = site.run(&["reload", "--dry-run"]).exits(0);
        assert!(shown.stdout.contains("-> ask (live)"), "{}", shown.stdout);
        site.run(&["reload"]).exits(0);
        let (_, turn) = api.send("m3", &here, &remove);
        answer(api, &asked(api), &json!({ "reply": "once" })).unwrap();
        assert_eq!(api.closed(&session, &turn)["state"], "complete");
        assert!(!file.exists());
    });
}

#[test]
fn a_chat_asks_on_the_terminal() {
    let stage = asking();
    let supervisor = serve(&stage);
    let file = stage.home.dir("shop").join("made.txt");
    let mut terminal = Terminal::open(stage.home.command(["chat"]));
    terminal.shows("you> ");
    terminal.types(&touch(&file));
    terminal.shows("? bash: touch");
    terminal.shows("once, always, or reject [why]> ");
    terminal.answers("perhaps", "type o(nce), a(lways) or r(eject)");
    assert!(!file.exists());
    terminal.types("o");
    terminal.shows("done");
    assert!(file.exists());
    terminal.shows("you> ");
    terminal.types(&question("Which colour?"));
    terminal.shows("2 blue: cold");
    terminal.shows("/reject> ");
    terminal.answers("2", "thanks");
    terminal.shows("you> ");
    terminal.control('d');
    terminal.ends_with(0);
    assert!(supervisor.terminate().success());
}

#[test]
fn a_terminal_whose_input_ends_at_a_question_is_told_how_to_answer_and_shows_the_rest() {
    let stage = asking();
    let supervisor = serve(&stage);
    let file = stage.home.dir("shop").join("made.txt");
    let mut terminal = Terminal::open(stage.home.command(["chat"]));
    terminal.shows("you> ");
    terminal.types(&touch(&file));
    terminal.shows("once, always, or reject [why]> ");
    terminal.control('d');
    terminal.shows("orchestrator permission answer ");
    let request = asked(&stage.api(&supervisor));
    let id = request["requestId"].as_str().unwrap();
    let answer = ["permission", "answer", id, "once"];
    stage.home.run(answer).exits(0);
    terminal.shows("done");
    assert!(file.exists());
    terminal.shows("you> ");
    terminal.control('d');
    terminal.ends_with(0);
    assert!(supervisor.terminate().success());
}

#[test]
fn a_send_without_a_terminal_says_what_waits_and_a_script_answers_it() {
    let stage = asking();
    let supervisor = serve(&stage);
    let api = stage.api(&supervisor);
    let file = stage.home.dir("shop").join("made.txt");
    let sent = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let prompt = touch(&file);
            stage.home.run(["send", prompt.as_str(), "--wait"])
        });
        asked(&api);
        let list = stage
            .home
            .run(["permission", "list", "--json"])
            .exits(0)
            .json();
        assert_eq!(list["schema"], 1, "{list}");
        let id = list["requests"][0]["requestId"]
            .as_str()
            .unwrap()
            .to_owned();
        let told = stage.home.run(["permission", "list"]).exits(0);
        assert!(told.stdout.contains(&id), "{}", told.stdout);
        let answered = ["permission", "answer", &id[..12], "once", "--json"];
        assert_eq!(
            stage.home.run(answered).exits(0).json()["state"],
            "answered"
        );
        let again = stage
            .home
            .run(["permission", "answer", &id, "reject"])
            .exits(1);
        assert!(again.stderr.contains("answered before"), "{}", again.stderr);
        sending.join().unwrap()
    });
    let sent = sent.exits(0);
    assert_eq!(sent.stdout, "done\n");
    assert!(
        sent.stderr.contains("orchestrator permission answer req_"),
        "{}",
        sent.stderr
    );
    eventually("nothing waits", || {
        stage
            .home
            .run(["permission", "list"])
            .exits(0)
            .stdout
            .is_empty()
    });
    assert!(supervisor.terminate().success());
}
