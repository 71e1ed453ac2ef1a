//! `orchestrator task list`: a queue in its order, one line a task; with `--report` as a text for people, after the weekend.

use clap::Args;
use serde_json::json;

use super::queue::{Named, Queue, typed};
use super::row::TaskRow;
use super::{live, report};
use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::ui::format::short;

/// Unless all are asked for.
const NEWEST: u32 = 50;

/// The tasks of a queue, the newest 50, in their order
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    queue: Named,

    /// All of them
    #[arg(long)]
    all: bool,

    /// A report in Markdown: what was asked for, what became of it, and where it is
    #[arg(long, conflicts_with = "json")]
    report: bool,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

impl List {
    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        let queue = self.queue.find(connection).await?;
        let mut rows = if self.all {
            queue.all(connection).await?
        } else {
            queue.newest(connection, NEWEST).await?
        };
        rows.reverse();
        let obstacle = live::obstacle_of(app, queue.worker()).await;
        if self.json {
            app.ui.json(
                &json!({"schema": 1, "queue": queue.args(), "tasks": rows, "obstacle": obstacle}),
            );
            return Ok(Exit::Ok);
        }
        let mut rows = typed(rows)?;
        if obstacle.is_some() {
            // What was in the way when a task was last tried may be gone; this is there now.
            rows.iter_mut()
                .filter(|row| row.state == "queued")
                .for_each(|row| row.report = None);
        }
        if self.report {
            report::print(app, connection, &queue, rows).await?;
            if let Some(why) = obstacle {
                app.ui
                    .line(format!("\nThe tasks of {} wait: {why}", queue.name()));
            }
            return Ok(Exit::Ok);
        }
        if rows.is_empty() {
            app.ui.say(nothing(&queue));
        }
        let now = jiff::Timestamp::now().as_millisecond() as f64;
        let width = Widths::of(&rows);
        for row in &rows {
            app.ui.line(line(row, width, now));
        }
        if let Some(why) = obstacle.filter(|_| rows.iter().any(TaskRow::is_open)) {
            app.ui
                .say(format!("the tasks of {} wait: {why}", queue.name()));
        }
        let left_out = rows.first().map_or(0, |first| first.number() - 1);
        if !self.all && left_out > 0 && rows.len() == NEWEST as usize {
            app.ui
                .say("earlier ones are left out: orchestrator task list --all");
        }
        Ok(Exit::Ok)
    }
}

fn nothing(queue: &Queue) -> String {
    format!(
        "no task was added for {}; orchestrator task add \"what is to be done\" adds one",
        queue.name()
    )
}

#[derive(Clone, Copy, Debug)]
pub struct Widths {
    number: usize,
    branch: usize,
}

impl Widths {
    pub fn of(rows: &[TaskRow]) -> Self {
        let widest = |width: &dyn Fn(&TaskRow) -> usize| rows.iter().map(width).max().unwrap_or(0);
        Self {
            number: widest(&|row| row.number().to_string().len()),
            branch: widest(&|row| row.branch().map_or(0, str::len)),
        }
    }
}

/// `2  running   2456583589892771  add validation  try 1/3`.
pub fn line(row: &TaskRow, width: Widths, now_ms: f64) -> String {
    let branch = row.branch().unwrap_or_default();
    let gap = if width.branch > 0 { "  " } else { "" };
    let text = format!(
        "{:<number$}  {:<8}  {branch:<branches$}{gap}{}  {}",
        row.number(),
        row.state,
        short(&row.title, 60),
        row.remark(now_ms),
        number = width.number,
        branches = width.branch,
    );
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn a_queue_is_a_table_in_its_order() {
        let rows = [
            row(&json!({"state": "done", "startedAt": 0, "finishedAt": 102_000})),
            row(
                &json!({"seq": 9, "title": "add validation", "hash": "341547149", "state": "running", "attempt": 1}),
            ),
            row(
                &json!({"seq": 10, "title": "nasty \u{1b}[2J\ntail", "hash": null, "state": "canceled"}),
            ),
        ];
        let width = Widths::of(&rows);
        let lines: Vec<String> = rows.iter().map(|row| line(row, width, 0.0)).collect();
        assert_eq!(
            lines,
            [
                "1   done      1282544961935709  implement login  1m42s",
                "10  running   341547149         add validation  try 1/3",
                "11  canceled                    nasty \u{fffd}[2J…",
            ]
        );
    }
}
