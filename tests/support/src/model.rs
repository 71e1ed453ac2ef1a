//! The scripted model as a process of its own, so that it keeps counting whatever else is killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;

use crate::http::request;

pub struct Model {
    child: Child,
    /// Closing it ends the model.
    _lifeline: ChildStdin,
    address: String,
}

impl Model {
    pub fn start(binary: &str) -> Self {
        let mut child = Command::new(binary)
            .arg("__model")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("a process");
        let lifeline = child.stdin.take().expect("a pipe");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut line).expect("a line");
        let ready: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let url = ready["url"]
            .as_str()
            .expect("an address")
            .trim_end_matches("/v1")
            .to_owned();
        let address = url
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        Self {
            child,
            _lifeline: lifeline,
            address,
        }
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn stats(&self) -> Value {
        let (_, body) = request("GET", &format!("{}/stats", self.url()), &[], "");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// How often it was asked to begin with a prompt that contains `needle`.
    pub fn starts(&self, needle: &str) -> u64 {
        let stats = self.stats();
        let prompts = stats["prompts"].as_array().cloned().unwrap_or_default();
        let asked = prompts
            .iter()
            .filter(|prompt| prompt["text"].as_str().unwrap_or_default().contains(needle));
        asked.filter_map(|prompt| prompt["starts"].as_u64()).sum()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
