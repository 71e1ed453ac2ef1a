//! `orchestrator restart [ACTOR]`: asks for it, and of a worker says when it came to nothing. Without a name it is the
//! supervisor itself, which stops in order and starts again in the same process; this command waits until it serves.

use std::time::{Duration, Instant};

use clap::Args;

use crate::cli::commands::stop::Stopping;
use crate::cli::connection::connect;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::{Target, target};
use crate::cli::rows::read;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::control::Verb;
use crate::control::report::{Report, WorkerReport};
use crate::ui::format::duration;

/// A worker that can be asked is back within this.
const OUTCOME: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

/// A start may install the assistant; whoever waits that long in vain is told where to look.
const START: Duration = Duration::from_mins(2);
/// Between stop and start nobody holds the lock, but not for long.
const GAP: Duration = Duration::from_secs(5);

/// Replace one actor, or un-park one that crashed too often; without a name, the supervisor itself
#[derive(Debug, Args)]
pub struct Restart {
    /// Its key in `ps --json` (worker/xyz789), a worker's name, an id or a unique start of it
    actor: Option<String>,
}

impl Restart {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let supervisor = Supervisor::find(app)?;
        let Some(mut actor) = self.actor else {
            return whole(app, supervisor).await;
        };
        let before = workers(&supervisor).await;
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

/// The supervisor itself.
async fn whole(app: &App, old: Supervisor) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let stopping: Stopping = read("restart", old.ask(Verb::StartAgain, SHORT).await?)?;
    app.ui.say(format!("restarting: {}", stopping.told()));
    let until = begun + stopping.limit() + START;
    let mut seen = Instant::now();
    while Instant::now() < until && seen.elapsed() < GAP {
        tokio::time::sleep(LOOK).await;
        let Ok(now) = Supervisor::find(app) else {
            continue;
        };
        seen = Instant::now();
        let is_new = now.holder.pid == old.holder.pid && now.holder.since_ms != old.holder.since_ms;
        if is_new && now.ask(Verb::Ps, SHORT).await.is_ok() {
            let took = duration(begun.elapsed());
            let pid = now.holder.pid;
            app.ui.say(format!("restarted in {took} (pid {pid})"));
            return Ok(Exit::Ok);
        }
    }
    Err(Failure::failed("it stopped and did not come back")
        .hint("why: orchestrator logs -n 20; start it: orchestrator run"))
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
