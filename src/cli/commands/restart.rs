//! `orchestrator restart ACTOR`.

use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::control::Verb;

/// Replace one actor, or un-park one that crashed too often
#[derive(Debug, Args)]
pub struct Restart {
    /// Its key in `ps --json` (worker/xyz789), a worker's name or id, a session's id
    actor: String,
}

impl Restart {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let supervisor = Supervisor::find(app)?;
        let actor = self.actor;
        supervisor
            .ask(
                Verb::Restart {
                    actor: actor.clone(),
                },
                SHORT,
            )
            .await?;
        app.ui.say(format!("restarting {actor}"));
        Ok(Exit::Ok)
    }
}
