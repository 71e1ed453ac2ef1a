//! `worker add`: a pending worker on the deployment, and its entry in `workers.json`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use crate::cli::commands::config::check_new_name;
use crate::cli::connection::{Found, connect, find};
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::cli::supervisor::Supervisor;
use crate::config::{Edit, NewEntry, WorkersConfig};
use crate::daemon::{DaemonFile, compose};

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

/// An address that is gone with the deployment's next start is nothing to write down: a later `run` would wait for it for
/// ever. Whoever names it with `--url` means it.
fn refuse_a_passing_address(found: &Found, running: Option<&DaemonFile>) -> Result<(), Failure> {
    let passing = running.is_some_and(|file| {
        file.passing && file.exited.is_none() && file.url.as_ref() == Some(&found.url)
    });
    if !passing {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the deployment {} runs on a random port: it is elsewhere after its next start, and workers.json must not name it",
        found.url
    ))
    .hint(
        "give it a port: orchestrator run --local without --port 0; or name a deployment that stays with --url, or \
         print the token instead with --print-token",
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
            if app.globals.url.is_none() {
                let running = DaemonFile::read(&app.paths.daemon_file());
                refuse_a_passing_address(&find(app)?, running.as_ref())?;
            }
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

    #[test]
    fn an_address_that_is_gone_after_the_next_start_is_not_written_down() {
        let found = |url: &str| Found {
            url: url.to_owned(),
            key: None,
            page: None,
        };
        let file = |passing: bool| -> DaemonFile {
            let mut file = json!({
                "schema": 1, "pid": 7, "started_at": "", "version": "", "mode": "local", "socket": "s",
                "url": "http://127.0.0.1:40001", "owner_key": null,
            });
            if passing {
                file["passing"] = true.into();
            }
            serde_json::from_value(file).unwrap()
        };
        let here = found("http://127.0.0.1:40001");
        let refused = refuse_a_passing_address(&here, Some(&file(true))).unwrap_err();
        assert!(
            format!("{refused:?}").contains("random port"),
            "{refused:?}"
        );
        let elsewhere = found("https://happy.convex.cloud");
        for (found, running) in [
            (&here, Some(file(false))),
            (&elsewhere, Some(file(true))),
            (&here, None),
        ] {
            assert!(refuse_a_passing_address(found, running.as_ref()).is_ok());
        }
    }
}
