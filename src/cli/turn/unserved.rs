//! Says why an answer may take long: the worker waits for its approval, or no supervisor serves it. A message to it is
//! accepted and waits, so this is talk, not a failure; and what cannot be found out is not said.

use serde_json::json;

use crate::cli::connection::Connection;
use crate::cli::globals::App;
use crate::cli::resolve::{Target, workers};
use crate::cli::rows::{PresenceRow, WorkerRow};
use crate::config::PRESENCE_MS;
use crate::ui::format::age;

pub async fn tell_unserved(app: &App, connection: &Connection, target: &Target) {
    if let Some(text) = find_out(connection, target.worker_id(), "message").await {
        app.ui.error(&text);
    }
}

/// The same of tasks.
pub async fn tell_undone(app: &App, connection: &Connection, worker: &str) {
    if let Some(text) = find_out(connection, worker, "task").await {
        app.ui.error(&text);
    }
}

/// `what` is a message or a task.
async fn find_out(connection: &Connection, id: &str, what: &str) -> Option<String> {
    let (rows, presence) = tokio::join!(
        workers(connection),
        connection.client.query("presence:list", json!({})),
    );
    let row = rows.ok()?.into_iter().find(|row| row.worker_id == id)?;
    let presence: Vec<PresenceRow> = serde_json::from_value(presence.ok()?).ok()?;
    let last = presence.iter().find(|row| row.worker_id == id);
    let now = jiff::Timestamp::now().as_millisecond() as f64;
    unserved(&row, last, now, what)
}

fn unserved(
    row: &WorkerRow,
    presence: Option<&PresenceRow>,
    now_ms: f64,
    what: &str,
) -> Option<String> {
    let name = row.label();
    if row.state == "pending" {
        return Some(format!(
            "worker {name} waits for its approval, and the {what} with it: orchestrator worker approve {}",
            row.worker_id
        ));
    }
    let seen = match presence {
        None => "none has yet".to_owned(),
        Some(presence) => {
            let silent = (now_ms - presence.last_beat).max(0.0);
            if !presence.disconnected && silent <= PRESENCE_MS as f64 {
                return None;
            }
            format!("the last one was there {} ago", age(silent as u64))
        }
    };
    Some(format!(
        "no supervisor serves worker {name} now ({seen}): the {what} waits for one (orchestrator run)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_nobody_serves_is_told_of() {
        let mut row = WorkerRow {
            worker_id: "w1".to_owned(),
            machine_id: "m".to_owned(),
            name: "shop".to_owned(),
            directory: "/a".to_owned(),
            state: "approved".to_owned(),
            connected_at: None,
            called: None,
        };
        let beat = |last_beat: f64, disconnected: bool| PresenceRow {
            worker_id: "w1".to_owned(),
            last_beat,
            disconnected,
        };
        let at = |presence: Option<&PresenceRow>| unserved(&row, presence, 100_000.0, "message");
        assert_eq!(at(Some(&beat(90_000.0, false))), None);
        assert!(at(Some(&beat(90_000.0, true))).is_some());
        assert!(at(Some(&beat(10_000.0, false))).is_some());
        assert!(at(None).is_some_and(|text| text.contains("no supervisor serves worker shop")));
        row.state = "pending".to_owned();
        let told = unserved(&row, Some(&beat(90_000.0, false)), 100_000.0, "message");
        assert!(told.is_some_and(|text| text.contains("worker approve w1")));
    }
}
