//! The control socket, asked directly: a poll of `ps` costs no process.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use orchestrator_test_support::Home;
use serde_json::{Value, json};

/// An answer may take this long: a reload stops assistants.
const LIMIT: Duration = Duration::from_mins(1);

#[derive(Clone)]
pub struct Control {
    folder: PathBuf,
}

impl Control {
    pub fn of(home: &Home) -> Self {
        Self {
            folder: PathBuf::from(home.get("XDG_RUNTIME_DIR")).join("opencode-orchestrator"),
        }
    }

    /// `None` while nobody answers.
    pub fn ps(&self) -> Option<Value> {
        self.ask(&json!({ "verb": "ps" }))?.ok()
    }

    /// The value or the refusal; `None` when nobody answers.
    pub fn ask(&self, request: &Value) -> Option<Result<Value, Value>> {
        let mut files = std::fs::read_dir(&self.folder).ok()?;
        let socket = files.find_map(|file| {
            let path = file.ok()?.path();
            (path.extension()? == "sock").then_some(path)
        })?;
        let mut stream = UnixStream::connect(socket).ok()?;
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        let mut request = request.clone();
        request["v"] = json!(1);
        stream.write_all(format!("{request}\n").as_bytes()).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        let mut answer: Value = serde_json::from_str(&line).ok()?;
        let error = answer["error"].take();
        Some(if error.is_null() {
            Ok(answer["ok"].take())
        } else {
            Err(error)
        })
    }

    /// Whether somebody took the order.
    pub fn panic(&self, actor: &str) -> bool {
        let answer = self.ask(&json!({ "verb": "panic", "actor": actor }));
        if let Some(Err(refusal)) = &answer {
            assert!(
                refusal["code"] != "invalid",
                "this build injects no panics (use the profile `chaos`): {refusal}"
            );
        }
        matches!(answer, Some(Ok(_)))
    }

    pub fn restart(&self, actor: &str) -> bool {
        let answer = self.ask(&json!({ "verb": "restart", "actor": actor }));
        matches!(answer, Some(Ok(_)))
    }

    pub fn reload(&self) -> Option<Result<Value, Value>> {
        self.ask(&json!({ "verb": "reload", "dry_run": false }))
    }
}

/// All sessions of a `ps`.
pub fn sessions(ps: &Value) -> Vec<Value> {
    let workers = ps["workers"].as_array().cloned().unwrap_or_default();
    workers
        .iter()
        .flat_map(|worker| worker["sessions"].as_array().cloned().unwrap_or_default())
        .collect()
}

/// The actors of a `ps` that are parked.
pub fn parked(ps: &Value) -> Vec<String> {
    let workers = ps["workers"].as_array().cloned().unwrap_or_default();
    let mut all = sessions(ps);
    all.extend(workers);
    all.iter()
        .filter(|actor| actor["phase"] == "parked")
        .filter_map(|actor| actor["key"].as_str().map(str::to_owned))
        .collect()
}
