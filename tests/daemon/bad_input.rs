//! Bad input, with real processes: every mistake gives one clear error that says what to do next and the documented exit
//! code, loses nothing and takes no other worker down. No secret is in anything that is printed or kept in the state
//! folder: every test here looks for them at its end. What needs no supervisor is in `tests/cli`.

mod assistants;
mod configuration;
mod requests;
mod state;
mod workers;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use orchestrator_test_support::{Api, Deployment, Home, Ran, Supervisor, eventually};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

/// A home whose commands are recorded, with workers on somebody else's deployment.
struct Desk {
    home: Home,
    /// Entries of `workers.json`.
    workers: Vec<Value>,
    said: Mutex<String>,
    /// What must never be seen.
    secrets: Vec<String>,
}

impl Desk {
    /// Creates and approves these workers; the configuration names them all.
    fn new(server: &Home, deployment: &Deployment<'_>, names: &[&str]) -> Self {
        let mut home = Home::new(ORCHESTRATOR);
        let key = owner_key(server);
        home.set("ORCHESTRATOR_OWNER_KEY", key.display().to_string());
        let mut desk = Self {
            home,
            workers: Vec::new(),
            said: Mutex::default(),
            secrets: key_lines(&key),
        };
        let api = deployment.api();
        desk.secrets.push(api.token().to_owned());
        let machine =
            json!({ "machineId": "m1", "name": "m", "hostname": "m", "os": "linux", "tools": [] });
        api.mutation("machines:register", &machine);
        for name in names {
            desk.add(&api, deployment.url(), name);
        }
        desk.home
            .write_config(&json!({ "workers": desk.workers.clone() }));
        desk
    }

    fn add(&mut self, api: &Api, url: &str, name: &str) {
        let directory = self.home.dir(name);
        let args =
            json!({ "workerId": name, "machineId": "m1", "name": name, "directory": directory });
        let token = api.mutation("workers:create", &args)["token"]
            .as_str()
            .expect("a token")
            .to_owned();
        api.mutation("workers:approve", &json!({ "workerId": name }));
        self.secrets.push(tail_of_secret(&token));
        self.workers
            .push(json!({ "token": token, "working_directory": directory, "convex_url": url }));
    }

    /// The configuration with one worker's field changed.
    fn configure(&self, worker: usize, field: &str, value: &Value) {
        let mut workers = self.workers.clone();
        workers[worker][field] = value.clone();
        self.home.write_config(&json!({ "workers": workers }));
    }

    /// The configuration as it was created.
    fn restore(&self) {
        self.home
            .write_config(&json!({ "workers": self.workers.clone() }));
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_with_input(args, "")
    }

    fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let ran = self.home.run_with_input(args, input);
        let mut said = self.said.lock().unwrap();
        said.push_str(&ran.stdout);
        said.push_str(&ran.stderr);
        ran
    }

    fn supervisor(&self) -> Supervisor<'_> {
        self.home.supervisor(["run", "--demo", "--no-input"])
    }

    /// Ends the supervisor and looks for secrets in all that was said and kept.
    fn close(&self, supervisor: Supervisor<'_>) {
        let printed = supervisor.printed();
        self.said.lock().unwrap().push_str(&printed);
        assert!(supervisor.terminate().success());
        self.keeps_its_secrets();
    }

    fn keeps_its_secrets(&self) {
        let said = self.said.lock().unwrap();
        let state = Path::new(self.home.get("XDG_STATE_HOME"));
        let mut kept = vec![("what was printed".to_owned(), said.clone().into_bytes())];
        read_all(state, &mut kept);
        assert!(kept.len() > 1, "nothing is kept in {}", state.display());
        for (place, bytes) in &kept {
            for secret in &self.secrets {
                let found = bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes());
                assert!(!found, "a secret is in {place}");
            }
        }
    }
}

/// Waits until `ps` shows the worker in this phase; gives its row.
fn worker_is(supervisor: &Supervisor<'_>, name: &str, phase: &str) -> Value {
    eventually(&format!("worker {name} is {phase}"), || {
        row(supervisor, name)["phase"] == phase
    });
    row(supervisor, name)
}

fn row(supervisor: &Supervisor<'_>, name: &str) -> Value {
    let ps = supervisor.ps();
    let rows = ps["workers"].as_array().cloned().unwrap_or_default();
    let found = rows.into_iter().find(|row| row["name"] == name);
    found.unwrap_or(Value::Null)
}

/// The `send --wait` of somebody who expects an answer.
fn answers(desk: &Desk, worker: &str) {
    let text = format!("are you there, {worker}");
    let sent = desk
        .run(&["send", &text, "--to", worker, "--wait"])
        .exits(0);
    assert!(sent.stdout.contains(&text), "{}", sent.stdout);
}

/// It printed this, now or soon.
fn prints(supervisor: &Supervisor<'_>, text: &str) {
    eventually(&format!("it prints `{text}`"), || {
        supervisor.printed().contains(text)
    });
}

fn owner_key(server: &Home) -> PathBuf {
    Path::new(server.get("XDG_DATA_HOME")).join("opencode-orchestrator/local/owner.key")
}

/// The lines of the key's body.
fn key_lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("the owner's key");
    let body = text.lines().filter(|line| !line.starts_with("-----"));
    body.map(str::to_owned).collect()
}

/// Beyond the four characters that messages may show.
fn tail_of_secret(token: &str) -> String {
    let (_, secret) = token.split_once(":secret_").expect("a token");
    secret[4..].to_owned()
}

fn read_all(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_all(&path, into);
        } else if let Ok(bytes) = std::fs::read(&path) {
            into.push((path.display().to_string(), bytes));
        }
    }
}
