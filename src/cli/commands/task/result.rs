//! `orchestrator task done` and `task fail`: how whoever plays a role says what became of the task that `wait-for-task`
//! printed. They speak with the token of this directory's worker, as `wait-for-task` did, and under the lease that it printed:
//! an assistant that was given up does not speak for the one in its place. Saying it twice is harmless.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::credential;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;

/// Say that a role's task is done
#[derive(Debug, Args)]
pub struct Done {
    /// The task's id, as wait-for-task printed it
    #[arg(value_name = "ID")]
    task: String,

    /// The right under which it was taken, as wait-for-task printed it
    #[arg(long, value_name = "LEASE")]
    lease: String,

    /// What was done, in a sentence
    #[arg(long, value_name = "TEXT")]
    summary: Option<String>,
}

/// Say that a role's task could not be done, or give it back
#[derive(Debug, Args)]
pub struct Fail {
    /// The task's id, as wait-for-task printed it
    #[arg(value_name = "ID")]
    task: String,

    /// The right under which it was taken, as wait-for-task printed it
    #[arg(long, value_name = "LEASE")]
    lease: String,

    /// Why it could not be done
    #[arg(long, value_name = "TEXT", required_unless_present = "give_back")]
    reason: Option<String>,

    /// Another attempt would end in the same way
    #[arg(long)]
    no_retry: bool,

    /// It was not tried: somebody else may have it, and the attempt does not count
    #[arg(long, conflicts_with_all = ["reason", "no_retry"])]
    give_back: bool,
}

impl Done {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let mut result = json!({"status": "done"});
        if let Some(summary) = self.summary {
            result["summary"] = Value::from(summary);
        }
        say(app, &self.task, &self.lease, result).await
    }
}

impl Fail {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let result = match self.reason {
            Some(reason) => json!({"status": "failed", "reason": reason, "retry": !self.no_retry}),
            None => json!({"status": "returned"}),
        };
        say(app, &self.task, &self.lease, result).await
    }
}

/// Whether a state can have followed from a result.
fn agrees(said: &str, state: &str) -> bool {
    match said {
        "done" => state == "done",
        "failed" => matches!(state, "failed" | "queued"),
        _ => state == "queued",
    }
}

async fn say(app: &App, task: &str, lease: &str, result: Value) -> Result<Exit, Failure> {
    let right = credential::here(app)?;
    let client = right.connect().await?;
    let said = result["status"].as_str().unwrap_or_default().to_owned();
    let args = json!({
        "token": right.token.expose(), "taskId": task, "leaseId": lease, "result": result,
    });
    let answer = client.mutation("tasks:report", args).await?;
    let state = answer["state"].as_str().unwrap_or("gone");
    match answer["status"].as_str() {
        Some("already") if !agrees(&said, state) => Err(Failure::failed(format!(
            "task {task} was reported before: it is {state}; this result is not taken"
        ))),
        Some("ok" | "already") => {
            let what = match state {
                "queued" => "waits for another attempt",
                other => other,
            };
            app.ui.say(format!("task {task}: {what}"));
            Ok(Exit::Ok)
        }
        _ if state == "canceled" => Err(Failure::failed(format!(
            "task {task} was called off: its result is not taken"
        ))),
        _ => Err(Failure::failed(format!(
            "task {task} was taken by somebody else since, or was given up (it is {state}): its result is not taken"
        ))
        .hint("ask for what is in hand: orchestrator wait-for-task")),
    }
}
