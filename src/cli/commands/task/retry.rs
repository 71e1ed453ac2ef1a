//! `orchestrator task retry`.

use clap::Args;
use serde_json::json;

use super::queue::SomeTasks;
use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;

/// Put tasks that failed or were called off back to their places, with all their attempts before them
#[derive(Debug, Args)]
pub struct Retry {
    #[command(flatten)]
    tasks: SomeTasks,
}

impl Retry {
    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        for id in self.tasks.ids(connection).await? {
            let answer = connection
                .client
                .mutation("tasks:retry", json!({"taskId": id}))
                .await?;
            app.ui.say(match answer["state"].as_str() {
                Some("running") => format!("task {id} is running"),
                _ => format!("task {id} waits in its place"),
            });
        }
        Ok(Exit::Ok)
    }
}
