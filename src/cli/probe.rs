//! What `init` finds out before it writes: what kind of folder the directory is, and whether the deployment is there and
//! knows the token. Asking `work:inbox` under an epoch that nobody has changes nothing: it serves nothing and takes the
//! token from nobody.

use std::path::Path;
use std::time::{Duration, Instant};

use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_actors::domain::token::WorkerToken;
use serde_json::{Value, json};

use super::exit::Exit;
use super::failure::Failure;
use crate::adapters::process::command::run;
use crate::adapters::process::{WardSpec, own_binary};
use crate::ui::format::{duration, plural};

const GIT_LIMIT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// `git repository, clean`; nothing when it cannot be found out.
pub async fn git_state(directory: &Path) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let git = std::env::split_paths(&path)
        .map(|folder| folder.join("git"))
        .find(|git| git.is_file())?;
    let mut spec = WardSpec::new(own_binary(), git, directory);
    spec.args = ["status", "--porcelain"].map(str::to_owned).to_vec();
    for name in ["PATH", "HOME"] {
        if let Ok(value) = std::env::var(name) {
            spec.env.insert(name.to_owned(), value);
        }
    }
    let finished = run(spec, GIT_LIMIT).await.ok()?;
    if finished.timed_out {
        return None;
    }
    if !finished.success() {
        return Some("no git repository".to_owned());
    }
    Some(match finished.stdout_text().lines().count() {
        0 => "git repository, clean".to_owned(),
        count => format!("git repository, {} not committed", plural(count, "change")),
    })
}

/// How the deployment answers for the token.
pub struct Reached {
    pub took: Duration,
    /// `pending | approved`.
    pub state: String,
}

impl Reached {
    /// `reachable, 84 ms`.
    pub fn text(&self) -> String {
        let reached = format!("reachable, {}", duration(self.took));
        match self.state.as_str() {
            "pending" => format!("{reached}; the worker waits for its owner's approval"),
            _ => reached,
        }
    }
}

pub async fn reach(url: &DeploymentUrl, token: &WorkerToken) -> Result<Reached, Failure> {
    let unreachable = |reason: String| {
        Failure::new(
            Exit::Unreachable,
            format!("the deployment {url} cannot be reached: {reason}"),
        )
    };
    let client = reqwest::Client::builder()
        .timeout(ANSWER_LIMIT)
        .build()
        .map_err(|error| unreachable(error.to_string()))?;
    let body = json!({
        "path": "work:inbox",
        "args": {"token": token.expose(), "epoch": 0},
        "format": "json",
    });
    let begun = Instant::now();
    let answer = client
        .post(format!("{url}/api/query"))
        .json(&body)
        .send()
        .await
        .map_err(|error| unreachable(root_cause(&error)))?;
    let took = begun.elapsed();
    let answer: Value = answer
        .json()
        .await
        .map_err(|_| unreachable("it answers, but not as a Convex deployment does".to_owned()))?;
    if answer["status"] == "success" {
        let state = answer["value"]["state"].as_str().unwrap_or_default();
        return match state {
            "revoked" | "removed" => Err(refused(&format!("the worker is {state}"))),
            _ => Ok(Reached {
                took,
                state: state.to_owned(),
            }),
        };
    }
    match answer["errorData"]["message"].as_str() {
        Some(message) => Err(refused(message)),
        None => Err(Failure::failed(
            "the deployment does not have the orchestrator's functions: deploy convex/ to it",
        )),
    }
}

fn refused(message: &str) -> Failure {
    Failure::new(Exit::Refused, message)
}

/// Without the URL (it is in the message already) and the chain's upper links, which say nothing.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if error.is_timeout() {
        return format!("no answer within {} s", ANSWER_LIMIT.as_secs());
    }
    cause.to_string()
}
