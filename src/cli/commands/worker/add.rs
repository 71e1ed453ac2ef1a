//! `worker add`: a pending worker on the deployment, and its entry in `workers.json`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use crate::cli::commands::config::check_new_name;
use crate::cli::connection::connect;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::cli::supervisor::Supervisor;
use crate::config::{Edit, NewEntry, WorkersConfig};
use crate::daemon::compose;

/// Add a directory of this machine: a pending worker, and its entry in workers.json
#[derive(Debug, Args)]
pub(super) struct New {
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
    pub json: bool,
}

/// Two workers cannot serve one directory.
fn refuse_a_second(app: &App, directory: &Path, config: &WorkersConfig) -> Result<(), Failure> {
    let same = config.workers.iter().find(|entry| {
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

/// What serves directories that are named at its start takes none from a file.
fn unserved(mode: Option<&str>) -> Option<String> {
    let (flag, way) = match mode? {
        "local" => (
            "--local",
            "stop it and start orchestrator run --local with this directory, too",
        ),
        "dev" => ("--dev", "stop it and start orchestrator run in its place"),
        _ => return None,
    };
    Some(format!(
        "warning: the supervisor that runs was started with {flag} and does not read workers.json: it will not serve this \
         worker; {way}"
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    worker_id: String,
    token: String,
}

impl New {
    pub async fn add(self, app: &App) -> Result<(), Failure> {
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
        // Before the deployment is asked: what cannot be written down must not be made there.
        let edit = if self.print_token {
            None
        } else {
            let path = &app.paths.workers_file;
            let (edit, config) = Edit::to_add(path, &app.base(), app.url_rule())?;
            refuse_a_second(app, &directory, &config)?;
            check_new_name(self.name.as_deref(), &config)?;
            Some(edit)
        };
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
        if let Some(mut edit) = edit {
            let entry = NewEntry::new(&created.token, &directory, &connection.url)
                .named(self.name.as_deref());
            if let Err(reason) = edit.append(entry).and_then(|()| edit.write()) {
                // Better on the screen of its owner than nowhere.
                app.ui.line(&created.token);
                return Err(Failure::failed(reason).hint(format!(
                    "worker {} is made and its token above: put it into workers.json yourself, or: orchestrator worker remove {0}",
                    created.worker_id
                )));
            }
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
        let supervisor = Supervisor::find(app).ok().and_then(|one| one.file);
        let mode = supervisor.as_ref().map(|file| file.mode.as_str());
        if let Some(unserved) = unserved(mode) {
            app.ui.error(&unserved);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_that_reads_no_file_is_warned_of() {
        for mode in ["local", "dev"] {
            let told = unserved(Some(mode)).unwrap();
            assert!(told.contains(&format!("--{mode}")), "{told}");
            assert!(told.contains("will not serve"), "{told}");
        }
        assert_eq!(unserved(Some("workers")), None);
        assert_eq!(unserved(None), None);
    }
}
