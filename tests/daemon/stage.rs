//! A home with workers on deployments of others, and a model that answers: what the tests of production and development
//! mode start from.

use std::cell::RefCell;
use std::path::Path;

use orchestrator_test_support::{Api, Deployment, Home, Model, Ran};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

pub struct Site {
    pub home: Home,
    model: Model,
    /// Entries of `workers.json`.
    workers: RefCell<Vec<Value>>,
}

impl Site {
    /// Commands in this home speak with the right of `server`'s owner.
    pub fn new(server: &Home) -> Self {
        let model = Model::start(ORCHESTRATOR);
        let mut home = Home::new(ORCHESTRATOR);
        home.set("ORCHESTRATOR_DEMO_MODEL", model.url());
        let key =
            Path::new(server.get("XDG_DATA_HOME")).join("opencode-orchestrator/local/owner.key");
        home.set("ORCHESTRATOR_OWNER_KEY", key.display().to_string());
        // None of these tests is about a slow start, and a machine that runs many of them is slow.
        home.set("ORCHESTRATOR_BOOT_TIMEOUT", "80s");
        Self {
            home,
            model,
            workers: RefCell::default(),
        }
    }

    /// A worker that nobody has approved yet; its entry is not written.
    pub fn pending(&self, api: &Api, url: &str, name: &str) {
        let machine =
            json!({ "machineId": "m1", "name": "m", "hostname": "m", "os": "linux", "tools": [] });
        api.mutation("machines:register", &machine);
        let directory = self.home.dir(name);
        let args =
            json!({ "workerId": name, "machineId": "m1", "name": name, "directory": directory });
        let token = api.mutation("workers:create", &args)["token"].clone();
        let entry = json!({ "token": token, "working_directory": directory, "convex_url": url });
        self.workers.borrow_mut().push(entry);
    }

    pub fn approved(&self, api: &Api, url: &str, name: &str) {
        self.pending(api, url, name);
        api.mutation("workers:approve", &json!({ "workerId": name }));
    }

    pub fn token(&self, worker: usize) -> String {
        let token = &self.workers.borrow()[worker]["token"];
        token.as_str().unwrap().to_owned()
    }

    pub fn set(&self, worker: usize, field: &str, value: Value) {
        self.workers.borrow_mut()[worker][field] = value;
    }

    pub fn forget(&self, worker: usize) {
        self.workers.borrow_mut().remove(worker);
    }

    /// Writes the entries as they are now, as somebody writes them who likes comments.
    pub fn write(&self) {
        let entries: Vec<String> = self
            .workers
            .borrow()
            .iter()
            .map(|worker| format!("    // one of ours\n    {worker},\n"))
            .collect();
        let text = format!(
            "// by hand\n{{\n  \"workers\": [\n{}  ],\n}}\n",
            entries.concat()
        );
        self.home.write_config_text(&text);
    }

    pub fn config_text(&self) -> String {
        std::fs::read_to_string(self.home.config_file()).unwrap()
    }

    /// How often the model was asked to begin with a prompt that contains `needle`.
    pub fn starts(&self, needle: &str) -> u64 {
        self.model.starts(needle)
    }

    /// A home with nothing but a new token of the machine, on the same model.
    pub fn newcomer(&self, api: &Api, url: &str) -> Home {
        let made = api.mutation("machines:rotate", &json!({ "machineId": "m1" }));
        let mut home = Home::new(ORCHESTRATOR);
        for name in ["ORCHESTRATOR_DEMO_MODEL", "ORCHESTRATOR_BOOT_TIMEOUT"] {
            home.set(name, self.home.get(name));
        }
        home.set("MACHINE_TOKEN", made["token"].as_str().unwrap());
        home.set("CONVEX_URL", url);
        home
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.home.run(args)
    }

    /// `.env` in the directory where commands start.
    pub fn dotenv(&self) -> std::path::PathBuf {
        self.home.dir("shop").join(".env")
    }
}

/// A deployment in `server`'s home, its owner's calls, and a home with approved workers on it. Their entries are not
/// written yet.
pub fn served<'a>(server: &'a Home, workers: &[&str]) -> (Deployment<'a>, Api, Site) {
    let deployment = server.deployment();
    let api = deployment.api();
    let site = Site::new(server);
    for name in workers {
        site.approved(&api, deployment.url(), name);
    }
    (deployment, api, site)
}

/// A prompt whose answer streams for about `seconds`.
pub fn long_answer(seconds: u32) -> String {
    orchestrator_test_support::script(&json!([[
        { "text": "begins " },
        { "stream": { "n": seconds * 20, "rate": 20, "size": 4 } },
        { "text": " ends" },
    ]]))
}
