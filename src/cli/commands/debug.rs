//! `orchestrator debug`: faults on purpose, for tests. It exists in debug builds only.

use clap::{Args, Subcommand};

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::control::Verb;

/// Inject faults (debug builds only)
#[derive(Debug, Args)]
pub struct Debug {
    #[command(subcommand)]
    fault: Fault,
}

#[derive(Debug, Subcommand)]
enum Fault {
    /// Make an actor panic; its key is in `ps --json`
    Panic { actor: String },
}

impl Debug {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let Fault::Panic { actor } = self.fault;
        let supervisor = Supervisor::find(app)?;
        supervisor
            .ask(
                Verb::Panic {
                    actor: actor.clone(),
                },
                SHORT,
            )
            .await?;
        app.ui.say(format!("{actor} was told to panic"));
        Ok(Exit::Ok)
    }
}
