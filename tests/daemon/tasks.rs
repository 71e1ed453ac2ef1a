//! Tasks through the whole product: the queue in the deployment, the loop in the supervisor, real git with a bare remote, and
//! an assistant under the scripted model.

use std::path::{Path, PathBuf};
use std::process::Command;

use orchestrator_test_support::{Api, Stage, Supervisor, eventually, processes, script, until};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

const LOGIN: &str = "1282544961935709";
const VALIDATION: &str = "2456583589892771";

/// A supervisor's home whose directory is a repository with a bare remote.
struct Repository {
    stage: Stage,
    path: PathBuf,
}

impl Repository {
    fn new() -> Self {
        let stage = Stage::new(ORCHESTRATOR);
        let path = stage.home.dir("shop");
        let repository = Self { stage, path };
        let config = Path::new(repository.stage.home.get("HOME")).join(".gitconfig");
        let who =
            "[user]\n\tname = User\n\temail = user@example.com\n[init]\n\tdefaultBranch = main\n";
        std::fs::write(config, who).unwrap();
        repository.git(&["init", "-q"]);
        std::fs::write(repository.path.join("README.md"), "# shop\n").unwrap();
        repository.git(&["add", "-A"]);
        repository.git(&["commit", "-q", "-m", "first"]);
        repository.git(&["init", "-q", "--bare", "../remote.git"]);
        repository.git(&["remote", "add", "origin", "../remote.git"]);
        repository.git(&["push", "-q", "-u", "origin", "main"]);
        repository
    }

    /// Tasks are done by the real Goose.
    fn with_goose() -> Self {
        let mut repository = Self::new();
        let goose = orchestrator_test_support::goose().display().to_string();
        repository.stage.home.set("ORCHESTRATOR_GOOSE_BIN", goose);
        repository
    }

    #[track_caller]
    fn git(&self, args: &[&str]) -> String {
        let mut git: Command = self.stage.home.foreign("git");
        let ran = self
            .stage
            .home
            .finish(std::mem::replace(git.args(args), Command::new("true")), "")
            .exits(0);
        ran.stdout.trim().to_owned()
    }

    fn branches(&self) -> Vec<String> {
        let listed = self.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
        listed.lines().map(str::to_owned).collect()
    }

    fn remote_branches(&self) -> Vec<String> {
        let listed = self.git(&["ls-remote", "--heads", "origin"]);
        let names = listed.lines().filter_map(|line| line.rsplit('/').next());
        names.map(str::to_owned).collect()
    }

    fn on(&self) -> String {
        self.git(&["symbolic-ref", "--short", "HEAD"])
    }

    fn is_clean(&self) -> bool {
        self.git(&["status", "--porcelain"]).is_empty()
    }

    /// What is on the branches from the first task's on: nothing half made, nothing twice.
    #[track_caller]
    fn is_whole(&self) {
        assert!(self.is_clean(), "{}", self.git(&["status"]));
        assert!(!self.path.join(".git/index.lock").exists());
    }
}

fn worker_of(supervisor: &Supervisor<'_>) -> String {
    let ps = supervisor.ps();
    ps["workers"][0]["id"].as_str().unwrap().to_owned()
}

fn add(api: &Api, worker: &str, tasks: &[(&str, &str)]) {
    let tasks: Vec<Value> = tasks
        .iter()
        .map(|(id, text)| json!({ "id": id, "text": text }))
        .collect();
    api.mutation("tasks:add", &json!({ "workerId": worker, "tasks": tasks }));
}

fn task(api: &Api, id: &str) -> Value {
    api.query("tasks:get", &json!({ "taskId": id }))["task"].clone()
}

#[track_caller]
fn until_state(api: &Api, id: &str, state: &str) -> Value {
    until(&format!("task {id} is {state}"), || {
        let task = task(api, id);
        (task["state"] == state).then_some(task)
    })
}

/// The task queue as `ps --json` shows it.
fn queue(supervisor: &Supervisor<'_>) -> Value {
    supervisor.ps()["workers"][0]["tasks"].clone()
}

#[track_caller]
fn until_queue(supervisor: &Supervisor<'_>, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    until(&format!("a task queue that {what}"), || {
        let queue = queue(supervisor);
        holds(&queue).then_some(queue)
    })
}

/// A task whose assistant writes a file, then is at work for as long as the test wants.
fn slow_task(file: &str) -> String {
    script(&json!([
        [{ "tool": "write", "args": { "filePath": file, "content": "written\n" } }],
        [{ "text": "slow" }, { "hang": true }],
    ]))
}

fn demo(repository: &Repository) {
    let supervisor = repository.stage.run();
    let api = repository.stage.api(&supervisor);
    let worker = worker_of(&supervisor);
    assert_eq!(queue(&supervisor), Value::Null, "no task, no queue");
    add(
        &api,
        &worker,
        &[("t1", "implement login"), ("t2", "add validation")],
    );
    let first = until_state(&api, "t1", "done");
    let second = until_state(&api, "t2", "done");
    assert_eq!(first["artifact"]["branch"], LOGIN);
    assert_eq!(second["artifact"]["branch"], VALIDATION);
    assert_eq!(second["artifact"]["previous"], LOGIN);
    assert_eq!(first["artifact"]["pushed"], true);
    assert_eq!(repository.branches(), [LOGIN, VALIDATION, "main"]);
    assert_eq!(repository.remote_branches(), [LOGIN, VALIDATION, "main"]);
    repository.git(&["merge-base", "--is-ancestor", LOGIN, VALIDATION]);
    assert_eq!(repository.on(), VALIDATION);
    repository.is_whole();
    let report: Value = serde_json::from_str(first["report"].as_str().unwrap()).unwrap();
    assert_eq!(report["outcome"], "done");
    assert_eq!(report["attempt"], 1);
    assert!(report["runMs"].as_u64().unwrap() > 0, "{report}");
    assert!(
        report["run"]["inputTokens"].as_u64().unwrap() > 0,
        "{report}"
    );
    until_queue(&supervisor, "is gone", Value::is_null);
    let metrics = repository.stage.home.run(["ps", "--metrics"]).exits(0);
    assert!(
        metrics
            .stdout
            .contains("orchestrator_tasks_total{outcome=\"done\"} 2"),
        "{}",
        metrics.stdout
    );
    assert!(supervisor.terminate().success());
}

#[test]
fn the_demo_does_two_tasks_with_the_real_goose() {
    demo(&Repository::with_goose());
}

#[test]
fn without_goose_the_demo_does_its_tasks_with_opencode() {
    demo(&Repository::new());
}
