//! What owners ask of a machine from afar, with a supervisor, a deployment and processes: assistants are scripts on the
//! PATH that are called like the tools which detection knows.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use orchestrator_test_support::{Api, Home, eventually, processes, until};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;
use crate::stage::Site;

/// One worker, `shop`, on a machine that has OpenCode and whatever [`Post::tool`] puts there.
struct Post {
    site: Site,
}

impl Post {
    fn new(server: &Home, api: &Api, url: &str) -> Self {
        let mut site = Site::new(server);
        let bin = site.home.dir("bin");
        let path = format!("{}:/usr/bin:/bin", bin.display());
        site.home.set("PATH", path);
        site.home.set("WORKER_TOKEN", "not for assistants");
        site.approved(api, url, "shop");
        site.write();
        Self { site }
    }

    fn tool(&self, name: &str, script: &str) -> PathBuf {
        let path = self.site.home.dir("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    /// What a script has written into its working directory.
    fn written(&self, file: &str) -> String {
        std::fs::read_to_string(self.site.home.dir("shop").join(file)).unwrap_or_default()
    }
}

fn start(id: &str, tool: &str) -> Value {
    json!({
        "id": id, "machineId": "m1", "type": "start-agent", "workerId": "shop", "room": "den", "role": "builder",
        "tool": tool,
    })
}

fn stop(id: &str) -> Value {
    json!({ "id": id, "machineId": "m1", "type": "stop-agent", "room": "den", "role": "builder" })
}

fn row(api: &Api, id: &str) -> Value {
    let rows = api.query("commands:list", &json!({ "machineId": "m1" }));
    let rows = rows.as_array().cloned().unwrap_or_default();
    let found = rows.into_iter().find(|row| row["commandId"] == id);
    found.unwrap_or(Value::Null)
}

fn ended(api: &Api, id: &str) -> Value {
    until(&format!("{id} ends"), || {
        let row = row(api, id);
        matches!(row["state"].as_str(), Some("completed" | "failed")).then_some(row)
    })
}

fn run_of(api: &Api) -> Value {
    api.query("agentConfigs:list", &json!({ "machineId": "m1" }))[0]["run"].clone()
}

#[test]
fn an_assistant_that_ends_by_itself_is_told_of_in_the_list_and_in_the_log() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let post = Post::new(&server, &api, deployment.url());
    post.tool("claude", "exec sleep 2");
    let supervisor = post.site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    api.mutation("commands:send", &start("c1", "claude"));
    assert_eq!(ended(&api, "c1")["state"], "completed");
    eventually("it has ended", || run_of(&api)["state"] == "ended");
    let list = ["machine", "command", "list", "--machine", "m1"];
    let shown = post.site.run(&list).exits(0).stdout;
    let line = shown
        .lines()
        .find(|line| line.starts_with("role den/builder"));
    assert!(
        line.is_some_and(|line| line.ends_with("claude  it ended by itself")),
        "{shown}"
    );
    let log = post.site.run(&["logs"]).exits(0).stdout;
    assert!(log.contains("assistant of a role is gone"), "{log}");
    assert!(supervisor.terminate().success());
}

#[test]
fn an_assistant_is_started_in_its_directory_with_the_deployments_prompt_and_stopped_with_all_it_started()
 {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let post = Post::new(&server, &api, deployment.url());
    post.tool(
        "claude",
        "cat > prompt; echo \"$@\" > args; env > env; pwd > where; echo . >> starts\nsetsid sleep 1000 &\necho $! > tool\nexec sleep 1000",
    );
    let supervisor = post.site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");

    let sent = api.mutation("commands:send", &start("c1", "claude"));
    assert_eq!(sent["state"], "pending", "{sent}");
    let done = ended(&api, "c1");
    assert_eq!(done["state"], "completed", "{done}");
    assert!(
        post.written("prompt")
            .contains("You are the builder of the room den.")
    );
    assert_eq!(
        post.written("args"),
        "-p --output-format stream-json --verbose\n"
    );
    let directory = post.site.home.dir("shop");
    assert_eq!(post.written("where").trim(), directory.to_str().unwrap());
    let environment = post.written("env");
    assert!(
        environment.contains("ORCHESTRATOR_MARKER="),
        "{environment}"
    );
    for secret in ["WORKER_TOKEN", "secret_", "CONVEX_URL"] {
        assert!(!environment.contains(secret), "{secret}: {environment}");
    }
    let role = until("it is in ps", || {
        let role = supervisor.ps()["workers"][0]["roles"][0].clone();
        (role["phase"] == "active").then_some(role)
    });
    assert_eq!(
        (&role["name"], &role["tool"]),
        (&json!("den/builder"), &json!("claude"))
    );
    let shown = post.site.run(&["ps"]).exits(0).stdout;
    assert!(
        shown.contains("role den/builder") && shown.contains("claude, pid"),
        "{shown}"
    );
    eventually("its row says that it runs", || {
        run_of(&api)["state"] == "running"
    });

    // Sent again it is the same command.
    let again = api.mutation("commands:send", &start("c1", "claude"));
    assert_eq!(again["state"], "completed", "{again}");
    let second = api.mutation("commands:send", &start("c2", "claude"));
    assert_eq!(second["state"], "pending", "{second}");
    let second = ended(&api, "c2");
    assert!(
        second["error"]["message"]
            .as_str()
            .unwrap()
            .contains("already"),
        "{second}"
    );
    assert_eq!(post.written("starts"), ".\n");

    let agent = u32::try_from(role["agent_pid"].as_u64().unwrap()).unwrap();
    let tool: u32 = post.written("tool").trim().parse().unwrap();
    assert!(processes::is_alive(agent) && processes::is_alive(tool));
    api.mutation("commands:send", &stop("c3"));
    assert_eq!(ended(&api, "c3")["state"], "completed");
    assert!(
        !processes::is_alive(agent) && !processes::is_alive(tool),
        "something is left"
    );
    eventually("its row says that it ended", || {
        run_of(&api)["state"] == "ended"
    });

    // The same by the command line.
    let owner = ["--url", deployment.url(), "machine", "command"];
    let told = |rest: &[&str]| {
        let args = [&owner[..], rest, &["--machine", "m1"]].concat();
        post.site.run(&args)
    };
    assert_eq!(told(&["ping"]).exits(0).stdout, "pong\n");
    let status: Value = serde_json::from_str(&told(&["status"]).exits(0).stdout).unwrap();
    assert_eq!(status["actors"][0]["key"], "worker/shop", "{status}");
    assert!(told(&["list"]).exits(0).stdout.contains("start-agent"));
    assert!(supervisor.terminate().success());
}

#[test]
fn what_an_assistant_prints_reaches_the_log_without_its_keys_its_conversation_and_the_rest_of_long_lines()
 {
    const KEY: &str = "not/to/be/seen/0123456789";
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let mut post = Post::new(&server, &api, deployment.url());
    post.site.home.set("AWS_SECRET_ACCESS_KEY", KEY);
    post.tool(
        "claude",
        "env >&2; env; echo '{\"type\":\"assistant\",\"text\":\"between us\"}'\nhead -c 50000 /dev/zero | tr '\\0' x >&2; echo >&2\necho 'all is said' >&2; exec sleep 1000",
    );
    let supervisor = post.site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    api.mutation("commands:send", &start("c1", "claude"));
    assert_eq!(ended(&api, "c1")["state"], "completed");
    let file = post.site.home.state().join("logs/assistants.log");
    let log = until("its words are in the log", || {
        let log = std::fs::read_to_string(&file).ok()?;
        log.contains("all is said").then_some(log)
    });
    assert!(log.contains("AWS_SECRET_ACCESS_KEY=[secret]"), "{log}");
    assert!(log.contains("xxx"), "{log}");
    let longest = log.lines().map(str::len).max().unwrap_or_default();
    assert!(longest < 3_000, "a line of {longest} bytes");
    let raw = post.site.run(&["logs", "--raw"]).exits(0).stdout;
    for kept in [&log, &raw] {
        assert!(!kept.contains(KEY) && !kept.contains("between us"));
    }
    api.mutation("commands:send", &stop("c2"));
    assert_eq!(ended(&api, "c2")["state"], "completed");
    assert!(supervisor.terminate().success());
}

#[test]
fn what_keeps_an_assistant_from_starting_reaches_its_row() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let post = Post::new(&server, &api, deployment.url());
    post.tool("claude", "echo 'please log in first' >&2; exit 3");
    let goes = post.tool("gemini", "exec sleep 1000");
    let supervisor = post.site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let failed = |id: &str| {
        let row = ended(&api, id);
        assert_eq!(row["state"], "failed", "{row}");
        row["error"]["message"].as_str().unwrap().to_owned()
    };

    api.mutation("commands:send", &start("c1", "claude"));
    let message = failed("c1");
    assert!(
        message.contains("exit code 3") && message.contains("please log in first"),
        "{message}"
    );
    assert_eq!(run_of(&api)["state"], "failed");

    // Removed since the machine has reported it.
    std::fs::remove_file(goes).unwrap();
    api.mutation("commands:send", &start("c2", "gemini"));
    let message = failed("c2");
    assert!(message.contains("gemini is not installed"), "{message}");

    // A role that was reported from elsewhere on the machine.
    let report = json!({
        "token": post.site.token(0), "room": "den", "role": "builder", "agentType": "claude", "workingDirectory": "/",
    });
    api.mutation("agentConfigs:update", &report);
    api.mutation("commands:send", &start("c3", "claude"));
    let message = failed("c3");
    assert!(
        message.contains("is not below the worker's directory"),
        "{message}"
    );
    assert!(supervisor.terminate().success());
}

#[test]
fn strangers_absent_tools_and_forged_payloads_are_refused() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let post = Post::new(&server, &api, deployment.url());
    post.tool("claude", "echo . >> starts; exec sleep 1000");
    let supervisor = post.site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let refused = |api: &Api, what: &Value| {
        let reply = api.call("mutation", "commands:send", what).unwrap_err();
        reply["errorData"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };

    let token = server
        .run(["owner", "token", "--subject", "somebody"])
        .exits(0)
        .stdout;
    let stranger = Api::new(deployment.url(), token.trim());
    assert_eq!(refused(&stranger, &start("c1", "claude")), "forbidden");
    let list = stranger.call("query", "commands:list", &json!({ "machineId": "m1" }));
    assert_eq!(list.unwrap_err()["errorData"]["code"], "forbidden");

    assert_eq!(refused(&api, &start("c2", "codex")), "unavailable");
    assert_eq!(
        refused(&api, &start("c3", "claude; touch /tmp/x")),
        "unavailable"
    );
    assert_eq!(refused(&api, &start("c3", "../bin/claude")), "unavailable");
    for (field, value) in [("room", "$(touch x)"), ("role", "a`b`"), ("id", "c 4")] {
        let mut forged = start("c4", "claude");
        forged[field] = json!(value);
        assert_eq!(refused(&api, &forged), "invalid", "{field}={value}");
    }
    let mut forged = start("c5", "claude");
    forged["workingDirectory"] = json!("/");
    assert!(
        api.call("mutation", "commands:send", &forged).is_err(),
        "fields of its own"
    );
    assert_eq!(
        api.query("commands:list", &json!({ "machineId": "m1" })),
        json!([])
    );
    assert_eq!(post.written("starts"), "", "nothing was started");
    assert!(supervisor.terminate().success());
}

#[test]
fn a_command_that_a_crash_left_behind_is_ended_and_its_assistant_is_gone() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let post = Post::new(&server, &api, deployment.url());
    // It kills the supervisor before anybody can say that it has started.
    post.tool(
        "claude",
        "echo . >> starts; echo $$ > pid; kill -9 $(cat supervisor); exec sleep 1000",
    );
    let supervisor = post.site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let directory = post.site.home.dir("shop");
    std::fs::write(directory.join("supervisor"), supervisor.pid().to_string()).unwrap();
    api.mutation("commands:send", &start("c1", "claude"));
    eventually("it has begun", || !post.written("pid").is_empty());
    let pid: u32 = post.written("pid").trim().parse().unwrap();
    eventually("its warden has ended it", || !processes::is_alive(pid));
    assert_eq!(row(&api, "c1")["state"], "processing");
    drop(supervisor);

    std::fs::write(directory.join("supervisor"), "").unwrap();
    let supervisor = post.site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let left = ended(&api, "c1");
    assert_eq!(
        (&left["state"], &left["error"]["code"]),
        (&json!("failed"), &json!("crashed")),
        "{left}"
    );
    api.mutation(
        "commands:send",
        &json!({ "id": "c2", "machineId": "m1", "type": "ping" }),
    );
    assert_eq!(ended(&api, "c2")["state"], "completed");
    assert_eq!(post.written("starts"), ".\n", "it was begun again");
    assert!(supervisor.terminate().success());
}

#[test]
fn the_real_opencode_plays_a_role_and_asks_the_model_what_the_deployment_wrote() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let post = Post::new(&server, &api, deployment.url());
    let supervisor = post.site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    api.mutation("commands:send", &start("c1", "opencode"));
    let done = ended(&api, "c1");
    assert_eq!(done["state"], "completed", "{done}");
    let run = until("it has ended", || {
        let run = run_of(&api);
        (run["state"] == "ended").then_some(run)
    });
    assert_eq!(
        post.site.starts("You are the builder of the room den."),
        1,
        "{run}"
    );
    assert_eq!(run["reason"], "it ended by itself");
    assert!(supervisor.ps()["workers"][0]["roles"].is_null());
    assert!(supervisor.terminate().success());
}
