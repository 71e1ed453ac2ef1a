//! How far the running task has come, from the supervisor of this machine: the deployment knows that it runs, the
//! supervisor in which step. Without one here nothing is known and nothing is said.

use serde_json::Value;

use crate::cli::globals::App;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::control::Verb;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub step: String,
    pub turns: u64,
}

pub async fn of_task(app: &App, task: &str) -> Option<Live> {
    let supervisor = Supervisor::find(app).ok()?;
    let report = supervisor.ask(Verb::Ps, SHORT).await.ok()?;
    found_in(&report, task)
}

/// What keeps a worker's tasks from going on, in the supervisor's words.
pub async fn obstacle(app: &App, worker: &str) -> Option<String> {
    let supervisor = Supervisor::find(app).ok()?;
    let report = supervisor.ask(Verb::Ps, SHORT).await.ok()?;
    let workers = report["workers"].as_array()?;
    let row = workers.iter().find(|row| row["id"] == worker)?;
    let tasks = &row["tasks"];
    (tasks["phase"] == "blocked").then_some(())?;
    let text = |field: &str| tasks[field].as_str().filter(|text| !text.is_empty());
    text("detail")
        .or_else(|| text("last_error"))
        .map(str::to_owned)
}

/// The card of the task, wherever in the tree it is.
fn found_in(value: &Value, task: &str) -> Option<Live> {
    match value {
        Value::Object(fields) => {
            let step = fields.get("step").and_then(Value::as_str);
            if let (Some(step), true) = (step, fields.get("id").is_some_and(|id| id == task)) {
                let turns = fields.get("turns").and_then(Value::as_u64);
                let step = step.to_owned();
                return Some(Live {
                    step,
                    turns: turns.unwrap_or(0),
                });
            }
            fields.values().find_map(|inner| found_in(inner, task))
        }
        Value::Array(all) => all.iter().find_map(|inner| found_in(inner, task)),
        _ => None,
    }
}

impl Live {
    /// `running, 3 turns`.
    pub fn text(&self) -> String {
        match self.turns {
            0 => self.step.clone(),
            turns => format!(
                "{}, {}",
                self.step,
                crate::ui::format::plural(turns as usize, "turn")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_card_is_found_and_another_tasks_is_not() {
        let report = json!({"workers": [{"id": "w1", "tasks": {"task": {"id": "t1", "step": "run", "turns": 3}}}]});
        let live = found_in(&report, "t1").unwrap();
        assert_eq!(live.text(), "run, 3 turns");
        assert_eq!(found_in(&report, "t2"), None);
        assert_eq!(found_in(&json!({"id": "t1"}), "t1"), None);
    }
}
