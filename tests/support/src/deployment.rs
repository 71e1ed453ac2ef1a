//! `orchestrator deployment run` alone, and homes whose workers live on it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::api::Api;
use crate::home::Home;

pub struct Deployment<'a> {
    home: &'a Home,
    child: Child,
    url: String,
}

impl Home {
    /// Starts a deployment in this home on a random port.
    pub fn deployment(&self) -> Deployment<'_> {
        self.deployment_at(0)
    }

    pub fn deployment_at(&self, port: u16) -> Deployment<'_> {
        let mut command = self.command(["deployment", "run", "--port", &port.to_string()]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let start = line.find("http://127.0.0.1:")?;
                Some(line[start..].split_whitespace().next()?.to_owned())
            })
            .expect("the deployment says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        Deployment {
            home: self,
            child,
            url,
        }
    }

    /// Creates and approves a worker on the deployment and writes this home's `workers.json` for it.
    pub fn enrol(&self, api: &Api, url: &str, worker: &str) {
        let machine = json!({ "machineId": "testmachine", "name": "test", "hostname": "test", "os": "linux", "tools": [] });
        api.mutation("machines:register", &machine);
        let directory = self.dir(worker);
        let created = api.mutation(
            "workers:create",
            &json!({ "workerId": worker, "machineId": "testmachine", "name": worker, "directory": directory }),
        );
        api.mutation("workers:approve", &json!({ "workerId": worker }));
        self.write_config(&json!({ "workers": [
            { "token": created["token"], "working_directory": directory, "convex_url": url },
        ] }));
    }

    pub fn write_config(&self, config: &Value) {
        self.write_config_text(&config.to_string());
    }

    pub fn write_config_text(&self, text: &str) {
        std::fs::create_dir_all(self.config_file().parent().expect("a folder")).expect("a folder");
        std::fs::write(self.config_file(), text).expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(self.config_file(), mode).expect("a mode");
    }

    pub fn config_file(&self) -> std::path::PathBuf {
        std::path::Path::new(self.get("XDG_CONFIG_HOME")).join("opencode-orchestrator/workers.json")
    }

    /// Takes another home's configuration, as somebody does who copies it to a second machine.
    pub fn adopt(&self, other: &Home) {
        self.write_config_text(
            &std::fs::read_to_string(other.config_file()).expect("a configuration"),
        );
    }
}

impl Deployment<'_> {
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn address(&self) -> SocketAddr {
        self.url
            .trim_start_matches("http://")
            .parse()
            .expect("an address")
    }

    pub fn api(&self) -> Api {
        let token = self
            .home
            .run(["owner", "token"])
            .exits(0)
            .stdout
            .trim()
            .to_owned();
        Api::new(self.url.clone(), token)
    }
}

impl Drop for Deployment<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
