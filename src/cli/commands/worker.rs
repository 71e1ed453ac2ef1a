//! `orchestrator worker`: the directories of a deployment, and who may serve them.

mod add;
mod manage;
mod token;

pub(super) use manage::tell_supervisor;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::connection::{Connection, connect};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::{worker_exactly as find_worker, workers};
use crate::cli::rows::WorkerRow;
use crate::ui::format::quoted;

/// List, add, approve, revoke, pause and remove workers
#[derive(Debug, Args)]
pub struct Worker {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The workers of the deployment
    List {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    Add(add::New),
    /// Let a worker serve
    Approve {
        /// Its name or id
        worker: String,
        /// One that was revoked, too: its old token is valid again
        #[arg(long)]
        restore: bool,
    },
    /// Take the right away: its supervisor is cut off, its turns are closed
    Revoke {
        /// Its name or id
        worker: String,
    },
    /// Take a worker away for good: on its deployment, in workers.json, and from the running supervisor
    Remove {
        /// Its name or id
        worker: String,
        /// Take the entry out of workers.json and leave the deployment alone
        #[arg(long)]
        entry_only: bool,
    },
    /// Let it finish what it has begun and take no new turns, also after a restart
    Pause {
        /// Its name or id
        worker: String,
    },
    /// Let a paused worker take turns again
    Resume {
        /// Its name or id
        worker: String,
    },
    Token(token::Rotation),
    /// What people try first; it is an option of `token`
    #[command(hide = true)]
    Rotate {
        worker: String,
    },
}

impl Worker {
    pub fn wants_json(&self) -> bool {
        match &self.command {
            Command::List { json } => *json,
            Command::Add(new) => new.json,
            _ => false,
        }
    }

    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        match self.command {
            Command::List { json } => {
                let connection = connect(app).await?;
                list(app, &connection, json).await?;
            }
            Command::Add(new) => new.add(app).await?,
            Command::Approve { worker, restore } => approve(app, &worker, restore).await?,
            Command::Revoke { worker } => {
                let connection = connect(app).await?;
                let found = find_worker(&connection, &worker).await?;
                change(app, &connection, &found, "workers:revoke", "revoked").await?;
            }
            Command::Remove { worker, entry_only } => {
                manage::remove(app, &worker, entry_only).await?;
            }
            Command::Pause { worker } => manage::pause(app, &worker, true).await?,
            Command::Resume { worker } => manage::pause(app, &worker, false).await?,
            Command::Token(rotation) => rotation.execute(app).await?,
            Command::Rotate { worker } => {
                return Err(
                    Failure::usage("a worker's token is exchanged with another command").hint(
                        format!("orchestrator worker token {} --rotate", quoted(&worker)),
                    ),
                );
            }
        }
        Ok(Exit::Ok)
    }
}

async fn list(app: &App, connection: &Connection, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let query = connection.client.query("workers:list", json!({}));
        let (rows, called) = tokio::join!(query, connection.called());
        let mut rows = rows?;
        for row in rows.as_array_mut().into_iter().flatten() {
            // As `ps` and the list for people have it; `name` is the deployment's.
            let known = called.iter().find(|(id, _)| row["workerId"] == **id);
            row["called"] = known.map_or_else(|| row["name"].clone(), |(_, name)| json!(name));
        }
        app.ui.json(&json!({"schema": 1, "workers": rows}));
        return Ok(());
    }
    let rows = workers(connection).await?;
    if rows.is_empty() {
        app.ui
            .say("no workers yet; orchestrator worker add DIR adds one");
    }
    for row in rows {
        app.ui.line(format!(
            "{}  {:8}  {}  {}",
            row.worker_id,
            row.state,
            row.label(),
            row.directory
        ));
    }
    Ok(())
}

async fn approve(app: &App, name: &str, restore: bool) -> Result<(), Failure> {
    let connection = connect(app).await?;
    let found = find_worker(&connection, name).await?;
    let done = if found.state == "revoked" {
        may_restore(&found, restore)?;
        "approved; its old token is valid again"
    } else {
        "approved"
    };
    change(app, &connection, &found, "workers:approve", done).await
}

/// Whoever was cut off holds the token still: giving it its right back must be meant.
fn may_restore(found: &WorkerRow, restore: bool) -> Result<(), Failure> {
    if restore {
        return Ok(());
    }
    let id = &found.worker_id;
    Err(Failure::usage(format!(
        "worker {} ({id}) is revoked: approving it makes its old token valid again, for everybody who has it",
        found.label()
    ))
    .hint(format!(
        "if that is meant: orchestrator worker approve {id} --restore; else make a new worker: orchestrator worker add DIR"
    )))
}

async fn change(
    app: &App,
    connection: &Connection,
    found: &WorkerRow,
    function: &str,
    done: &str,
) -> Result<(), Failure> {
    let args = json!({"workerId": found.worker_id});
    connection.client.mutation(function, args).await?;
    app.ui.say(format!(
        "worker {} ({}) {done}",
        found.label(),
        found.worker_id
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revoked_worker_is_restored_only_when_that_is_meant() {
        let found = WorkerRow {
            worker_id: "w1".to_owned(),
            machine_id: "m".to_owned(),
            name: "shop".to_owned(),
            directory: "/a".to_owned(),
            state: "revoked".to_owned(),
            connected_at: None,
            called: None,
        };
        let failure = may_restore(&found, false).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.hint.unwrap().contains("approve w1 --restore"));
        assert!(may_restore(&found, true).is_ok());
    }
}
