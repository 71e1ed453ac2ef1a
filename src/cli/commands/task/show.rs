//! `orchestrator task show`: all that is known of one task: the record, the figures of its last attempt, what its branch
//! changes when the repository is on this machine, and the last lines of the supervisor's log about it.

use clap::Args;
use orchestrator_actors::domain::task::CommitId;
use serde_json::{Value, json};

use super::figures::Figures;
use super::queue::OneTask;
use super::row::{ArtifactRow, TaskRow, spell};
use super::{live, repository};
use crate::adapters::git::DiffStat;
use crate::cli::commands::logs;
use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::{worker_name, workers};
use crate::cli::rows::{WorkerRow, read};
use crate::ui::format::{clock_time, plural, printable};

/// Files of the diff that are named.
const FILES: usize = 20;

/// Show a task: its text, what became of it, its branch, figures and the last lines of the log
#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    task: OneTask,

    /// So many lines of the supervisor's log
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10)]
    lines: usize,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Show {
    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        let found = self.task.find(connection).await?;
        let row: TaskRow = read("tasks:get", found["task"].clone())?;
        let workers = workers(connection).await?;
        let worker = workers
            .iter()
            .find(|worker| Some(&worker.worker_id) == row.worker_id.as_ref());
        let diff = diff_of(app, worker, row.artifact.as_ref()).await;
        let log = logs::of_task(app, &row.task_id, self.lines);
        let figures = Figures::read(row.report.as_deref());
        if self.json {
            let log: Vec<Value> = log.iter().map(logs::Line::value).collect();
            app.ui.json(&json!({
                "schema": 1, "task": found["task"], "text": found["text"], "figures": figures.json(),
                "diff": diff, "log": log,
            }));
            return Ok(Exit::Ok);
        }
        let whose = match (
            worker,
            found["task"]["room"].as_str(),
            found["task"]["role"].as_str(),
        ) {
            (Some(worker), ..) => format!("worker    {}", worker.label()),
            (None, Some(room), Some(role)) => format!("role      {room}/{role}"),
            _ => format!("worker    {}", row.worker_id.as_deref().unwrap_or("?")),
        };
        let holder = row
            .holder
            .as_deref()
            .map(|holder| worker_name(&workers, holder));
        let text = found["text"].as_str().unwrap_or_default();
        let obstacle = if row.is_open() {
            live::obstacle_of(app, worker).await
        } else {
            None
        };
        let returned = figures.why_returned().filter(|_| row.state == "queued");
        let why = obstacle.as_deref().or(returned);
        app.ui
            .foreign(&record(&row, &whose, holder.as_deref(), why, text));
        app.ui
            .foreign(&what_came_of_it(&row, &figures, diff.as_ref()));
        if !log.is_empty() {
            app.ui.line("\nlog");
            for line in log {
                app.ui.line(format!("  {}", line.text()));
            }
        }
        Ok(Exit::Ok)
    }
}

/// What the task's branch changes; `None` when that cannot be seen from here.
pub async fn diff_of(
    app: &App,
    worker: Option<&WorkerRow>,
    made: Option<&ArtifactRow>,
) -> Option<DiffStat> {
    let (worker, made) = (worker?, made?);
    let directory = repository::of_worker(app, worker)?;
    let git = repository::at(app, &directory).ok()?;
    let (from, to) = (CommitId::new(&made.base), CommitId::new(&made.commit));
    git.diff_stat(&from, &to).await.ok().flatten()
}

fn record(
    row: &TaskRow,
    whose: &str,
    holder: Option<&str>,
    why: Option<&str>,
    text: &str,
) -> String {
    let mut lines = vec![
        format!("task {}    {}", row.number(), row.task_id),
        whose.to_owned(),
        format!("state     {}", state(row)),
    ];
    if let Some(holder) = holder {
        lines.push(format!("taken by  {holder}"));
    }
    if let Some(why) = why {
        lines.push(format!("waits     {why}"));
    }
    let time = |at: f64| clock_time(at.max(0.0) as u64);
    let mut times = format!("added {}", time(row.created_at));
    if let Some(began) = row.started_at {
        times.push_str(&format!(", begun {}", time(began)));
    }
    if let Some(ended) = row.finished_at {
        times.push_str(&format!(", ended {}", time(ended)));
    }
    if let (Some(ms), false) = (row.took_ms(), row.is_open()) {
        times.push_str(&format!(" ({})", spell(ms)));
    }
    lines.push(format!("times     {times}"));
    lines.push(String::new());
    lines.extend(text.lines().map(|line| format!("  {line}")));
    lines.join("\n") + "\n\n"
}

fn state(row: &TaskRow) -> String {
    let called_off = if row.cancel_requested && row.is_open() {
        ", called off"
    } else {
        ""
    };
    if row.attempt > 0.0 {
        format!("{}, {}{called_off}", row.state, row.attempts())
    } else {
        format!("{}{called_off}", row.state)
    }
}

fn what_came_of_it(row: &TaskRow, figures: &Figures, diff: Option<&DiffStat>) -> String {
    let mut lines = Vec::new();
    if let Some(made) = &row.artifact {
        let pushed = if made.pushed {
            "pushed"
        } else {
            "not pushed: the repository has no remote"
        };
        lines.push(format!(
            "branch    {} from {} ({pushed})",
            made.branch, made.previous
        ));
        lines.push(format!("commit    {}", made.commit));
    } else if let Some(branch) = row.branch().filter(|_| row.is_open()) {
        let yet = if row.state == "running" {
            ""
        } else {
            ", when it is made"
        };
        lines.push(format!("branch    {branch}{yet}"));
    }
    if let Some(diff) = diff {
        lines.push(format!("changes   {}", totals(diff)));
        let files = diff.files.iter().take(FILES);
        lines.extend(files.map(|file| {
            let count = |sign: char, lines: Option<u64>| {
                lines.map_or("bin".to_owned(), |lines| format!("{sign}{lines}"))
            };
            format!(
                "          {} {} {}",
                count('+', file.added),
                count('-', file.removed),
                printable(&file.path)
            )
        }));
        if diff.changed > FILES {
            lines.push(format!("          and {} more", diff.changed - FILES));
        }
    }
    if let Some(failure) = &row.failure {
        let what = if row.state == "failed" {
            "failure "
        } else {
            "last try"
        };
        lines.push(format!("{what}  {}: {}", failure.class, failure.message));
    }
    if let Some(steps) = figures.steps() {
        lines.push(format!("took      {steps}"));
    }
    if let Some(run) = figures.run() {
        lines.push(format!("assistant {run}"));
    }
    if let Some(said) = row.summary.as_deref().or(figures.summary()) {
        lines.push("said".to_owned());
        lines.extend(said.trim().lines().map(|line| format!("  {line}")));
    }
    if lines.is_empty() {
        return String::new();
    }
    lines.join("\n") + "\n"
}

/// `3 files, +12 −1`.
pub fn totals(diff: &DiffStat) -> String {
    format!(
        "{}, +{} -{}",
        plural(diff.changed, "file"),
        diff.added,
        diff.removed
    )
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::*;
    use crate::adapters::git::FileStat;

    #[test]
    fn a_task_that_is_done_says_where_its_work_is() {
        let made = json!({"branch": "1282544961935709", "previous": "main", "base": "a1", "commit": "b2", "pushed": true});
        let done = row(&json!({
            "state": "done", "attempt": 2, "startedAt": 0, "finishedAt": 102_000, "artifact": made,
        }));
        let figures = Figures::read(Some(
            r#"{"runMs":90000,"run":{"turns":4,"summary":"Done.\nAll of it."}}"#,
        ));
        let diff = DiffStat {
            files: vec![FileStat {
                path: "login.rs".to_owned(),
                added: Some(12),
                removed: Some(1),
            }],
            changed: 1,
            added: 12,
            removed: 1,
        };
        let text = what_came_of_it(&done, &figures, Some(&diff));
        assert_eq!(
            text,
            "branch    1282544961935709 from main (pushed)\ncommit    b2\nchanges   1 file, +12 -1\n          \
             +12 -1 login.rs\ntook      assistant 1m30s\nassistant 4 turns\nsaid\n  Done.\n  All of it.\n"
        );
        assert_eq!(state(&done), "done, try 2/3");
    }

    #[test]
    fn a_task_that_waits_after_a_failure_says_what_failed() {
        let failure = json!({"class": "rate_limited", "message": "429: slow down"});
        let waiting = row(&json!({"attempt": 1, "failure": failure}));
        assert_eq!(
            what_came_of_it(&waiting, &Figures::default(), None),
            "branch    1282544961935709, when it is made\nlast try  rate_limited: 429: slow down\n"
        );
    }
}
