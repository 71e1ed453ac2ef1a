//! `orchestrator worker`: the directories of a deployment, and who may serve them.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use crate::cli::connection::{Connection, connect};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::{worker as find_worker, workers};
use crate::cli::rows::{WorkerRow, read};
use crate::config::{append_worker, load};
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
        /// One that was revoked, too: its old token is valid again
        #[arg(long)]
        restore: bool,
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
            Command::Approve { worker, restore } => approve(app, &worker, restore).await?,
            Command::Revoke { worker } => {
                let connection = connect(app).await?;
                let found = find_worker(&connection, &worker).await?;
                change(app, &connection, &found, "workers:revoke", "revoked").await?;
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

/// Two workers cannot serve one directory. A file that cannot be read is told of when it is written.
fn refuse_a_second(app: &App, directory: &Path) -> Result<(), Failure> {
    let Ok(loaded) = load(&app.paths.workers_file, &app.base(), app.url_rule()) else {
        return Ok(());
    };
    let same = loaded.config.workers.iter().find(|entry| {
        let real = std::fs::canonicalize(&entry.directory);
        real.as_deref().unwrap_or(&entry.directory) == directory
    });
    match same {
        None => Ok(()),
        Some(entry) => Err(Failure::usage(format!(
            "worker {} ({}) in {} has the directory {} already",
            entry.name,
            entry.token.worker(),
            app.paths.shown(&app.paths.workers_file),
            directory.display()
        ))
        .hint("orchestrator worker list shows its state; take its entry out of the file to add it anew")),
    }
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
                .hint("a relative path is looked for in the folder you are in; make the directory first")
            })?;
        if !self.print_token {
            refuse_a_second(app, &directory)?;
        }
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
