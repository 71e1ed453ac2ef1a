//! `orchestrator restart ACTOR`.

use clap::Args;

use crate::cli::connection::connect;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::{Target, target};
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::control::Verb;

/// Replace one actor, or un-park one that crashed too often
#[derive(Debug, Args)]
pub struct Restart {
    /// Its key in `ps --json` (worker/xyz789), a worker's name, an id or a unique start of it
    actor: String,
}

impl Restart {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let supervisor = Supervisor::find(app)?;
        let mut actor = self.actor;
        if let Err(failure) = restart(&supervisor, &actor).await {
            if failure.exit != Exit::Usage {
                return Err(failure);
            }
            // The deployment may know it by another name.
            let Some(key) = key_of(app, &actor).await else {
                return Err(failure);
            };
            restart(&supervisor, &key).await?;
            actor = key;
        }
        app.ui.say(format!("restarting {actor}"));
        Ok(Exit::Ok)
    }
}

async fn restart(supervisor: &Supervisor, actor: &str) -> Result<(), Failure> {
    let verb = Verb::Restart {
        actor: actor.to_owned(),
    };
    supervisor.ask(verb, SHORT).await.map(drop)
}

async fn key_of(app: &App, name: &str) -> Option<String> {
    let connection = connect(app).await.ok()?;
    match target(&connection, Some(name)).await.ok()? {
        Target::Worker { id, .. } => Some(format!("worker/{id}")),
        Target::Session { id, .. } => Some(format!("session/{id}")),
    }
}
