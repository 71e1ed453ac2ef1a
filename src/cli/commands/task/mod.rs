//! `orchestrator task`: the tasks of a deployment, from their owner's side: put into a queue, looked at, waited for, called
//! off. One file per command. What a worker's supervisor does with them is not here; `done` and `fail` are for whoever
//! plays a role, `git-state` and `verify-chain` look into a repository of this machine and change nothing in it.

mod add;
mod cancel;
mod drop;
mod figures;
mod git_state;
mod list;
mod live;
mod queue;
mod report;
mod repository;
mod result;
mod retry;
mod row;
mod run;
mod show;
mod texts;
mod verify_chain;

use clap::{Args, Subcommand};

use crate::cli::connection::connect;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;

/// Leave tasks, one branch each, and see what became of them
#[derive(Debug, Args)]
pub struct Task {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Add(add::Add),
    List(list::List),
    Show(show::Show),
    Run(run::Run),
    Retry(retry::Retry),
    Cancel(cancel::Cancel),
    Drop(drop::Drop),
    Done(result::Done),
    Fail(result::Fail),
    GitState(git_state::GitState),
    VerifyChain(verify_chain::VerifyChain),
}

impl Task {
    pub fn wants_json(&self) -> bool {
        match &self.command {
            Command::Add(command) => command.json,
            Command::List(command) => command.json,
            Command::Show(command) => command.json,
            Command::Run(command) => command.json,
            Command::GitState(command) => command.json,
            Command::VerifyChain(command) => command.json,
            Command::Retry(_)
            | Command::Cancel(_)
            | Command::Drop(_)
            | Command::Done(_)
            | Command::Fail(_) => false,
        }
    }

    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        match self.command {
            // What is wrong with the texts is said before anybody is asked for anything.
            Command::Add(command) => command.execute(app).await,
            Command::List(command) => command.execute(app, &connect(app).await?).await,
            Command::Show(command) => command.execute(app, &connect(app).await?).await,
            Command::Run(command) => command.execute(app, &connect(app).await?).await,
            Command::Retry(command) => command.execute(app, &connect(app).await?).await,
            Command::Cancel(command) => command.execute(app, &connect(app).await?).await,
            Command::Drop(command) => command.execute(app, &connect(app).await?).await,
            Command::Done(command) => command.execute(app).await,
            Command::Fail(command) => command.execute(app).await,
            Command::GitState(command) => command.execute(app).await,
            Command::VerifyChain(command) => command.execute(app, &connect(app).await?).await,
        }
    }
}
