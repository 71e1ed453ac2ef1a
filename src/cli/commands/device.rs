//! `orchestrator device`: what was paired, and taking it back.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::adapters::clock::wall_ms;
use crate::cli::connection::{Connection, connect};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::{DeviceRow, read};
use crate::ui::format::{age, printable};

/// List and revoke paired devices
#[derive(Debug, Args)]
pub struct Device {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The devices that are paired, codes that wait, and what was revoked lately
    List {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take a device's token back, or a code that waits: what it shows ends at once
    Revoke {
        /// Its name or id
        device: String,
    },
    /// Call it something else
    Rename {
        /// Its name or id
        device: String,
        /// The new name
        name: String,
    },
}

impl Device {
    pub fn wants_json(&self) -> bool {
        matches!(self.command, Command::List { json: true })
    }

    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let connection = connect(app).await?;
        match self.command {
            Command::List { json: true } => {
                let rows = connection.client.query("devices:list", json!({})).await?;
                app.ui.json(&json!({"schema": 1, "devices": rows}));
            }
            Command::List { json: false } => list(app, &devices(&connection).await?),
            Command::Revoke { device } => {
                let found = named(devices(&connection).await?, &device)?;
                let args = json!({"deviceId": found.device_id});
                connection.client.mutation("devices:revoke", args).await?;
                app.ui.say(format!("device {} revoked", label(&found)));
            }
            Command::Rename { device, name } => {
                let found = named(devices(&connection).await?, &device)?;
                let args = json!({"deviceId": found.device_id, "name": name});
                connection.client.mutation("devices:rename", args).await?;
                app.ui
                    .say(format!("device {} is called {name}", found.device_id));
            }
        }
        Ok(Exit::Ok)
    }
}

async fn devices(connection: &Connection) -> Result<Vec<DeviceRow>, Failure> {
    let rows = connection.client.query("devices:list", json!({})).await?;
    read("devices:list", rows)
}

/// By id, else by a name that one living device alone has.
fn named(rows: Vec<DeviceRow>, name: &str) -> Result<DeviceRow, Failure> {
    if let Some(row) = rows.iter().find(|row| row.device_id == name) {
        return Ok(row.clone());
    }
    let called = |row: &&DeviceRow| row.name == name && row.state != "revoked";
    let mut found = rows.iter().filter(called);
    match (found.next(), found.next()) {
        (Some(row), None) => Ok(row.clone()),
        (Some(_), Some(_)) => Err(Failure::usage(format!("several devices are called {name}"))
            .hint("name one by its id: orchestrator device list")),
        (None, _) => Err(Failure::usage(format!("there is no device {name}"))
            .hint("orchestrator device list shows them")),
    }
}

fn label(row: &DeviceRow) -> String {
    if row.name.is_empty() {
        row.device_id.clone()
    } else {
        format!("{} ({})", printable(&row.name), row.device_id)
    }
}

fn list(app: &App, rows: &[DeviceRow]) {
    if rows.is_empty() {
        app.ui.say("no device is paired: orchestrator pair");
        return;
    }
    let now = wall_ms() as f64;
    for row in rows {
        let used = row.seen_at.map_or_else(
            || "never used".to_owned(),
            |at| format!("used {} ago", age((now - at).max(0.0) as u64)),
        );
        app.ui.line(
            format!(
                "{}  {:7}  {}  {}  {}",
                row.device_id,
                state(row, now),
                printable(&row.name),
                used,
                left(row, now)
            )
            .trim_end(),
        );
    }
}

fn state(row: &DeviceRow, now: f64) -> &str {
    match row.state.as_str() {
        "open" if row.open_until <= now => "lapsed",
        "open" => "waits",
        "paired" if row.valid_until <= now => "ended",
        other => other,
    }
}

/// What is left of the code, or of the device's token.
fn left(row: &DeviceRow, now: f64) -> String {
    let until = match row.state.as_str() {
        "open" => row.open_until,
        "paired" => row.valid_until,
        _ => return String::new(),
    };
    if until > now {
        format!("ends in {}", age((until - now) as u64))
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, name: &str, state: &str) -> DeviceRow {
        DeviceRow {
            device_id: id.to_owned(),
            name: name.to_owned(),
            state: state.to_owned(),
            open_until: 2_000.0,
            valid_until: 3_000.0,
            seen_at: None,
        }
    }

    #[test]
    fn a_device_is_found_by_its_id_or_by_a_name_that_it_alone_has() {
        let rows = || {
            vec![
                row("a", "phone", "paired"),
                row("b", "phone", "revoked"),
                row("c", "tablet", "paired"),
                row("d", "tablet", "paired"),
            ]
        };
        assert_eq!(named(rows(), "b").unwrap().device_id, "b");
        assert_eq!(named(rows(), "phone").unwrap().device_id, "a");
        assert!(named(rows(), "tablet").is_err());
        assert!(named(rows(), "nobody").is_err());
    }

    #[test]
    fn a_code_and_a_token_end_by_themselves() {
        assert_eq!(state(&row("a", "", "open"), 1_000.0), "waits");
        assert_eq!(state(&row("a", "", "open"), 2_500.0), "lapsed");
        assert_eq!(state(&row("a", "", "paired"), 3_500.0), "ended");
        assert_eq!(state(&row("a", "", "revoked"), 0.0), "revoked");
        assert_eq!(left(&row("a", "", "paired"), 1_000.0), "ends in 2s");
    }
}
