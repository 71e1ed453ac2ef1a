//! `orchestrator task cancel`.

use clap::Args;
use serde_json::json;

use super::queue::SomeTasks;
use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;

/// Call tasks off; what a running one has begun is undone
#[derive(Debug, Args)]
pub struct Cancel {
    #[command(flatten)]
    tasks: SomeTasks,
}

impl Cancel {
    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        for id in self.tasks.ids(connection).await? {
            let answer = connection
                .client
                .mutation("tasks:cancel", json!({"taskId": id}))
                .await?;
            app.ui.say(match answer["state"].as_str() {
                Some("canceled") => format!("task {id} is called off"),
                Some("running") => {
                    format!(
                        "task {id} is told to stop: what it has done is undone and kept, and a push that has arrived is taken back"
                    )
                }
                state => format!("task {id} is {} already", state.unwrap_or("over")),
            });
        }
        Ok(Exit::Ok)
    }
}
