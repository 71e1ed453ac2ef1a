//! `orchestrator task drop`.

use clap::Args;
use serde_json::json;

use super::queue::SomeTasks;
use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;

/// Forget tasks that do not run; their branches stay
#[derive(Debug, Args)]
pub struct Drop {
    #[command(flatten)]
    tasks: SomeTasks,
}

impl Drop {
    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        for id in self.tasks.ids(connection).await? {
            connection
                .client
                .mutation("tasks:drop", json!({"taskId": id}))
                .await?;
            app.ui.say(format!("task {id} is forgotten"));
        }
        Ok(Exit::Ok)
    }
}
