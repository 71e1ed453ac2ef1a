//! Tasks through the whole product: the queue in the deployment, the loop in the supervisor, real git with a bare remote, and
//! an assistant under the scripted model.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use orchestrator_test_support::{Api, Home, Stage, Supervisor, eventually, script, text_of, until};
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
        let mut stage = Stage::new(ORCHESTRATOR);
        // None of these tests is about a slow machine.
        stage.home.set("ORCHESTRATOR_BOOT_TIMEOUT", "80s");
        stage.home.set("ORCHESTRATOR_SHUTDOWN_TIMEOUT", "80s");
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
        git(&self.stage.home, &self.path, args)
    }

    /// From now on the supervisors' git waits before a step for as long as the test wants.
    fn with_slow_git(mut self) -> Self {
        let folder = self.stage.home.path().join("bin");
        std::fs::create_dir_all(&folder).unwrap();
        let holds = self.stage.home.path().join("hold");
        std::fs::create_dir_all(&holds).unwrap();
        let text = format!(
            "#!/bin/sh\nfor word in \"$@\"; do\n  case \"$word\" in status|switch|add|push|reset)\n    while test -e '{holds}'/\"$word\"; do sleep 0.05; done; break;;\n  esac\ndone\nexec {git} \"$@\"\n",
            holds = holds.display(),
            git = real_git().display(),
        );
        let program = folder.join("git");
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = self.stage.home.get("PATH").to_owned();
        let path = format!("{}:{path}", folder.display());
        self.stage.home.set("PATH", path);
        self
    }

    fn hold(&self, step: &str) -> PathBuf {
        let path = self.stage.home.path().join("hold").join(step);
        std::fs::write(&path, "").unwrap();
        path
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

    /// Nothing is half made.
    #[track_caller]
    fn is_whole(&self) {
        assert!(self.is_clean(), "{}", self.git(&["status"]));
        assert!(!self.path.join(".git/index.lock").exists());
        assert!(self.path.join(".git/HEAD").exists());
    }
}

/// Past whatever the test has put before it on the PATH.
fn real_git() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("git"));
    found.find(|git| git.is_file()).expect("git is installed")
}

#[track_caller]
fn git(home: &Home, directory: &Path, args: &[&str]) -> String {
    let mut git: Command = home.foreign(real_git());
    git.args(args).current_dir(directory);
    home.finish(git, "").exits(0).stdout.trim().to_owned()
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

/// A task whose assistant stays at work at its first run until it is ended, and does it at the next.
fn slow_once(name: &str) -> String {
    let command = format!(
        "echo half > {name}.txt; test -e ../{name} || {{ touch ../{name}; sleep 4714; }}; echo done > {name}.txt"
    );
    by_shell(&command)
}

/// A task whose assistant stays at work until the test lets it go on.
fn held(name: &str) -> String {
    let command = format!(
        "touch ../{name}; while test -e ../{name}; do sleep 0.1; done; echo done > {name}.txt"
    );
    by_shell(&command)
}

/// A task that Goose does with its shell.
fn by_shell(command: &str) -> String {
    script(&json!([
        [{ "tool": "shell", "args": { "command": command } }],
        [{ "text": "it is done" }],
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
    let metrics = repository.stage.home.run(["status", "--metrics"]).exits(0);
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

/// Whatever the phase in which the supervisor is killed: the task is done once, on one branch, and the next one goes on from it.
#[test]
fn a_supervisor_that_is_killed_in_any_phase_of_a_task_leaves_a_task_that_is_done_once() {
    let repository = Repository::with_goose().with_slow_git();
    for (number, (step, phase)) in [
        ("status", "pulled"),
        ("switch", "branching"),
        ("", "running"),
        ("add", "committing"),
        ("push", "pushing"),
    ]
    .into_iter()
    .enumerate()
    {
        let supervisor = repository.stage.run();
        let api = repository.stage.api(&supervisor);
        let id = format!("t{number}");
        let before = repository.on();
        let branches = repository.branches().len();
        let text = if step.is_empty() {
            slow_once(phase)
        } else {
            format!("create a {phase}.txt file")
        };
        let hold = (!step.is_empty()).then(|| repository.hold(step));
        add(&api, &worker_of(&supervisor), &[(&id, &text)]);
        until_queue(&supervisor, phase, |queue| queue["task"]["step"] == phase);
        if step.is_empty() {
            eventually("it is at work", || {
                repository.path.join(format!("{phase}.txt")).exists()
            });
        }
        supervisor.kill();
        eventually("nothing of it is left", || {
            repository.stage.home.processes().is_empty()
        });
        if let Some(hold) = hold {
            std::fs::remove_file(hold).unwrap();
        }
        let supervisor = repository.stage.run();
        let api = repository.stage.api(&supervisor);
        let done = until_state(&api, &id, "done");
        assert_eq!(done["attempt"], 1.0, "{phase}: {done}");
        assert_eq!(done["artifact"]["previous"], before, "{phase}: {done}");
        assert_eq!(done["artifact"]["pushed"], true, "{phase}: {done}");
        let branch = done["artifact"]["branch"].as_str().unwrap();
        assert_eq!(repository.on(), branch, "{phase}");
        assert_eq!(repository.branches().len(), branches + 1, "{phase}");
        assert_eq!(
            repository.remote_branches(),
            repository.branches(),
            "{phase}"
        );
        let commits = repository.git(&["rev-list", "--count", &format!("{before}..{branch}")]);
        assert_eq!(commits, "1", "{phase}");
        repository.is_whole();
        until_queue(&supervisor, "is gone", Value::is_null);
        assert!(supervisor.terminate().success());
    }
}

#[test]
fn a_supervisor_that_is_killed_while_an_attempt_is_undone_undoes_it_and_the_task_is_tried_again() {
    let repository = Repository::with_goose().with_slow_git();
    let supervisor = repository.stage.run();
    let api = repository.stage.api(&supervisor);
    let hold = repository.hold("reset");
    // The first run fails and leaves something; the next one does it.
    let text = script(&json!([
        [{ "tool": "shell", "args": { "command": "test -e ../first && echo done > a.txt || { touch ../first; echo half > b.txt; }" } }],
        [{ "status": 500, "times": 40 }, { "text": "it is done" }],
    ]));
    add(&api, &worker_of(&supervisor), &[("t1", &text)]);
    until_queue(&supervisor, "cleans up", |queue| {
        queue["task"]["step"] == "cleaning up"
    });
    supervisor.kill();
    eventually("nothing of it is left", || {
        repository.stage.home.processes().is_empty()
    });
    assert!(repository.path.join("b.txt").exists());
    std::fs::remove_file(hold).unwrap();
    let supervisor = repository.stage.run();
    let api = repository.stage.api(&supervisor);
    let ended = until("the task ends", || {
        let task = task(&api, "t1");
        ["done", "failed"]
            .contains(&task["state"].as_str().unwrap())
            .then_some(task)
    });
    assert!(ended["attempt"].as_f64() >= Some(2.0), "{ended}");
    assert!(!repository.path.join("b.txt").exists());
    repository.is_whole();
    assert!(supervisor.terminate().success());
}

#[test]
fn a_task_waits_for_a_chats_turn_and_a_chat_for_a_task_and_ps_says_so() {
    let repository = Repository::with_goose();
    let supervisor = repository.stage.run();
    let api = repository.stage.api(&supervisor);
    let worker = worker_of(&supervisor);
    let to = json!({ "workerId": worker });
    let long = crate::stage::long_answer(60);
    let (session, turn) = api.send("m1", &to, &long);
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    add(&api, &worker, &[("t1", &held("held"))]);
    let waits = until_queue(&supervisor, "waits", |queue| queue["phase"] == "waiting");
    let wanted = format!("waits for the turn of session/{session}");
    assert_eq!(waits["detail"], wanted.as_str());
    assert!(
        repository
            .stage
            .home
            .run(["ps"])
            .exits(0)
            .stdout
            .contains("waiting")
    );
    assert_eq!(repository.on(), "main");
    api.mutation("messages:abort", &json!({ "turnId": turn }));
    api.closed(&session, &turn);
    // Its child has no turn any more, so it leaves the directory to the task.
    let held = repository.path.join("../held");
    eventually("the task runs", || held.exists());
    let ran = until_queue(&supervisor, "runs", |queue| {
        queue["task"]["step"] == "running"
    });
    assert_eq!(ran["task"]["attempt"], 1);
    assert!(ran["task"]["title"].as_str().unwrap().starts_with("SCRIPT"));
    let chat = supervisor.session("is there", |one| one["id"] == session.as_str());
    assert_eq!(chat["agent_pid"], Value::Null, "{chat}");
    let (_, next) = api.send("m2", &json!({ "sessionId": session }), "and now");
    let waiting = supervisor.session("waits", |one| {
        one["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("a task works in this directory"))
    });
    assert_eq!(waiting["id"], session.as_str());
    let waits = api.turn(&session, &next);
    assert!(
        waits["state"] == "queued" || waits["state"] == "claimed",
        "{waits}"
    );
    std::fs::remove_file(held).unwrap();
    until_state(&api, "t1", "done");
    let row = api.closed(&session, &next);
    assert_eq!(row["state"], "complete", "{row}");
    assert!(text_of(&row).contains("and now"), "{row}");
    repository.is_whole();
    assert!(supervisor.terminate().success());
}

#[test]
fn a_task_queue_that_panics_is_replaced_and_its_task_is_done_once() {
    let repository = Repository::with_goose();
    let supervisor = repository.stage.run();
    let api = repository.stage.api(&supervisor);
    let worker = worker_of(&supervisor);
    add(&api, &worker, &[("t1", &slow_once("slow"))]);
    eventually("it is at work", || {
        repository.path.join("slow.txt").exists()
    });
    let key = format!("task/{worker}");
    assert_eq!(queue(&supervisor)["key"], key.as_str());
    repository.stage.home.run(["debug", "panic", &key]).exits(0);
    let done = until_state(&api, "t1", "done");
    assert_eq!(done["attempt"], 1.0, "{done}");
    assert_eq!(repository.branches().len(), 2);
    assert_eq!(repository.remote_branches(), repository.branches());
    repository.is_whole();
    let metrics = repository.stage.home.run(["status", "--metrics"]).exits(0);
    let crashes = "orchestrator_actor_crashes_total{kind=\"task\"} 1";
    assert!(metrics.stdout.contains(crashes), "{}", metrics.stdout);
    assert!(supervisor.terminate().success());
}

#[test]
fn a_stop_in_the_middle_of_a_task_leaves_the_repository_as_it_was_and_the_next_start_does_it() {
    let repository = Repository::with_goose();
    let supervisor = repository.stage.run();
    let api = repository.stage.api(&supervisor);
    add(&api, &worker_of(&supervisor), &[("t1", &slow_once("slow"))]);
    eventually("it is at work", || {
        repository.path.join("slow.txt").exists()
    });
    assert!(supervisor.terminate().success());
    assert_eq!(repository.stage.home.processes(), []);
    assert_eq!(repository.branches(), ["main"]);
    assert!(!repository.path.join("slow.txt").exists());
    repository.is_whole();
    let supervisor = repository.stage.run();
    let api = repository.stage.api(&supervisor);
    let done = until_state(&api, "t1", "done");
    assert_eq!(done["attempt"], 1.0, "{done}");
    assert!(supervisor.terminate().success());
}

#[test]
fn what_a_person_has_not_committed_stops_the_tasks_and_uses_none_up() {
    let repository = Repository::with_goose();
    std::fs::write(repository.path.join("README.md"), "# my work\n").unwrap();
    let supervisor = repository.stage.run();
    let api = repository.stage.api(&supervisor);
    let worker = worker_of(&supervisor);
    add(&api, &worker, &[("t1", "implement login")]);
    let blocked = until_queue(&supervisor, "is blocked", |queue| {
        queue["phase"] == "blocked"
    });
    let detail = blocked["detail"].as_str().unwrap();
    assert!(
        detail.contains("uncommitted changes (README.md)"),
        "{detail}"
    );
    let shown = repository.stage.home.run(["ps"]).exits(0).stdout;
    assert!(shown.contains("uncommitted changes"), "{shown}");
    let waits = task(&api, "t1");
    assert_eq!(
        (&waits["state"], &waits["attempt"]),
        (&json!("queued"), &json!(0.0))
    );
    let report: Value = serde_json::from_str(waits["report"].as_str().unwrap()).unwrap();
    assert_eq!(report["outcome"], "returned");
    assert!(
        report["why"].as_str().unwrap().contains("README.md"),
        "{report}"
    );
    assert_eq!(
        std::fs::read_to_string(repository.path.join("README.md")).unwrap(),
        "# my work\n"
    );
    repository.git(&["commit", "-q", "-am", "mine"]);
    repository.git(&["push", "-q"]);
    repository
        .stage
        .home
        .run(["restart", &format!("task/{worker}")])
        .exits(0);
    until_state(&api, "t1", "done");
    assert!(supervisor.terminate().success());
}

/// Tasks in work trees of their own, beside a chat in the directory; and settings that a reload changes.
#[test]
fn work_whose_remote_is_away_waits_for_it_and_its_owner_can_call_it_off() {
    let repository = Repository::with_goose();
    let remote = repository.path.join("../remote.git");
    let away = repository.path.join("../away.git");
    std::fs::rename(&remote, &away).unwrap();
    let supervisor = repository.stage.run();
    let api = repository.stage.api(&supervisor);
    let worker = worker_of(&supervisor);
    add(&api, &worker, &[("t1", "implement login")]);
    let cannot = "the remote cannot be reached";
    until_queue(&supervisor, "is blocked", |queue| {
        queue["phase"] == "blocked" && queue["detail"].as_str().unwrap().contains(cannot)
    });
    for command in [["task", "list"], ["task", "show"]] {
        let mut args = command.to_vec();
        if command[1] == "show" {
            args.push("t1");
        }
        let told = repository.stage.home.run(&args).exits(0);
        assert!(
            format!("{}{}", told.stdout, told.stderr).contains(cannot),
            "{told:?}"
        );
    }
    assert_eq!(task(&api, "t1")["state"], "running");
    assert_eq!(repository.on(), LOGIN);
    // The remote comes back: the same work is pushed, nobody is asked again.
    std::fs::rename(&away, &remote).unwrap();
    repository.stage.home.run(["restart", "task/shop"]).exits(0);
    let done = until_state(&api, "t1", "done");
    assert_eq!(done["attempt"], 1.0, "{done}");
    assert!(repository.remote_branches().contains(&LOGIN.to_owned()));
    // Away again, for good; whoever calls the task off need not wait for it.
    std::fs::rename(&remote, &away).unwrap();
    add(&api, &worker, &[("t2", "add validation")]);
    until_queue(&supervisor, "is blocked", |queue| {
        queue["phase"] == "blocked"
    });
    repository.stage.home.run(["task", "cancel", "t2"]).exits(0);
    let ended = until_state(&api, "t2", "canceled");
    let why = ended["failure"]["message"]
        .as_str()
        .unwrap_or_else(|| panic!("{ended}"));
    assert!(why.contains("left/") && why.contains(cannot), "{why}");
    assert_eq!(repository.on(), LOGIN);
    repository.is_whole();
    assert!(supervisor.terminate().success());
}

#[test]
fn a_worker_of_a_file_does_tasks_as_its_settings_say_and_a_reload_changes_them() {
    let server = Home::new(ORCHESTRATOR);
    let deployment = server.deployment();
    let api = deployment.api();
    let site = crate::stage::Site::new(&server);
    site.approved(&api, deployment.url(), "w1");
    let path = site.home.dir("w1");
    let config = Path::new(site.home.get("HOME")).join(".gitconfig");
    std::fs::write(
        config,
        "[user]\n\tname = User\n\temail = user@example.com\n",
    )
    .unwrap();
    let git = |args: &[&str]| git(&site.home, &path, args);
    git(&["init", "-q", "-b", "main"]);
    git(&["commit", "-q", "--allow-empty", "-m", "first"]);
    site.set(0, "task_runner", json!("goose"));
    let settings = json!({
        "branch_prefix": "task-", "isolation": "worktree", "push": false,
        "user": { "name": "Task Bot", "email": "bot@example.com" },
    });
    site.set(0, "git", settings);
    site.write();
    let supervisor = site.home.supervisor(["run", "--demo", "--no-input"]);
    supervisor.workers_are("ready");
    let to = json!({ "workerId": "w1" });
    let (session, turn) = api.send("m1", &to, &crate::stage::long_answer(120));
    eventually("it streams", || api.streamed(&turn).contains("begins"));
    add(&api, "w1", &[("t1", "implement login")]);
    // Goose is meant, and it is not there: the task is kept for it.
    let blocked = until_queue(&supervisor, "is blocked", |queue| {
        queue["phase"] == "blocked"
    });
    let detail = blocked["detail"].as_str().unwrap();
    assert!(detail.contains("goose is not installed here"), "{detail}");
    assert_eq!(task(&api, "t1")["state"], "queued");
    site.set(0, "task_runner", json!("opencode"));
    site.write();
    let told = site.run(&["reload", "--dry-run"]).exits(0).stdout;
    assert!(
        told.contains("task_runner goose -> opencode (live)"),
        "{told}"
    );
    site.run(&["reload"]).exits(0);
    let done = until_state(&api, "t1", "done");
    assert_eq!(done["artifact"]["branch"], format!("task-{LOGIN}").as_str());
    assert_eq!(done["artifact"]["pushed"], false);
    assert_eq!(
        git(&["symbolic-ref", "--short", "HEAD"]),
        "main",
        "the directory is the chat's"
    );
    let author = git(&["log", "-1", "--format=%an <%ae>", &format!("task-{LOGIN}")]);
    assert_eq!(author, "Task Bot <bot@example.com>");
    assert_eq!(
        api.turn(&session, &turn)["state"],
        "claimed",
        "the chat has gone on"
    );
    assert!(supervisor.terminate().success());
}
