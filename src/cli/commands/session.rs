//! `orchestrator session`: the chats of a deployment.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::connection::{Connection, connect};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::{Target, sessions, target, worker_name, workers};
use crate::cli::rows::{MessageRow, Messages, read};
use crate::cli::turn::print::with_tools;
use crate::ui::format::{age, short};

/// List and read sessions
#[derive(Debug, Args)]
pub struct Session {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The newest sessions
    List {
        /// Ended ones, too
        #[arg(long)]
        all: bool,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// The last messages of a session
    Show {
        /// Its id, or a unique start of it
        session: String,
        /// How many messages
        #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Session {
    pub fn wants_json(&self) -> bool {
        matches!(
            self.command,
            Command::List { json: true, .. } | Command::Show { json: true, .. }
        )
    }

    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let connection = connect(app).await?;
        match self.command {
            Command::List { all, json } => list(app, &connection, all, json).await?,
            Command::Show {
                session,
                limit,
                json,
            } => show(app, &connection, &session, limit, json).await?,
        }
        Ok(Exit::Ok)
    }
}

async fn list(app: &App, connection: &Connection, all: bool, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let args = json!({"includeEnded": all});
        let rows = connection.client.query("sessions:list", args).await?;
        app.ui.json(&json!({"schema": 1, "sessions": rows}));
        return Ok(());
    }
    let workers = workers(connection).await?;
    let rows = sessions(connection, all).await?;
    if rows.is_empty() {
        app.ui.say("no sessions yet; orchestrator chat starts one");
    }
    let now = jiff::Timestamp::now().as_millisecond() as f64;
    for row in rows {
        app.ui.line(format!(
            "{}  {:8}  {:>4}  {}  \"{}\"{}",
            row.session_id,
            row.status,
            age((now - row.last_activity_at).max(0.0) as u64),
            worker_name(&workers, &row.worker_id),
            short(&row.title, 60),
            row.reason
                .map(|reason| format!("  {}", short(&reason, 120)))
                .unwrap_or_default()
        ));
    }
    Ok(())
}

async fn show(
    app: &App,
    connection: &Connection,
    name: &str,
    limit: u32,
    as_json: bool,
) -> Result<(), Failure> {
    let id = match target(connection, Some(name)).await? {
        Target::Session { id, .. } => id,
        Target::Worker { name, .. } => {
            return Err(
                Failure::usage(format!("`{name}` is a worker, not a session"))
                    .hint("its sessions: orchestrator session list"),
            );
        }
    };
    let args = json!({"sessionId": id, "limit": limit});
    let value = connection.client.query("messages:list", args).await?;
    if as_json {
        app.ui
            .json(&json!({"schema": 1, "session": id, "messages": value["messages"]}));
        return Ok(());
    }
    let messages: Messages = read("messages:list", value)?;
    for message in &messages.messages {
        app.ui.line(text_of(message));
    }
    Ok(())
}

fn text_of(message: &MessageRow) -> String {
    if message.role == "user" {
        return format!("you> {}", message.content.as_deref().unwrap_or_default());
    }
    let state = message.state.as_deref().unwrap_or_default();
    let mut text = match &message.parts {
        Some(parts) => with_tools(parts),
        None => String::new(),
    };
    if state != "complete" {
        let reason = message
            .error
            .as_ref()
            .map(|error| format!(": {}", error.message))
            .unwrap_or_default();
        text = format!("{text}\n[{state}{reason}]");
    }
    text.trim_start_matches('\n').to_owned()
}
