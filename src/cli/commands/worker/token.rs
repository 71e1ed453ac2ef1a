//! `worker token NAME --rotate`: a new token in the place of the old one. The new one goes into the file that holds the old
//! one and from there to the running supervisor, whose sessions go on: the deployment keeps the old one valid until the
//! supervisor has changed over. No token is lost on the way: where it will be kept is found out before it is made.

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::manage::{configured, on_its_deployment, serving_the_file, tell_supervisor};
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::config::Edit;

/// What a running supervisor has to change over; it takes well under a second.
const KEEP_OLDER_MS: u32 = 10_000;

/// A worker's token: make a new one
#[derive(Debug, Args)]
pub(super) struct Rotation {
    /// Its name or id
    worker: String,
    /// Make a new one; the old one ends
    #[arg(long, required = true)]
    rotate: bool,
    /// Print the new token instead of writing workers.json
    #[arg(long)]
    print_token: bool,
}

#[derive(Deserialize)]
struct Rotated {
    token: String,
}

impl Rotation {
    pub async fn execute(self, app: &App) -> Result<(), Failure> {
        let name = &self.worker;
        let entry = configured(app, name)?;
        if entry.is_none() && !self.print_token {
            let file = app.paths.shown(&app.paths.workers_file);
            return Err(Failure::usage(format!("worker {name} is not in {file}"))
                .hint("--print-token gives the new token to you; put it where the old one is"));
        }
        // Before the old one ends: a file that cannot be written must not cost the only copy of the new one.
        let edit = if self.print_token {
            None
        } else {
            Some(Edit::open(&app.paths.workers_file)?)
        };
        let (connection, id) = on_its_deployment(app, name, entry.as_ref()).await?;
        let is_served = edit.is_some() && serving_the_file(app).is_some();
        let mut args = json!({"workerId": id});
        if is_served {
            args["keepOlderMs"] = json!(KEEP_OLDER_MS);
        }
        let value = connection.client.mutation("workers:rotate", args).await?;
        let rotated: Rotated = read("workers:rotate", value)?;
        let Some(mut edit) = edit else {
            app.ui.line(&rotated.token);
            app.ui.say(format!(
                "worker {name} has a new token; the old one is not valid any more"
            ));
            return Ok(());
        };
        edit.set_token(&id, &rotated.token);
        if let Err(reason) = edit.write() {
            // Better on the screen of its owner than nowhere.
            app.ui.line(&rotated.token);
            return Err(Failure::failed(reason).hint(
                "the new token is above: put it into workers.json yourself, then: orchestrator reload",
            ));
        }
        let file = app.paths.shown(&app.paths.workers_file);
        app.ui
            .say(format!("worker {name} has a new token; wrote {file}"));
        tell_supervisor(app).await
    }
}
