//! `orchestrator session list`.

use clap::Args;
use serde_json::json;

use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::{sessions, worker_name, workers};
use crate::ui::format::{age, short};

/// The newest sessions: awake (its assistant is up), idle, pending, failed, ended
#[derive(Debug, Args)]
pub struct List {
    /// Ended ones, too
    #[arg(long)]
    all: bool,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

impl List {
    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        if self.json {
            let args = json!({"includeEnded": self.all});
            let rows = connection.client.query("sessions:list", args).await?;
            app.ui.json(&json!({"schema": 1, "sessions": rows}));
            return Ok(Exit::Ok);
        }
        let workers = workers(connection).await?;
        let rows = sessions(connection, self.all).await?;
        if rows.is_empty() {
            app.ui.say(nothing(self.all));
        }
        let now = jiff::Timestamp::now().as_millisecond() as f64;
        for row in rows {
            app.ui.line(format!(
                "{}  {:8}  {:>4}  {}  \"{}\"{}",
                row.session_id,
                status(row.standing()),
                age((now - row.last_activity_at).max(0.0) as u64),
                worker_name(&workers, &row.worker_id),
                short(&row.title, 60),
                row.reason
                    .as_deref()
                    .map(|reason| format!("  {}", short(reason, 120)))
                    .unwrap_or_default()
            ));
        }
        Ok(Exit::Ok)
    }
}

/// `active` is what `ps` says of a session with a running turn; the deployment says it of one whose assistant is up.
fn status(text: &str) -> &str {
    match text {
        "active" => "awake",
        other => other,
    }
}

fn nothing(all: bool) -> &'static str {
    if all {
        "no sessions yet; orchestrator chat starts one"
    } else {
        "no open sessions; orchestrator session list --all shows ended ones, orchestrator chat starts one"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_ended_sessions_are_left_out_is_said() {
        assert!(nothing(false).contains("session list --all"));
        assert!(nothing(true).starts_with("no sessions yet"));
    }
}
