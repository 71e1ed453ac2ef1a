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
    /// Keep an actor's handler busy for so many milliseconds
    Block { actor: String, ms: u64 },
}

impl Debug {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let supervisor = Supervisor::find(app)?;
        let (verb, told) = match self.fault {
            Fault::Panic { actor } => {
                let told = format!("{actor} was told to panic");
                (Verb::Panic { actor }, told)
            }
            Fault::Block { actor, ms } => {
                let told = format!("{actor} was told to block for {ms} ms");
                (Verb::Block { actor, ms }, told)
            }
        };
        supervisor.ask(verb, SHORT).await?;
        app.ui.say(told);
        Ok(Exit::Ok)
    }
}
