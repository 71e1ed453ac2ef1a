//! What a reload changes: desired against present, as actions per worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::WorkerSpec;
use crate::domain::ids::WorkerId;
use crate::domain::task::{RunnerKind, TaskSettings};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    Add(Arc<WorkerSpec>),
    Remove(Arc<WorkerSpec>),
    /// Directory or deployment changed: it is stopped and started anew. (Another worker's token is another worker.)
    Replace(Arc<WorkerSpec>, String),
    /// It goes on; its sessions do not notice.
    Configure(Arc<WorkerSpec>, String),
    Keep,
}

pub(super) fn diff(
    present: &BTreeMap<WorkerId, Arc<WorkerSpec>>,
    desired: &[WorkerSpec],
) -> Vec<Change> {
    let mut changes = Vec::new();
    for spec in desired {
        let new = Arc::new(spec.clone());
        changes.push(match present.get(spec.id()) {
            None => Change::Add(new),
            Some(old) => compare(old, new),
        });
    }
    for (id, old) in present {
        if !desired.iter().any(|spec| spec.id() == id) {
            changes.push(Change::Remove(old.clone()));
        }
    }
    changes
}

fn compare(old: &WorkerSpec, new: Arc<WorkerSpec>) -> Change {
    let mut replaced = Vec::new();
    if old.directory != new.directory {
        replaced.push(format!(
            "working_directory {} -> {}",
            old.directory, new.directory
        ));
    }
    if old.url != new.url {
        replaced.push(format!("convex_url {} -> {}", old.url, new.url));
    }
    if old.broken != new.broken {
        replaced.push(
            new.broken
                .clone()
                .unwrap_or_else(|| "can serve now".to_owned()),
        );
    }
    let mut live = Vec::new();
    if old.token != new.token {
        // Of the same worker, or they would not be compared: its owner has made a new one.
        live.push("token changed (live)".to_owned());
    }
    if old.paused != new.paused {
        let what = if new.paused { "paused" } else { "resumed" };
        live.push(format!("{what} (live)"));
    }
    if old.name != new.name {
        live.push(format!("name {} -> {} (live)", old.name, new.name));
    }
    if old.idle_timeout_ms != new.idle_timeout_ms {
        live.push(format!(
            "idle_timeout {}s -> {}s (live)",
            seconds(old.idle_timeout_ms),
            seconds(new.idle_timeout_ms)
        ));
    }
    if old.max_sessions != new.max_sessions {
        live.push(format!(
            "max_sessions {} -> {} (live)",
            old.max_sessions, new.max_sessions
        ));
    }
    if old.on_interrupt != new.on_interrupt {
        live.push(format!(
            "interrupted_turns {} -> {} (live)",
            old.on_interrupt, new.on_interrupt
        ));
    }
    live.extend(task_changes(&old.tasks, &new.tasks));
    if old.permissions != new.permissions {
        live.push(format!(
            "permissions {} -> {} (live)",
            old.permissions, new.permissions
        ));
    }
    if old.answer_timeout_ms != new.answer_timeout_ms {
        live.push(format!(
            "answer_timeout {}s -> {}s (live)",
            seconds(old.answer_timeout_ms),
            seconds(new.answer_timeout_ms)
        ));
    }
    if !replaced.is_empty() {
        replaced.extend(live);
        return Change::Replace(new, replaced.join(", "));
    }
    if live.is_empty() {
        Change::Keep
    } else {
        Change::Configure(new, live.join(", "))
    }
}

/// They hold from the next task on.
fn task_changes(old: &TaskSettings, new: &TaskSettings) -> Vec<String> {
    let mut changes = Vec::new();
    if old.enabled != new.enabled {
        let what = if new.enabled { "on" } else { "off" };
        changes.push(format!("tasks switched {what} (live)"));
    }
    if old.runner != new.runner {
        let name = |kind: Option<RunnerKind>| kind.map_or("as found", RunnerKind::as_str);
        let (old, new) = (name(old.runner), name(new.runner));
        changes.push(format!("task_runner {old} -> {new} (live)"));
    }
    if old.max_retries != new.max_retries {
        let count = |retries: Option<u32>| {
            retries.map_or_else(|| "as usual".to_owned(), |count| count.to_string())
        };
        let (old, new) = (count(old.max_retries), count(new.max_retries));
        changes.push(format!("max_retries {old} -> {new} (live)"));
    }
    if old.goose != new.goose {
        changes.push("goose changed (live)".to_owned());
    }
    if old.git != new.git {
        changes.push("git changed (live)".to_owned());
    }
    changes
}

fn seconds(ms: u64) -> String {
    if ms.is_multiple_of(1_000) {
        (ms / 1_000).to_string()
    } else {
        format!("{:.1}", ms as f64 / 1_000.0)
    }
}
