//! `orchestrator worker`: the directories of a deployment, and who may serve them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use crate::cli::connection::{Connection, connect};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::{worker, workers};
use crate::cli::rows::read;
use crate::config::append_worker;
use crate::daemon::compose;

/// List, add, approve and revoke workers
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
    /// Add a directory of this machine: a pending worker, and its entry in workers.json
    Add {
        /// The directory to serve
        directory: PathBuf,
        /// What people call it [default: the directory's last part]
        #[arg(long)]
        name: Option<String>,
        /// Approve it at once
        #[arg(long)]
        approve: bool,
        /// Print the token instead of writing workers.json
        #[arg(long)]
        print_token: bool,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let a worker serve
    Approve {
        /// Its name or id
        worker: String,
    },
    /// Take the right away: its supervisor is cut off, its turns are closed
    Revoke {
        /// Its name or id
        worker: String,
    },
}

impl Worker {
    pub fn wants_json(&self) -> bool {
        matches!(
            self.command,
            Command::List { json: true } | Command::Add { json: true, .. }
        )
    }

    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        match self.command {
            Command::List { json } => {
                let connection = connect(app).await?;
                list(app, &connection, json).await?;
            }
            Command::Add {
                directory,
                name,
                approve,
                print_token,
                json,
            } => {
                let new = New {
                    directory,
                    name,
                    approve,
                    print_token,
                    json,
                };
                new.add(app).await?;
            }
            Command::Approve { worker } => {
                change(app, &worker, "workers:approve", "approved").await?;
            }
            Command::Revoke { worker } => {
                change(app, &worker, "workers:revoke", "revoked").await?;
            }
        }
        Ok(Exit::Ok)
    }
}

async fn list(app: &App, connection: &Connection, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let rows = connection.client.query("workers:list", json!({})).await?;
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
            row.worker_id, row.state, row.name, row.directory
        ));
    }
    Ok(())
}

async fn change(app: &App, name: &str, function: &str, done: &str) -> Result<(), Failure> {
    let connection = connect(app).await?;
    let found = worker(&connection, name).await?;
    let args = json!({"workerId": found.worker_id});
    connection.client.mutation(function, args).await?;
    app.ui.say(format!(
        "worker {} ({}) {done}",
        found.name, found.worker_id
    ));
    Ok(())
}

struct New {
    directory: PathBuf,
    name: Option<String>,
    approve: bool,
    print_token: bool,
    json: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    worker_id: String,
    token: String,
}

impl New {
    async fn add(self, app: &App) -> Result<(), Failure> {
        let directory = std::fs::canonicalize(&self.directory)
            .ok()
            .filter(|path| path.is_dir())
            .ok_or_else(|| {
                Failure::usage(format!(
                    "working directory {} does not exist",
                    self.directory.display()
                ))
            })?;
        let connection = connect(app).await?;
        let machine = compose::machine(&app.paths, None).map_err(Failure::failed)?;
        compose::register_machine(&connection.client, &machine)
            .await
            .map_err(Failure::from)?;
        let name = self.name.clone().unwrap_or_else(|| {
            directory.file_name().map_or_else(
                || "root".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            )
        });
        let args = json!({
            "workerId": compose::new_worker_id(),
            "machineId": machine.id,
            "name": name,
            "directory": directory.display().to_string(),
        });
        let value = connection.client.mutation("workers:create", args).await?;
        let created: Created = read("workers:create", value)?;
        if self.approve {
            let args = json!({"workerId": created.worker_id});
            connection.client.mutation("workers:approve", args).await?;
        }
        let state = if self.approve { "approved" } else { "pending" };
        if !self.print_token {
            append_worker(
                &app.paths.workers_file,
                &created.token,
                &directory,
                &connection.url,
                self.name.as_deref(),
            )
            .map_err(Failure::failed)?;
            app.ui.say(format!(
                "wrote {}",
                app.paths.shown(&app.paths.workers_file)
            ));
        }
        if self.json {
            let token = self.print_token.then_some(&created.token);
            app.ui.json(&json!({
                "schema": 1,
                "workerId": created.worker_id,
                "state": state,
                "token": token,
            }));
        } else if self.print_token {
            app.ui.line(&created.token);
        } else {
            app.ui.line(created.worker_id.clone());
        }
        let next = if self.approve {
            "orchestrator run serves it; a running one takes it with orchestrator reload".to_owned()
        } else {
            format!(
                "approve it: orchestrator worker approve {}",
                created.worker_id
            )
        };
        app.ui.say(format!("worker {name} is {state}; {next}"));
        Ok(())
    }
}
