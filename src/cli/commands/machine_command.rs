//! `orchestrator machine command`: what an owner asks of a machine through the deployment. The answer is waited for, since
//! a command that nobody takes fails by itself.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::connection::{Connection, connect};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::config::parse_duration;
use crate::daemon::compose;
use crate::ui::format::{age, plural, printable, short};

#[derive(Debug, Subcommand)]
pub enum MachineCommand {
    /// Ask whether a supervisor of the machine answers
    Ping(Asked),
    /// Ask for the tree of the deployment's workers there, as JSON
    Status(Asked),
    /// Start an assistant for a room's role
    StartAgent {
        #[command(flatten)]
        role: Role,
        /// Which assistant; needed the first time
        #[arg(long)]
        tool: Option<String>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Stop the assistant of a room's role
    StopAgent {
        #[command(flatten)]
        role: Role,
        #[command(flatten)]
        asked: Asked,
    },
    /// What was asked, the newest first, and how the roles stand
    List {
        /// As one JSON object
        #[arg(long)]
        json: bool,
        /// The machine [default: this one]
        #[arg(long)]
        machine: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct Role {
    #[arg(long)]
    room: String,
    #[arg(long)]
    role: String,
}

#[derive(Debug, Args)]
pub struct Asked {
    /// The machine [default: this one]
    #[arg(long)]
    machine: Option<String>,
    /// The worker that is to do it
    #[arg(long)]
    worker: Option<String>,
    /// Give up waiting for the result after this time
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    command_id: String,
    #[serde(rename = "type")]
    kind: String,
    state: String,
    room: Option<String>,
    role: Option<String>,
    result: Option<String>,
    error: Option<Value>,
    created_at: f64,
}

/// How a role stands, whoever ended it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoleRow {
    room: String,
    role: String,
    agent_type: String,
    run: RunRow,
    updated_at: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunRow {
    state: String,
    started_at: Option<f64>,
    ended_at: Option<f64>,
    reason: Option<String>,
}

impl Row {
    fn result(&self) -> Value {
        self.result.as_deref().map_or(Value::Null, unfolded)
    }
}

/// A tree of actors is written as JSON; other results are texts.
fn unfolded(result: &str) -> Value {
    let tree = serde_json::from_str(result).ok().filter(Value::is_object);
    tree.unwrap_or_else(|| Value::from(result))
}

impl MachineCommand {
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Ping(asked)
            | Self::Status(asked)
            | Self::StartAgent { asked, .. }
            | Self::StopAgent { asked, .. } => asked.json,
            Self::List { json, .. } => *json,
        }
    }

    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        match self {
            Self::Ping(asked) => ask(app, "ping", asked, json!({})).await,
            Self::Status(asked) => ask(app, "status", asked, json!({})).await,
            Self::StartAgent { role, tool, asked } => {
                let mut more = json!({"room": role.room, "role": role.role});
                if let Some(tool) = tool {
                    more["tool"] = Value::from(tool);
                }
                ask(app, "start-agent", asked, more).await
            }
            Self::StopAgent { role, asked } => {
                let more = json!({"room": role.room, "role": role.role});
                ask(app, "stop-agent", asked, more).await
            }
            Self::List { json, machine } => list(app, machine, json).await,
        }
    }
}

fn machine_of(app: &App, named: Option<String>) -> Result<String, Failure> {
    match named {
        Some(id) => Ok(id),
        None => compose::machine(&app.paths, None)
            .map(|machine| machine.id)
            .map_err(Failure::failed),
    }
}

async fn ask(app: &App, kind: &str, asked: Asked, more: Value) -> Result<Exit, Failure> {
    let machine = machine_of(app, asked.machine)?;
    let connection = connect(app).await?;
    let id = uuid::Uuid::now_v7().to_string();
    let mut args = json!({"id": id, "machineId": machine, "type": kind});
    if let Some(worker) = &asked.worker {
        let found = crate::cli::resolve::worker(&connection, worker).await?;
        args["workerId"] = Value::from(found.worker_id);
    }
    if let (Value::Object(args), Value::Object(more)) = (&mut args, more) {
        args.extend(more);
    }
    connection.client.mutation("commands:send", args).await?;
    let row = tokio::time::timeout(asked.timeout, ended(&connection, &machine, &id))
        .await
        .map_err(|_| {
            Failure::new(
                Exit::TimedOut,
                format!(
                    "no result of {kind} within {}",
                    crate::ui::format::duration(asked.timeout)
                ),
            )
            .hint(
                "it is still asked for: orchestrator machine command list shows what becomes of it",
            )
        })??;
    if asked.json {
        app.ui.json(&json!({
            "schema": 1,
            "commandId": row.command_id,
            "state": row.state,
            "result": row.result(),
            "error": row.error,
        }));
    }
    if row.state == "completed" {
        if !asked.json {
            let shown = match row.result() {
                Value::String(text) => text,
                Value::Null => String::new(),
                tree => format!("{tree:#}"),
            };
            app.ui.foreign(&format!("{shown}\n"));
        }
        return Ok(Exit::Ok);
    }
    let error = row.error.unwrap_or_default();
    let text = error["message"]
        .as_str()
        .unwrap_or("it failed without saying why");
    if asked.json {
        return Ok(Exit::Failed);
    }
    Err(Failure::failed(format!("{kind}: {text}")))
}

/// The row once it is `completed` or `failed`.
async fn ended(connection: &Connection, machine: &str, id: &str) -> Result<Row, Failure> {
    let args = json!({"machineId": machine});
    let mut news = connection.client.subscribe("commands:list", args);
    while let Some(rows) = news.recv().await {
        let rows: Vec<Row> = read("commands:list", rows?)?;
        let row = rows.into_iter().find(|row| row.command_id == id);
        if let Some(row) = row
            && (row.state == "completed" || row.state == "failed")
        {
            return Ok(row);
        }
    }
    Err(Failure::failed("the deployment stopped answering"))
}

async fn list(app: &App, machine: Option<String>, as_json: bool) -> Result<Exit, Failure> {
    let machine = machine_of(app, machine)?;
    let connection = connect(app).await?;
    let args = json!({"machineId": machine});
    let (rows, roles) = tokio::join!(
        connection.client.query("commands:list", args.clone()),
        connection.client.query("agentConfigs:list", args),
    );
    let (mut rows, roles) = (rows?, roles?);
    if as_json {
        for row in rows.as_array_mut().into_iter().flatten() {
            if let Some(result) = row["result"].as_str().map(unfolded) {
                row["result"] = result;
            }
        }
        app.ui
            .json(&json!({"schema": 1, "commands": rows, "roles": roles}));
        return Ok(Exit::Ok);
    }
    let rows: Vec<Row> = read("commands:list", rows)?;
    let roles: Vec<RoleRow> = read("agentConfigs:list", roles)?;
    if rows.is_empty() {
        app.ui.say("nothing was asked of this machine");
    }
    let now = jiff::Timestamp::now().as_millisecond() as f64;
    for row in rows {
        app.ui.line(listed(&row, now));
    }
    for role in roles {
        app.ui.line(playing(&role, now));
    }
    Ok(Exit::Ok)
}

/// `role den/builder  ended     12m  claude  it ended by itself`.
fn playing(role: &RoleRow, now_ms: f64) -> String {
    let run = &role.run;
    let at = run.ended_at.or(run.started_at).unwrap_or(role.updated_at);
    let line = printable(&format!(
        "role {}/{}  {:>4}  {:<10}  {}  {}",
        role.room,
        role.role,
        age((now_ms - at).max(0.0) as u64),
        run.state,
        role.agent_type,
        short(run.reason.as_deref().unwrap_or_default(), 120)
    ));
    line.trim_end().to_owned()
}

fn listed(row: &Row, now_ms: f64) -> String {
    let target = match (&row.room, &row.role) {
        (Some(room), Some(role)) => format!("{room}/{role}"),
        _ => String::new(),
    };
    let why = row
        .error
        .as_ref()
        .and_then(|error| error["message"].as_str());
    let result = match row.result() {
        Value::String(text) => short(&text, 80),
        Value::Null => String::new(),
        tree => tree["actors"]
            .as_array()
            .map_or_else(String::new, |actors| {
                format!("{} (--json shows them)", plural(actors.len(), "actor"))
            }),
    };
    let line = printable(&format!(
        "{}  {:>4}  {:<10}  {:<11}  {target}  {}",
        row.command_id,
        age((now_ms - row.created_at).max(0.0) as u64),
        row.state,
        row.kind,
        why.unwrap_or(&result)
    ));
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_assistant_said_at_its_end_is_listed_without_its_escapes_in_one_line() {
        let row: Row = serde_json::from_value(json!({
            "commandId": "c1", "createdAt": 0, "type": "start-agent", "state": "failed", "room": "den", "role": "builder",
            "error": {"message": "it ended; \u{1b}]52;c;eA==\u{7}its last line:\n\u{1b}[2Jlog in"},
        }))
        .unwrap();
        let line = listed(&row, 0.0);
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(
            line.contains("den/builder  it ended") && line.ends_with("log in"),
            "{line:?}"
        );
    }

    #[test]
    fn a_role_that_has_ended_by_itself_is_listed_with_the_reason() {
        let role: RoleRow = serde_json::from_value(json!({
            "room": "den", "role": "builder", "agentType": "claude", "updatedAt": 1_000,
            "run": {"state": "ended", "startedAt": 500, "endedAt": 1_000, "reason": "it ended by itself"},
        }))
        .unwrap();
        assert_eq!(
            playing(&role, 61_000.0),
            "role den/builder    1m  ended       claude  it ended by itself"
        );
    }

    #[test]
    fn a_result_is_listed_in_a_line_and_a_tree_is_no_text() {
        let row = |result: &str| -> Row {
            serde_json::from_value(json!({
                "commandId": "c1", "createdAt": 1_000, "type": "status", "state": "completed", "result": result,
            }))
            .unwrap()
        };
        let pong = row("pong");
        assert_eq!(pong.result(), "pong");
        let line = listed(&pong, 61_000.0);
        assert!(line.starts_with("c1    1m  completed"), "{line}");
        assert!(line.ends_with("pong"), "{line}");
        let tree = row(r#"{"schema":1,"actors":[{"name":"shop"}],"leftOut":0}"#);
        assert_eq!(tree.result()["actors"][0]["name"], "shop");
        let line = listed(&tree, 61_000.0);
        assert!(line.ends_with("1 actor (--json shows them)"), "{line}");
    }
}
