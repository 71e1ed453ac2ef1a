//! `orchestrator session`: the chats of a deployment, from a terminal. One file per thing that can be done with one; which
//! session is meant is [`resolve`](crate::cli::resolve)'s to say. What concerns the assistant itself (`stop`, `resume`, `attach`)
//! is asked of the supervisor here, the rest of the deployment, so that it works from anywhere.

mod attach;
mod awake;
mod export;
mod list;
mod show;
mod stop;
mod tail;

use clap::{Args, Subcommand};

use crate::cli::connection::{Connection, connect};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::{Target, session};

/// List, read and follow sessions; stop, resume and enter their assistants
#[derive(Debug, Args)]
pub struct Session {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    Tail(tail::Tail),
    Stop(stop::Stop),
    Resume(awake::Resume),
    Export(export::Export),
    Attach(attach::Attach),
}

/// Which session.
#[derive(Debug, Args)]
struct Named {
    /// Its id or a unique start of it, or its title
    session: String,
}

/// A session that was found.
struct Found {
    id: String,
    worker_id: String,
    worker: String,
}

impl Named {
    async fn find(&self, connection: &Connection) -> Result<Found, Failure> {
        match session(connection, &self.session).await? {
            Target::Session {
                id,
                worker_id,
                worker,
            } => Ok(Found {
                id,
                worker_id,
                worker,
            }),
            Target::Worker { name, .. } => Err(Failure::usage(format!(
                "`{name}` is a worker, not a session"
            ))
            .hint("its sessions: orchestrator session list")),
        }
    }
}

impl Session {
    pub fn wants_json(&self) -> bool {
        match &self.command {
            Command::List(command) => command.json,
            Command::Show(command) => command.json,
            Command::Tail(command) => command.json,
            Command::Export(command) => command.wants_json(),
            Command::Stop(_) | Command::Resume(_) | Command::Attach(_) => false,
        }
    }

    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let connection = connect(app).await?;
        match self.command {
            Command::List(command) => command.execute(app, &connection).await,
            Command::Show(command) => command.execute(app, &connection).await,
            Command::Tail(command) => command.execute(app, &connection).await,
            Command::Stop(command) => command.execute(app, &connection).await,
            Command::Resume(command) => command.execute(app, &connection).await,
            Command::Export(command) => command.execute(app, &connection).await,
            Command::Attach(command) => command.execute(app, &connection).await,
        }
    }
}
