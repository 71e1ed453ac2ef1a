//! `orchestrator run --local --demo` with a model of its own: the usual stage of a test.

use serde_json::{Value, json};

use crate::api::Api;
use crate::home::Home;
use crate::model::Model;
use crate::supervisor::Supervisor;

pub struct Stage {
    pub home: Home,
    pub model: Model,
}

impl Stage {
    /// A home whose supervisors answer from a model that outlives them.
    pub fn new(binary: &str) -> Self {
        let model = Model::start(binary);
        let mut home = Home::new(binary);
        home.set("ORCHESTRATOR_DEMO_MODEL", model.url());
        Self { home, model }
    }

    /// Starts the supervisor on the directory `shop` and waits until its worker serves.
    pub fn run(&self) -> Supervisor<'_> {
        self.run_with(&[])
    }

    pub fn run_with(&self, flags: &[&str]) -> Supervisor<'_> {
        let args = ["run", "--local", "--demo", "--port", "0"]
            .iter()
            .chain(flags);
        let supervisor = self.home.supervisor(args);
        supervisor.workers_are("ready");
        supervisor
    }

    /// The running supervisor's deployment, with its owner's rights.
    pub fn api(&self, supervisor: &Supervisor<'_>) -> Api {
        let ps = supervisor.ps();
        let url = ps["deployments"][0]["url"]
            .as_str()
            .expect("an embedded deployment")
            .to_owned();
        let token = self
            .home
            .run(["owner", "token"])
            .exits(0)
            .stdout
            .trim()
            .to_owned();
        Api::new(url, token)
    }

    /// The only worker, as `messages:send` takes it.
    pub fn worker(&self, supervisor: &Supervisor<'_>) -> Value {
        json!({ "workerId": supervisor.ps()["workers"][0]["id"] })
    }

    /// How often the model was asked to begin with a prompt that contains `needle`.
    pub fn starts(&self, needle: &str) -> u64 {
        self.model.starts(needle)
    }
}

/// A prompt that the scripted model plays.
pub fn script(steps: &Value) -> String {
    format!("SCRIPT:{}", json!({ "steps": steps }))
}
