//! How far the running task has come, and what keeps tasks from going on, from the supervisor of this machine: the
//! deployment knows that a task runs, the supervisor in which step. Without one here nothing is known and nothing is said.

use crate::cli::globals::App;
use crate::cli::rows::WorkerRow;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::control::Verb;
use crate::control::report::{Report, TasksReport};
use crate::ui::format::{plural, short};

/// The worker's task queue, as `ps` shows it.
pub async fn of_worker(app: &App, worker: &str) -> Option<TasksReport> {
    let supervisor = Supervisor::find(app).ok()?;
    let report = supervisor.ask(Verb::Ps, SHORT).await.ok()?;
    let report: Report = serde_json::from_value(report).ok()?;
    let row = report.workers.into_iter().find(|row| row.id == worker)?;
    row.tasks
}

/// The step of this very task, `None` when another one is in hand; and the assistant's turns.
pub fn step_of<'t>(tasks: &'t TasksReport, task: &str) -> Option<(&'t str, u32)> {
    let in_hand = tasks.task.as_ref().filter(|one| one.id == task)?;
    Some((&in_hand.step, in_hand.turns))
}

/// `running, 3 turns`.
pub fn text(step: &str, turns: u32) -> String {
    match turns {
        0 => step.to_owned(),
        turns => format!("{step}, {}", plural(turns as usize, "turn")),
    }
}

/// Why nothing of a worker's queue goes on, if its supervisor is here and can tell.
pub async fn obstacle_of(app: &App, worker: Option<&WorkerRow>) -> Option<String> {
    let tasks = of_worker(app, &worker?.worker_id).await?;
    obstacle(&tasks).map(|why| short(why, 300))
}

/// Why nothing goes on.
pub fn obstacle(tasks: &TasksReport) -> Option<&str> {
    match tasks.phase.as_str() {
        "blocked" | "waiting" => Some(tasks.detail.as_str()).filter(|text| !text.is_empty()),
        "parked" | "failed" => tasks.last_error.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::TaskInHand;

    #[test]
    fn another_tasks_step_is_not_this_ones() {
        let tasks = TasksReport {
            phase: "blocked".to_owned(),
            detail: "there are uncommitted changes".to_owned(),
            task: Some(TaskInHand {
                id: "t1".to_owned(),
                step: "running".to_owned(),
                turns: 3,
                ..TaskInHand::default()
            }),
            ..TasksReport::default()
        };
        let (step, turns) = step_of(&tasks, "t1").unwrap();
        assert_eq!(text(step, turns), "running, 3 turns");
        assert_eq!(step_of(&tasks, "t2"), None);
        assert_eq!(obstacle(&tasks), Some("there are uncommitted changes"));
        assert_eq!(obstacle(&TasksReport::default()), None);
    }
}
