//! A task as the deployment shows it.

use serde::Deserialize;

use super::figures::Figures;
use crate::ui::format::short;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRow {
    pub task_id: String,
    pub worker_id: Option<String>,
    /// Its place in its queue, from 0.
    pub seq: f64,
    /// Its text's first line.
    pub title: String,
    pub hash: Option<String>,
    /// `queued | running | done | failed | canceled`.
    pub state: String,
    pub attempt: f64,
    pub max_retries: f64,
    #[serde(default)]
    pub cancel_requested: bool,
    pub artifact: Option<ArtifactRow>,
    pub failure: Option<FailureRow>,
    /// The worker whose player of the role has it, or had it last.
    pub holder: Option<String>,
    pub summary: Option<String>,
    /// Figures of the last attempt, as JSON.
    pub report: Option<String>,
    pub created_at: f64,
    pub started_at: Option<f64>,
    pub finished_at: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ArtifactRow {
    pub branch: String,
    pub previous: String,
    pub base: String,
    pub commit: String,
    pub pushed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FailureRow {
    pub class: String,
    pub message: String,
}

#[derive(Debug, Deserialize)]
pub struct TaskRows {
    pub tasks: Vec<TaskRow>,
}

impl TaskRow {
    /// What people call it: its place, from 1.
    pub fn number(&self) -> u64 {
        self.seq as u64 + 1
    }

    /// It waits or is being done.
    pub fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "queued" | "running")
    }

    /// Its branch; before that is made, what it will be called but for the worker's prefix.
    pub fn branch(&self) -> Option<&str> {
        let made = self.artifact.as_ref().map(|made| made.branch.as_str());
        made.or(self.hash.as_deref().filter(|_| self.worker_id.is_some()))
    }

    /// `try 1/3`: which attempt, of how many at most.
    pub fn attempts(&self) -> String {
        format!("try {}/{}", self.attempt, self.max_retries + 1.0)
    }

    /// How long the last attempt took.
    pub fn took_ms(&self) -> Option<u64> {
        let (from, to) = (self.started_at?, self.finished_at?);
        Some((to - from).max(0.0) as u64)
    }

    /// For a line behind its title.
    pub fn remark(&self, now_ms: f64) -> String {
        match self.state.as_str() {
            "running" if self.cancel_requested => format!("{}, called off", self.attempts()),
            "running" => self.attempts(),
            "queued" => match (&self.failure, self.attempt) {
                (Some(failure), attempt) if attempt > 0.0 => {
                    format!("{} failed: {}", self.attempts(), failure.class)
                }
                _ => {
                    let age = crate::ui::format::age(since(self.created_at, now_ms));
                    let figures = Figures::read(self.report.as_deref());
                    let why = figures
                        .why_returned()
                        .map(|why| format!(": {}", short(why, 80)));
                    format!("waits {age}{}", why.unwrap_or_default())
                }
            },
            "failed" => match &self.failure {
                Some(failure) => failure.class.clone(),
                None => String::new(),
            },
            "done" => self.took_ms().map_or_else(String::new, spell),
            _ => String::new(),
        }
    }
}

fn since(then: f64, now: f64) -> u64 {
    (now - then).max(0.0) as u64
}

/// `850 ms`, `12 s`, `1m42s`, `2h05m`: how long something took, to two units.
pub fn spell(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub fn row(more: &Value) -> TaskRow {
        let mut value = json!({
            "taskId": "t1", "workerId": "w1", "seq": 0, "title": "implement login", "hash": "1282544961935709",
            "state": "queued", "attempt": 0, "maxRetries": 2, "cancelRequested": false, "createdAt": 0,
        });
        for (name, one) in more.as_object().into_iter().flatten() {
            value[name] = one.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_task_is_remarked_upon_as_it_stands() {
        let remark = |more: Value| row(&more).remark(65_000.0);
        assert_eq!(remark(json!({})), "waits 1m");
        let report = r#"{"outcome":"returned","why":"there are uncommitted changes (a.txt)"}"#;
        assert_eq!(
            remark(json!({"report": report})),
            "waits 1m: there are uncommitted changes (a.txt)"
        );
        assert_eq!(remark(json!({"state": "running", "attempt": 1})), "try 1/3");
        let failure = json!({"class": "server", "message": "500"});
        assert_eq!(
            remark(json!({"attempt": 1, "failure": failure})),
            "try 1/3 failed: server"
        );
        assert_eq!(
            remark(json!({"state": "done", "startedAt": 1_000, "finishedAt": 103_000})),
            "1m42s"
        );
        assert_eq!(
            remark(json!({"state": "failed", "failure": failure})),
            "server"
        );
    }

    #[test]
    fn a_branch_is_known_before_it_is_made_but_a_roles_task_has_none() {
        assert_eq!(row(&json!({})).branch(), Some("1282544961935709"));
        assert_eq!(row(&json!({"workerId": null})).branch(), None);
        let made = json!({"branch": "task-1", "previous": "main", "base": "a", "commit": "b", "pushed": true});
        assert_eq!(row(&json!({"artifact": made})).branch(), Some("task-1"));
    }

    #[test]
    fn times_have_two_units_at_most() {
        assert_eq!(spell(850), "850 ms");
        assert_eq!(spell(12_300), "12s");
        assert_eq!(spell(102_000), "1m42s");
        assert_eq!(spell(7_500_000), "2h05m");
    }
}
