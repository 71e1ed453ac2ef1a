//! `orchestrator wait-for-task`: how an assistant that plays a role gets its next task. It makes the machine known, says which
//! assistant plays the role and where, and waits. What it prints is the deployment's text: the task, and how to report it.
//!
//! The role has a task in hand until it is reported (`task done`, `task fail`). Whoever asks again before that gets the same
//! one again, so nothing is lost when this command, the assistant or the machine ends in between; nobody else gets it
//! meanwhile.

use std::time::Duration;

use clap::Args;
use orchestrator_actors::ports::link::CallError;
use serde_json::{Value, json};

use crate::adapters::convex::{ClientError, OwnerClient};
use crate::cli::credential::{self, Right};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::config::parse_duration;
use crate::daemon::compose;
use crate::ui::format::duration;

/// How often it is looked whether the deployment is there.
const LOOK: Duration = Duration::from_secs(1);

/// Wait for the next task of a role and print it
#[derive(Debug, Args)]
pub struct WaitForTask {
    /// The room
    #[arg(long)]
    room: String,

    /// The role in the room
    #[arg(long)]
    role: String,

    /// The assistant that plays it (opencode, claude, ...) [default: as it was reported last]
    #[arg(long, value_name = "TOOL")]
    agent_type: Option<String>,

    /// Give up waiting after this time (exit 124)
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

impl WaitForTask {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        // The identity of this machine is made on first use, whatever else there is.
        let machine = compose::machine(&app.paths, None).map_err(Failure::failed)?;
        let right = credential::here(app)?;
        let client = right.connect().await?;
        if let Some(owner) = right.connect_as_owner(app).await
            && right.token.machine().as_str() == machine.id
        {
            compose::register_machine(&owner, &machine).await?;
        }
        self.report(&client, &right).await?;
        let task = tokio::select! {
            task = limited(self.timeout, self.next(app, &client, &right)) => task,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        };
        let Some(task) = task else {
            let limit = self.timeout.map(duration).unwrap_or_default();
            return Err(Failure::new(
                Exit::TimedOut,
                format!("no task for {} of {} within {limit}", self.role, self.room),
            )
            .hint("wait again to go on; nothing is missed in between"));
        };
        let task = task?;
        if self.json {
            let mut object = json!({"schema": 1, "room": self.room, "role": self.role});
            for field in ["taskId", "leaseId", "text", "prompt", "attempt", "again"] {
                object[field] = task[field].clone();
            }
            app.ui.json(&object);
        } else {
            let prompt = task["prompt"].as_str().unwrap_or_default();
            app.ui.foreign(&format!("{prompt}\n"));
        }
        Ok(Exit::Ok)
    }

    /// Which assistant plays the role, and where.
    async fn report(&self, client: &OwnerClient, right: &Right) -> Result<(), Failure> {
        let directory = std::env::current_dir()
            .and_then(std::fs::canonicalize)
            .map_err(|error| {
                Failure::usage(format!("the current directory cannot be used: {error}"))
            })?;
        let mut args = json!({
            "token": right.token.expose(),
            "room": self.room,
            "role": self.role,
            "workingDirectory": directory,
        });
        if let Some(tool) = &self.agent_type {
            args["agentType"] = json!(tool);
        }
        client.mutation("agentConfigs:update", args).await?;
        Ok(())
    }

    /// The task, once there is one.
    async fn next(&self, app: &App, client: &OwnerClient, right: &Right) -> Result<Value, Failure> {
        let whose = json!({"token": right.token.expose(), "room": self.room, "role": self.role});
        let lease = uuid::Uuid::new_v4().to_string();
        let take = |only_new: bool| {
            let mut args = whose.clone();
            args["leaseId"] = json!(lease);
            args["onlyNew"] = json!(only_new);
            client.mutation("tasks:take", args)
        };
        let first = take(false).await?;
        if first["status"] == "task" {
            return Ok(first);
        }
        app.ui.say(format!(
            "waiting for a task for {} of {}",
            self.role, self.room
        ));
        let mut changes = client.subscribe("tasks:awaiting", whose.clone());
        let mut looks = tokio::time::interval(LOOK);
        let mut is_away = false;
        loop {
            tokio::select! {
                change = changes.recv() => {
                    let standing = change
                        .unwrap_or_else(|| Err(ClientError::from(CallError::Closed)))?;
                    if standing["queued"] != true || standing["inHand"] == true {
                        continue;
                    }
                    // A call whose answer does not come in time may have taken it: the same lease gets it again.
                    let task = loop {
                        match take(true).await {
                            Err(ClientError::Unreachable { .. }) => tokio::time::sleep(LOOK).await,
                            answered => break answered?,
                        }
                    };
                    if task["status"] == "task" {
                        return Ok(task);
                    }
                }
                _ = looks.tick() => match client.is_connected() {
                    Ok(()) => is_away = false,
                    Err(reason) if !is_away => {
                        is_away = true;
                        app.ui.say(format!("{} is away ({reason}); waiting for it", right.url));
                    }
                    Err(_) => {}
                },
            }
        }
    }
}

/// `None` when the time is over.
async fn limited<T>(limit: Option<Duration>, what: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, what).await.ok(),
        None => Some(what.await),
    }
}
