//! Tasks from their owner's side: the commands against a real deployment, where the test itself stands for the worker's
//! supervisor: it pulls over the API, works with git, and acknowledges.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use orchestrator_test_support::{Api, Home, Ran, eventually, until};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

/// A home with one worker, `shop`, in a git repository, on the deployment of another home.
struct Office {
    home: Home,
    machine: String,
    token: String,
    epoch: Value,
}

impl Office {
    fn new(server: &Home, api: &Api, url: &str) -> Self {
        let mut home = Home::bare(ORCHESTRATOR);
        let key =
            Path::new(server.get("XDG_DATA_HOME")).join("opencode-orchestrator/local/owner.key");
        home.set("ORCHESTRATOR_OWNER_KEY", key.display().to_string());
        home.set("ORCHESTRATOR_URL", url);
        home.run(["machine", "register"]).exits(0);
        let machine = home.run(["machine", "show", "--json"]).exits(0).json();
        let machine = machine["machineId"].as_str().unwrap().to_owned();
        let mut office = Self {
            home,
            machine,
            token: String::new(),
            epoch: Value::Null,
        };
        (office.token, office.epoch) = office.worker(api, url, "shop");
        office.git(&["init", "-q", "-b", "main"]);
        office.git(&["config", "user.name", "me"]);
        office.git(&["config", "user.email", "me@example.com"]);
        office.write("README.md", "# shop\n");
        office.git(&["add", "-A"]);
        office.git(&["commit", "-q", "-m", "first"]);
        office
    }

    /// An approved worker with a supervisor that has connected; its entry is in `workers.json`.
    fn worker(&self, api: &Api, url: &str, name: &str) -> (String, Value) {
        let directory = self.home.dir(name);
        let args = json!({ "workerId": name, "machineId": self.machine, "name": name, "directory": directory });
        let token = api.mutation("workers:create", &args)["token"]
            .as_str()
            .unwrap()
            .to_owned();
        api.mutation("workers:approve", &json!({ "workerId": name }));
        let connected = api.mutation("workers:connect", &json!({
            "token": token, "installId": "test", "startId": name, "bootId": "boot", "storeId": "store", "takeOver": false,
            "machine": { "hostname": "h", "os": "linux", "tools": [] },
        }));
        let entry = json!({ "token": token, "working_directory": directory, "convex_url": url });
        let mut workers: Vec<Value> = std::fs::read_to_string(self.home.config_file())
            .ok()
            .and_then(|text| serde_json::from_str::<Value>(&text).ok())
            .and_then(|config| config["workers"].as_array().cloned())
            .unwrap_or_default();
        workers.push(entry);
        self.home.write_config(&json!({ "workers": workers }));
        (token, connected["epoch"].clone())
    }

    fn shop(&self) -> PathBuf {
        self.home.dir("shop")
    }

    fn git(&self, args: &[&str]) -> String {
        let mut command = self.home.foreign("git");
        command.args(args).current_dir(self.shop());
        let ran = self.home.finish(command, "").exits(0);
        ran.stdout.trim().to_owned()
    }

    fn write(&self, file: &str, content: &str) {
        std::fs::write(self.shop().join(file), content).unwrap();
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.home.run(args)
    }

    fn pull(&self, api: &Api, lease: &str) -> Value {
        api.mutation(
            "tasks:pull",
            &json!({ "token": self.token, "epoch": self.epoch, "leaseId": lease }),
        )
    }

    fn acknowledge(&self, api: &Api, task: &Value, result: Value, report: &Value) {
        let answer = api.mutation("tasks:acknowledge", &json!({
            "token": self.token, "epoch": self.epoch, "taskId": task["taskId"], "leaseId": task["leaseId"],
            "result": result, "report": report.to_string(),
        }));
        assert_eq!(answer["status"], "ok", "{answer}");
    }

    /// Does what a supervisor does with the next task: a branch from the one before, one file, a commit.
    fn do_one(&self, api: &Api, branch: &str, file: &str) -> String {
        let task = self.pull(api, &format!("lease-of-{branch}"));
        assert_eq!(task["status"], "task", "{task}");
        let previous = self.git(&["branch", "--show-current"]);
        let base = self.git(&["rev-parse", "HEAD"]);
        self.git(&["switch", "-q", "-c", branch]);
        self.write(file, "one\ntwo\n");
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "by a task"]);
        let commit = self.git(&["rev-parse", "HEAD"]);
        let artifact = json!({ "branch": branch, "previous": previous, "base": base, "commit": commit, "pushed": false });
        let report = json!({ "checkMs": 12, "runMs": 90_000, "run": {
            "summary": "It is there.", "turns": 3, "inputTokens": 4_100, "outputTokens": 810, "tries": 1,
        }});
        self.acknowledge(
            api,
            &task,
            json!({ "status": "done", "artifact": artifact }),
            &report,
        );
        commit
    }

    fn fail_one(&self, api: &Api, retry: bool) {
        let task = self.pull(api, &uuid());
        let failure = json!({ "class": "no_changes", "message": "nothing has changed" });
        let result = json!({ "status": "failed", "failure": failure, "retry": retry });
        self.acknowledge(api, &task, result, &json!({}));
    }

    fn rows(&self) -> Vec<Value> {
        let list = self.run(&["task", "list", "--json"]).exits(0).json();
        list["tasks"].as_array().unwrap().clone()
    }

    fn start(&self, args: &[&str]) -> Waiting {
        let mut command = self.home.command(args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Waiting(Some(command.process_group(0).spawn().unwrap()))
    }
}

/// A lease's id that no other test run uses.
fn uuid() -> String {
    format!("lease-{:?}", std::time::Instant::now())
        .replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// A command that waits; killed when a test ends before it.
struct Waiting(Option<Child>);

impl Waiting {
    fn output(mut self) -> (Option<i32>, String, String) {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn kill(&mut self) {
        let child = self.0.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

macro_rules! office {
    ($server:ident, $deployment:ident, $api:ident, $office:ident) => {
        let $server = Home::bare(ORCHESTRATOR);
        let $deployment = $server.deployment();
        let $api = $deployment.api();
        let $office = Office::new(&$server, &$api, $deployment.url());
    };
}

#[test]
fn tasks_are_added_done_failed_retried_and_told_about_after_the_weekend() {
    office!(server, deployment, api, office);
    let added = office
        .run(&[
            "task",
            "add",
            "implement login",
            "add validation",
            "--max-retries",
            "0",
        ])
        .exits(0);
    let ids: Vec<&str> = added.stdout.lines().collect();
    assert_eq!(ids.len(), 2, "{}", added.stdout);
    assert!(
        added.stderr.contains("2 tasks in the queue of shop"),
        "{}",
        added.stderr
    );

    let commit = office.do_one(&api, "1282544961935709", "login.rs");
    let running = office.pull(&api, "l2");
    assert_eq!(running["text"], "add validation");
    let list = office.run(&["task", "list"]).exits(0).stdout;
    let lines: Vec<&str> = list.lines().collect();
    assert!(
        lines[0].starts_with("1  done      1282544961935709  implement login  "),
        "{list}"
    );
    assert_eq!(
        lines[1],
        "2  running   2456583589892771  add validation  try 1/1"
    );
    let failure = json!({ "class": "server", "message": "the provider answered 500" });
    let failed = json!({ "status": "failed", "failure": failure, "retry": true });
    office.acknowledge(&api, &running, failed, &json!({ "runMs": 5 }));

    let shown = office.run(&["task", "show", "1"]).exits(0).stdout;
    for part in [
        &format!("task 1    {}", ids[0]) as &str,
        "worker    shop",
        "state     done, try 1/1",
        "  implement login",
        "branch    1282544961935709 from main (not pushed: the repository has no remote)",
        &format!("commit    {commit}"),
        "changes   1 file, +2 -0",
        "+2 -0 login.rs",
        "took      check 12 ms, assistant 1m30s",
        "assistant 3 turns, 4.1k tokens in, 810 out",
        "  It is there.",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let shown = office.run(&["task", "show", &ids[1][..30]]).exits(0).stdout;
    assert!(
        shown.contains("failure   server: the provider answered 500"),
        "{shown}"
    );
    let shown = office.run(&["task", "show", "1", "--json"]).exits(0).json();
    assert_eq!(shown["diff"]["files"][0]["path"], "login.rs", "{shown}");
    assert_eq!(shown["figures"]["run"]["turns"], 3);

    let report = office.run(&["task", "list", "--report"]).exits(0).stdout;
    for part in [
        "# Tasks of shop\n\n2 tasks: 1 done, 1 failed.\n",
        "## 1. implement login (done)\n\n- branch: `1282544961935709` from `main`, not pushed\n",
        "- changes: 1 file, +2 -0\n",
        "- assistant: 3 turns, 4.1k tokens in, 810 out\n",
        "## 2. add validation (failed)\n",
        "- reason: server: the provider answered 500\n",
    ] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }

    let verified = office.run(&["task", "verify-chain"]).exits(0);
    assert_eq!(verified.stdout, "ok        1282544961935709 <- main\n");
    let said = office.run(&["task", "retry", "2"]).exits(0).stderr;
    assert!(said.contains("waits in its place"), "{said}");
    office.do_one(&api, "2456583589892771", "check.rs");
    let verified = office
        .run(&["task", "verify-chain", "--json"])
        .exits(0)
        .json();
    assert_eq!(verified["chains"], true, "{verified}");
    assert_eq!(verified["relationships"][1]["from"], "1282544961935709");
    let again = office.run(&["task", "retry", "1"]).exits(2).stderr;
    assert!(again.contains("is done"), "{again}");
    // Somebody has rewritten what was there.
    office.git(&["branch", "-f", "1282544961935709", "main"]);
    let broken = office.run(&["task", "verify-chain"]).exits(1);
    assert!(
        broken.stdout.contains("diverged  1282544961935709 <- main"),
        "{}",
        broken.stdout
    );
    drop(deployment);
    drop(server);
}

#[test]
fn what_is_sent_again_is_added_once_and_the_same_text_is_warned_of() {
    office!(server, deployment, api, office);
    let list = "\u{feff}implement login\r\n\r\nadd validation\r\n";
    let add = |input: &str, more: &[&str]| {
        let args = [&["task", "add", "--from", "-", "--id", "night"], more].concat();
        office.home.run_with_input(args, input)
    };
    assert_eq!(add(list, &[]).exits(0).stdout, "night-1\nnight-2\n");
    assert_eq!(add(list, &[]).exits(0).stdout, "night-1\nnight-2\n");
    assert_eq!(office.rows().len(), 2);
    let other = add("something else\n", &[]).exits(2).stderr;
    assert!(
        other.contains("task night-1 exists with another text"),
        "{other}"
    );

    let blocks = "first line\nsecond line\n\nanother\n";
    let file = office.home.dir("lists").join("tasks.txt");
    std::fs::write(&file, blocks).unwrap();
    let added = office
        .run(&[
            "task",
            "add",
            "--from",
            file.to_str().unwrap(),
            "--blocks",
            "--json",
        ])
        .exits(0)
        .json();
    assert_eq!(added["taskIds"].as_array().unwrap().len(), 2, "{added}");
    let shown = office.run(&["task", "show", "3", "--json"]).exits(0).json();
    assert_eq!(shown["text"], "first line\nsecond line");
    assert_eq!(shown["task"]["title"], "first line");

    office.do_one(&api, "1282544961935709", "login.rs");
    let twice = office
        .run(&["task", "add", "implement login"])
        .exits(0)
        .stderr;
    assert!(twice.contains("was done before (task 1)"), "{twice}");
}

#[test]
fn a_queue_is_waited_for_until_it_is_worked_off() {
    office!(server, deployment, api, office);
    let nothing = office.run(&["task", "run"]).exits(0).stderr;
    assert!(
        nothing.contains("nothing waits in the queue of shop"),
        "{nothing}"
    );
    office
        .run(&["task", "add", "implement login", "add validation"])
        .exits(0);
    let late = office
        .run(&["task", "run", "--timeout", "1s"])
        .exits(124)
        .stderr;
    assert!(
        late.contains("2 tasks not over within 1.0 s; they go on"),
        "{late}"
    );

    let waiting = office.start(&["task", "run"]);
    office.do_one(&api, "1282544961935709", "login.rs");
    office.run(&["task", "add", "write tests"]).exits(0);
    office.do_one(&api, "2456583589892771", "check.rs");
    office.do_one(&api, "531566247443740", "tests.rs");
    let (code, stdout, stderr) = waiting.output();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stderr.contains("worked off:"), "{stderr}");
    // It may have begun when the first was done already.
    assert!(
        stdout
            .lines()
            .any(|line| line.starts_with("3  done      531566247443740")),
        "{stdout}"
    );

    office
        .run(&["task", "add", "fix it", "--max-retries", "1"])
        .exits(0);
    let waiting = office.start(&["task", "run", "--json"]);
    office.fail_one(&api, true);
    office.fail_one(&api, true);
    let (code, stdout, _) = waiting.output();
    // When it began after the end there was nothing to wait for; what it has seen, it tells.
    let told: Value = serde_json::from_str(&stdout).unwrap();
    let seen = told["failed"] == 1;
    assert_eq!(code, Some(i32::from(seen)), "{told}");
    assert_eq!(office.rows().last().unwrap()["state"], "failed");
}

#[test]
fn a_failure_is_the_exit_code_of_whoever_waits() {
    office!(server, deployment, api, office);
    office
        .run(&["task", "add", "fix it", "then that", "--max-retries", "0"])
        .exits(0);
    let task = office.pull(&api, "l1");
    let mut waiting = office.start(&["task", "run"]);
    // It has begun to wait when it says that nobody serves the worker or what runs.
    let said = first_line(&mut waiting);
    assert!(said.contains("1 fix it: try 1/1"), "{said}");
    let failure = json!({ "class": "auth", "message": "401" });
    let failed = json!({ "status": "failed", "failure": failure, "retry": false });
    office.acknowledge(&api, &task, failed, &json!({}));
    office.run(&["task", "cancel", "2"]).exits(0);
    let (code, stdout, stderr) = waiting.output();
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(
        stdout.starts_with("1  failed    ") && stdout.contains("fix it  auth"),
        "{stdout}"
    );
    assert!(
        stderr.contains("hint: why: orchestrator task show 1"),
        "{stderr}"
    );
}

/// The first line that a waiting command says on stderr; the rest stays to be read.
fn first_line(waiting: &mut Waiting) -> String {
    use std::io::Read;
    let stderr = waiting.0.as_mut().unwrap().stderr.as_mut().unwrap();
    let mut line = Vec::new();
    let mut byte = [0];
    while stderr.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

#[test]
fn tasks_are_called_off_and_forgotten() {
    office!(server, deployment, api, office);
    office.run(&["task", "add", "one", "two", "three"]).exits(0);
    let running = office.pull(&api, "l1");
    let said = office.run(&["task", "cancel", "1", "2"]).exits(0).stderr;
    assert!(
        said.contains("is told to stop") && said.contains("is called off"),
        "{said}"
    );
    assert!(office.pull(&api, "l1")["canceled"] == true);
    let refused = office.run(&["task", "drop", "1"]).exits(2).stderr;
    assert!(refused.contains("is running: cancel it first"), "{refused}");
    let failure = json!({ "class": "aborted", "message": "called off" });
    let failed = json!({ "status": "failed", "failure": failure, "retry": false });
    office.acknowledge(&api, &running, failed, &json!({}));
    office.run(&["task", "drop", "1", "2"]).exits(0);
    let list = office.run(&["task", "list"]).exits(0).stdout;
    assert_eq!(list.lines().count(), 1, "{list}");
    assert!(list.starts_with("3  queued "), "{list}");
    let gone = office.run(&["task", "show", "1"]).exits(2).stderr;
    assert!(
        gone.contains("there is no task 1 in the queue of shop"),
        "{gone}"
    );
}

#[test]
fn bad_tasks_and_unknown_names_are_refused_with_what_to_do() {
    office!(server, deployment, api, office);
    let usage = |args: &[&str]| office.run(args).exits(2).stderr;
    assert!(usage(&["task", "add"]).contains("no task is given"));
    assert!(usage(&["task", "add", "fine", " \n "]).contains("task 2"));
    assert!(usage(&["task", "add", "-"]).contains("--from -"));
    assert!(
        usage(&["task", "add", "--from", "/nowhere/list"]).contains("cannot read /nowhere/list")
    );
    assert!(usage(&["task", "add", "x", "--max-retries", "101"]).contains("101"));
    assert!(usage(&["task", "add", "x", "--worker", "shpo"]).contains("did you mean `shop`?"));
    assert!(usage(&["task", "add", "x", "--room", "den"]).contains("--role"));
    assert!(
        usage(&["task", "add", "x", "--room", "../den", "--role", "y"]).contains("room must be")
    );
    assert!(usage(&["task", "show", "0198ffff-no-such"]).contains("unknown task"));
    assert!(usage(&["task", "show", "12"]).contains("there is no task 12"));
    assert!(usage(&["task", "show", "0"]).contains("there is no task 0"));
    for command in ["retry", "cancel", "drop"] {
        assert!(usage(&["task", command, "nothing-like-it"]).contains("unknown task"));
    }
    let from_stdin = |text: &str| {
        office
            .home
            .run_with_input(["task", "add", "--from", "-", "--blocks"], text)
    };
    assert!(
        from_stdin(" \n\n")
            .exits(2)
            .stderr
            .contains("there is no task in stdin")
    );
    let large = "x".repeat(262_145);
    assert!(
        from_stdin(&large)
            .exits(2)
            .stderr
            .contains("256 kB at most")
    );
    let hundred = "y".repeat(100 * 1024);
    from_stdin(&hundred).exits(0);

    let nasty = "$(touch pwned) `id` \"; rm -rf ~ # 日本語 👩‍💻 \u{202e}\u{1b}]0;title\u{7}\u{1b}[2J -- --force\n--amend";
    office
        .run(&["task", "add", "--max-retries=0", "--", nasty])
        .exits(0);
    let rows = office.rows();
    assert_eq!(rows.len(), 2, "what was refused added nothing");
    let shown = office.run(&["task", "show", "2"]).exits(0).stdout;
    assert!(
        !shown.contains('\u{1b}') && shown.contains("$(touch pwned) `id`"),
        "{shown:?}"
    );
    assert!(
        !office
            .run(&["task", "list"])
            .exits(0)
            .stdout
            .contains('\u{1b}')
    );
    assert!(
        !office
            .run(&["task", "list", "--report"])
            .exits(0)
            .stdout
            .contains('\u{1b}')
    );
    assert_eq!(
        office.run(&["task", "show", "2", "--json"]).exits(0).json()["text"],
        nasty
    );
    let task = office.pull(&api, "l1");
    assert_eq!(task["text"].as_str().unwrap().len(), hundred.len());

    // A deployment that is not there, and an owner who is somebody else.
    let mut away = office
        .home
        .command(["task", "list", "--url", "http://127.0.0.1:9"]);
    away.env_remove("ORCHESTRATOR_URL");
    office.home.finish(away, "").exits(7);
    let mut nobody = office.home.command(["task", "list"]);
    nobody.env("ORCHESTRATOR_OWNER_KEY", "/nowhere");
    office.home.finish(nobody, "").exits(6);
    assert_eq!(
        office
            .run(&["task", "list", "--worker", "x", "--json"])
            .exits(2)
            .json()["error"]["exit"],
        2
    );
}

#[test]
fn a_repository_is_described_in_every_state_it_can_be_in() {
    office!(server, deployment, api, office);
    let state = || office.run(&["task", "git-state"]).exits(0).stdout;
    let clean = state();
    assert!(
        clean.contains("branch      main") && clean.contains("a task      can begin"),
        "{clean}"
    );
    assert!(
        clean.contains("last commits") && clean.contains("README.md"),
        "{clean}"
    );
    office.write("new \u{1b}[2J.txt", "x");
    let dirty = state();
    assert!(
        dirty.contains("cannot begin: there are uncommitted changes"),
        "{dirty}"
    );
    assert!(
        dirty.contains("1 path not committed") && !dirty.contains('\u{1b}'),
        "{dirty:?}"
    );
    let json = office.run(&["task", "git-state", "--json"]).exits(0).json();
    assert_eq!(
        (&json["state"]["branch"], &json["state"]["changedCount"]),
        (&json!("main"), &json!(1))
    );
    office.git(&["clean", "-fdq"]);

    office.git(&["switch", "-q", "--detach"]);
    assert!(state().contains("none (detached HEAD)"), "{}", state());
    office.git(&["switch", "-q", "main"]);
    office.git(&["switch", "-q", "-c", "other"]);
    office.write("README.md", "# other\n");
    office.git(&["commit", "-qam", "other"]);
    office.git(&["switch", "-q", "main"]);
    office.write("README.md", "# main\n");
    office.git(&["commit", "-qam", "main"]);
    let mut rebase = office.home.foreign("git");
    rebase
        .args(["rebase", "-q", "other"])
        .current_dir(office.shop());
    office.home.finish(rebase, "").exits(1);
    assert!(
        state().contains("cannot begin: a rebase is under way"),
        "{}",
        state()
    );

    let empty = office.home.dir("empty");
    let of = |path: &Path| office.run(&["task", "git-state", path.to_str().unwrap()]);
    let none = of(&empty).exits(2).stderr;
    assert!(none.contains("is not in a git repository"), "{none}");
    of(&empty.join("nowhere")).exits(2);
    let mut init = office.home.foreign("git");
    init.args(["init", "-q"]).current_dir(&empty);
    office.home.finish(init, "").exits(0);
    let unborn = of(&empty).exits(0).stdout;
    assert!(
        unborn.contains("commit      none yet") && unborn.contains("has no commit yet"),
        "{unborn}"
    );
    // What a repository that somebody else has written would have git run is not run.
    let program = format!("touch {}/pwned", empty.display());
    std::fs::write(empty.join(".gitattributes"), "* filter=x\n").unwrap();
    for (setting, code) in [("core.fsmonitor", 0), ("filter.x.clean", 1)] {
        let mut config = office.home.foreign("git");
        config
            .args(["config", setting, &program])
            .current_dir(&empty);
        office.home.finish(config, "").exits(0);
        let said = of(&empty).exits(code).stderr;
        assert_eq!(
            said.contains("would make git start programs"),
            code == 1,
            "{said}"
        );
    }
    assert!(!empty.join("pwned").exists());

    let chain = |args: &[&str]| office.run(&[&["task", "verify-chain"], args].concat());
    let nothing = chain(&[]).exits(0).stderr;
    assert!(
        nothing.contains("no task of shop has made a branch yet"),
        "{nothing}"
    );
    let elsewhere = chain(&[empty.to_str().unwrap()]).exits(2).stderr;
    assert!(elsewhere.contains("no worker works in"), "{elsewhere}");
    assert!(
        chain(&["--worker", "shpo"])
            .exits(2)
            .stderr
            .contains("did you mean `shop`?")
    );
    assert_eq!(
        std::fs::read_dir(office.home.state().join("locks"))
            .unwrap()
            .count(),
        0,
        "a lock is left"
    );
    drop(api);
}

#[test]
fn a_worker_whose_directory_is_gone_or_no_repository_has_no_chain() {
    office!(server, deployment, api, office);
    office.worker(&api, deployment.url(), "plain");
    let plain = office
        .run(&["task", "verify-chain", "--worker", "plain"])
        .exits(2)
        .stderr;
    assert!(plain.contains("is not in a git repository"), "{plain}");
    std::fs::remove_dir_all(office.home.dir("plain")).unwrap();
    let gone = office
        .run(&["task", "verify-chain", "--worker", "plain"])
        .exits(2)
        .stderr;
    assert!(gone.contains("is not on this machine"), "{gone}");
}

/// `wait-for-task` of the role that the tests play.
const WAIT: [&str; 5] = ["wait-for-task", "--room", "den", "--role", "builder"];

fn lease_of(taken: &Value) -> String {
    taken["leaseId"].as_str().unwrap().to_owned()
}

#[test]
fn a_role_waits_for_its_task_does_it_and_reports_it() {
    office!(server, deployment, api, office);
    let waiting = office.start(&[&WAIT, &["--agent-type", "claude"] as &[&str]].concat());
    let configs = until("the role is known", || {
        let rows = api.query("agentConfigs:list", &json!({}));
        rows.as_array().cloned().filter(|rows| !rows.is_empty())
    });
    assert_eq!(
        (&configs[0]["agentType"], &configs[0]["room"]),
        (&json!("claude"), &json!("den"))
    );
    assert_eq!(
        configs[0]["workingDirectory"],
        office.shop().to_str().unwrap()
    );
    let before =
        api.query("machines:get", &json!({ "machineId": office.machine }))["lastSeenAt"].clone();

    office
        .run(&[
            "task",
            "add",
            "paint it",
            "then dry it",
            "--room",
            "den",
            "--role",
            "builder",
        ])
        .exits(0);
    let (code, printed, stderr) = waiting.output();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        printed.starts_with("A task for the builder of the room den.\n"),
        "{printed}"
    );
    assert!(printed.contains("\npaint it\n"), "{printed}");
    let id = printed
        .lines()
        .find_map(|line| {
            line.trim()
                .strip_prefix("orchestrator task done ")?
                .split(' ')
                .next()
        })
        .unwrap()
        .to_owned();

    // Whoever asks again before it is reported has it in hand: the same one, and it says so.
    let again = office
        .run(&[&WAIT, &["--json"] as &[&str]].concat())
        .exits(0)
        .json();
    assert_eq!(
        (&again["taskId"], &again["again"]),
        (&json!(id), &json!(true))
    );
    assert_eq!(
        api.query("agentConfigs:list", &json!({}))[0]["agentType"],
        "claude"
    );
    let after =
        api.query("machines:get", &json!({ "machineId": office.machine }))["lastSeenAt"].clone();
    assert!(
        after.as_f64() > before.as_f64(),
        "a later run brings the machine up to date"
    );

    let first = printed
        .split_whitespace()
        .skip_while(|word| *word != "--lease")
        .nth(1)
        .unwrap();
    let stale = office
        .run(&["task", "done", &id, "--lease", first])
        .exits(1)
        .stderr;
    assert!(stale.contains("taken by somebody else"), "{stale}");
    office.run(&["task", "done", &id]).exits(2);
    let lease = lease_of(&again);
    let done = office
        .run(&[
            "task",
            "done",
            &id,
            "--lease",
            &lease,
            "--summary",
            "it is red",
        ])
        .exits(0)
        .stderr;
    assert!(done.contains(&format!("task {id}: done")), "{done}");
    office
        .run(&["task", "done", &id, "--lease", &lease])
        .exits(0);
    let shown = office.run(&["task", "show", &id]).exits(0).stdout;
    assert!(
        shown.contains("role      den/builder") && shown.contains("  it is red"),
        "{shown}"
    );

    let second = office
        .run(&[&WAIT, &["--json"] as &[&str]].concat())
        .exits(0)
        .json();
    assert_eq!(second["text"], "then dry it");
    let lease = lease_of(&second);
    let second = second["taskId"].as_str().unwrap();
    let failed = office
        .run(&[
            "task", "fail", second, "--lease", &lease, "--reason", "no wind",
        ])
        .exits(0)
        .stderr;
    assert!(failed.contains("waits for another attempt"), "{failed}");
    let third = office
        .run(&[&WAIT, &["--json"] as &[&str]].concat())
        .exits(0)
        .json();
    assert_eq!(
        (&third["taskId"], &third["attempt"]),
        (&json!(second), &json!(2))
    );
    office
        .run(&[
            "task",
            "fail",
            second,
            "--lease",
            &lease_of(&third),
            "--reason",
            "still none",
            "--no-retry",
        ])
        .exits(0);
    let list = office
        .run(&["task", "list", "--room", "den", "--role", "builder"])
        .exits(0)
        .stdout;
    assert!(
        list.contains("2  failed") && list.contains("then dry it  assistant"),
        "{list}"
    );

    let late = office
        .run(&[&WAIT, &["--timeout", "1s"] as &[&str]].concat())
        .exits(124)
        .stderr;
    assert!(
        late.contains("no task for builder of den within 1.0 s"),
        "{late}"
    );
    assert!(
        office.rows().is_empty(),
        "a role's tasks are in no worker's queue"
    );
}

#[test]
fn what_a_killed_wait_had_taken_is_not_lost_and_two_that_wait_get_it_once() {
    office!(server, deployment, api, office);
    let waits = [office.start(&WAIT), office.start(&WAIT)];
    for waiting in &waits {
        assert!(waiting.0.is_some());
    }
    let [mut first, mut second] = waits;
    for waiting in [&mut first, &mut second] {
        let said = first_line(waiting);
        assert!(said.contains("waiting for a task"), "{said}");
    }
    office
        .run(&[
            "task", "add", "paint it", "--id", "paint", "--room", "den", "--role", "builder",
        ])
        .exits(0);
    let ended = until("one of them has it", || {
        let ended =
            |waiting: &mut Waiting| waiting.0.as_mut().unwrap().try_wait().unwrap().is_some();
        [ended(&mut first), ended(&mut second)]
            .into_iter()
            .position(|ended| ended)
    });
    let (has_it, mut other) = if ended == 0 {
        (first, second)
    } else {
        (second, first)
    };
    let (code, printed, _) = has_it.output();
    assert_eq!(code, Some(0));
    assert!(printed.contains("paint it"), "{printed}");
    assert!(
        other.0.as_mut().unwrap().try_wait().unwrap().is_none(),
        "the other one still waits"
    );
    other.kill();

    // Called off it is over at once, and what is reported later is not taken.
    office.run(&["task", "cancel", "paint-1"]).exits(0);
    let report = |task: &str| office.run(&["task", "done", task, "--lease", "any"]);
    let refused = report("paint-1").exits(1).stderr;
    assert!(refused.contains("was called off"), "{refused}");
    report("nothing-like-it").exits(2);
}

#[test]
fn a_role_without_a_workers_directory_or_right_is_told_so() {
    office!(server, deployment, api, office);
    let mut elsewhere = office.home.command(WAIT);
    elsewhere.current_dir(office.home.dir("elsewhere"));
    let nobody = office.home.finish(elsewhere, "").exits(2).stderr;
    assert!(
        nobody.contains("no worker of this machine works in"),
        "{nobody}"
    );
    let bad = office
        .run(&["wait-for-task", "--room", "a b", "--role", "x"])
        .exits(2)
        .stderr;
    assert!(bad.contains("room must be"), "{bad}");
    office.run(&["wait-for-task", "--room", "den"]).exits(2);
    // Without an owner's key the worker's token is enough.
    let mut keyless = office
        .home
        .command([&WAIT, &["--timeout", "1s"] as &[&str]].concat());
    keyless.env("ORCHESTRATOR_OWNER_KEY", "/nowhere");
    office.home.finish(keyless, "").exits(124);
    api.mutation("workers:revoke", &json!({ "workerId": "shop" }));
    let revoked = office.run(&WAIT).exits(6).stderr;
    assert!(revoked.contains("revoked"), "{revoked}");
    eventually("nothing is left", || office.home.processes().is_empty());
}
