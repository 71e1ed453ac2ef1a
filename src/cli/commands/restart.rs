//! `orchestrator restart ACTOR`: asks for it, and of a worker says when it came to nothing.

use std::time::{Duration, Instant};

use clap::Args;

use crate::cli::connection::connect;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::{Target, target};
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::control::Verb;
use crate::control::report::{Report, WorkerReport};

/// A worker that can be asked is back within this.
const OUTCOME: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

/// Replace one actor, or un-park one that crashed too often
#[derive(Debug, Args)]
pub struct Restart {
    /// Its key in `ps --json` (worker/xyz789), a worker's name, an id or a unique start of it
    actor: String,
}

impl Restart {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let supervisor = Supervisor::find(app)?;
        let before = workers(&supervisor).await;
        let mut actor = self.actor;
        let key = match restart(&supervisor, &actor).await {
            Ok(key) => key,
            Err(failure) if failure.exit != Exit::Usage => return Err(failure),
            Err(failure) => {
                // The deployment may know it by another name.
                let Some(key) = key_of(app, &actor).await else {
                    return Err(failure);
                };
                actor.clone_from(&key);
                restart(&supervisor, &key).await?
            }
        };
        app.ui.say(format!("restarting {actor}"));
        let old = before.into_iter().find(|worker| worker.key == key);
        match old {
            Some(old) => outcome(&supervisor, &old).await,
            None => Ok(Exit::Ok),
        }
    }
}

/// The key of who was restarted.
async fn restart(supervisor: &Supervisor, actor: &str) -> Result<String, Failure> {
    let verb = Verb::Restart {
        actor: actor.to_owned(),
    };
    let answer = supervisor.ask(verb, SHORT).await?;
    Ok(answer["actor"].as_str().unwrap_or(actor).to_owned())
}

async fn workers(supervisor: &Supervisor) -> Vec<WorkerReport> {
    let answer = supervisor.ask(Verb::Ps, SHORT).await.ok();
    let report = answer.and_then(|value| serde_json::from_value::<Report>(value).ok());
    report.map_or_else(Vec::new, |report| report.workers)
}

/// What a worker came to. One that cannot serve (its token is held by another supervisor, for example) was not helped, and
/// says why; one that still starts, or waits for its children's end, is left to `ps`.
async fn outcome(supervisor: &Supervisor, old: &WorkerReport) -> Result<Exit, Failure> {
    let until = Instant::now() + OUTCOME;
    while Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        let now = workers(supervisor).await;
        let Some(row) = now.into_iter().find(|row| row.key == old.key) else {
            continue;
        };
        if row.since == old.since {
            continue;
        }
        match row.phase.as_str() {
            "starting" | "stopping" | "restarting" => {}
            "failed" | "displaced" | "revoked" | "parked" => {
                return Err(Failure::failed(format!(
                    "it came to nothing, worker {} is {} ({})",
                    row.name, row.phase, row.detail
                )));
            }
            _ => return Ok(Exit::Ok),
        }
    }
    Ok(Exit::Ok)
}

async fn key_of(app: &App, name: &str) -> Option<String> {
    let connection = connect(app).await.ok()?;
    match target(&connection, Some(name)).await.ok()? {
        Target::Worker { id, .. } => Some(format!("worker/{id}")),
        Target::Session { id, .. } => Some(format!("session/{id}")),
    }
}
