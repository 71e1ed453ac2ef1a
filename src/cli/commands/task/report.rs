//! The report of a queue: Markdown that a person can read after the weekend, or paste into a mail. What others wrote (texts,
//! reasons, what an assistant said) stands in fences and changes nothing of the page.

use super::figures::Figures;
use super::queue::{Queue, get};
use super::row::{TaskRow, spell};
use super::show::{diff_of, totals};
use crate::adapters::git::DiffStat;
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::ui::format::{clock_time, count, plural, short};

/// Of one task's text and of what the assistant said.
const TEXT_CHARS: usize = 2_000;

pub async fn print(
    app: &App,
    connection: &Connection,
    queue: &Queue,
    rows: Vec<TaskRow>,
) -> Result<(), Failure> {
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
    app.ui.foreign(&head(&queue.name(), &rows, now));
    for row in rows {
        let found = get(connection, &row.task_id).await?.unwrap_or_default();
        let text = found["text"].as_str().unwrap_or(&row.title);
        let diff = diff_of(app, queue.worker(), row.artifact.as_ref()).await;
        app.ui.foreign(&section(&row, text, diff.as_ref()));
    }
    Ok(())
}

fn head(name: &str, rows: &[TaskRow], now_ms: u64) -> String {
    let of = |state: &str| rows.iter().filter(|row| row.state == state).count();
    let states = ["done", "failed", "running", "queued", "canceled"];
    let counts: Vec<String> = states
        .into_iter()
        .filter(|state| of(state) > 0)
        .map(|state| format!("{} {state}", of(state)))
        .collect();
    let took: u64 = rows.iter().filter_map(TaskRow::took_ms).sum();
    let mut lines = vec![
        format!("# Tasks of {}", inline(name)),
        String::new(),
        format!("{}: {}.", plural(rows.len(), "task"), counts.join(", ")),
    ];
    let tokens = rows
        .iter()
        .filter_map(|row| Figures::read(row.report.as_deref()).tokens())
        .fold((0.0, 0.0), |sum, (input, output)| {
            (sum.0 + input, sum.1 + output)
        });
    let mut sums = Vec::new();
    if took > 0 {
        sums.push(format!("{} of work", spell(took)));
    }
    if tokens.0 + tokens.1 > 0.0 {
        sums.push(format!(
            "{} tokens in, {} out",
            count(tokens.0),
            count(tokens.1)
        ));
    }
    if !sums.is_empty() {
        lines.push(format!("{} (last attempts).", sums.join(", ")));
    }
    lines.push(format!("As of {}.", clock_time(now_ms)));
    lines.join("\n") + "\n"
}

fn section(row: &TaskRow, text: &str, diff: Option<&DiffStat>) -> String {
    let figures = Figures::read(row.report.as_deref());
    let mut lines = vec![
        String::new(),
        format!(
            "## {}. {} ({})",
            row.number(),
            inline(&short(&row.title, 80)),
            row.state
        ),
        String::new(),
    ];
    if text.trim() != row.title {
        lines.push(fenced(text));
        lines.push(String::new());
    }
    let mut item = |name: &str, value: String| lines.push(format!("- {name}: {value}"));
    if let Some(made) = &row.artifact {
        let pushed = if made.pushed { "pushed" } else { "not pushed" };
        item(
            "branch",
            format!("`{}` from `{}`, {pushed}", made.branch, made.previous),
        );
        item("commit", format!("`{}`", made.commit));
    }
    if let Some(diff) = diff {
        item("changes", totals(diff));
    }
    if row.attempt > 0.0 {
        item(
            "attempts",
            format!("{} of {}", row.attempt, row.max_retries + 1.0),
        );
    }
    if let Some(ended) = row.finished_at {
        let took = row
            .took_ms()
            .map(|ms| format!(", took {}", spell(ms)))
            .unwrap_or_default();
        item(
            "ended",
            format!("{}{took}", clock_time(ended.max(0.0) as u64)),
        );
    }
    if let Some(run) = figures.run() {
        item("assistant", run);
    }
    if let Some(failure) = &row.failure {
        item(
            "reason",
            format!(
                "{}: {}",
                inline(&failure.class),
                inline(&short(&failure.message, 2_000))
            ),
        );
    }
    if let Some(why) = figures.why_returned().filter(|_| row.state == "queued") {
        item("waits", inline(&short(why, 2_000)));
    }
    if let Some(said) = row.summary.as_deref().or(figures.summary()) {
        lines.push(String::new());
        lines.push(fenced(said));
    }
    lines.join("\n") + "\n"
}

/// One line in which no character is Markdown.
fn inline(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\`*_[]<>#|~&!".contains(c) {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}

/// A block as it is, in a fence that is longer than any in it.
fn fenced(text: &str) -> String {
    let text = text.trim();
    let cut: String = text.chars().take(TEXT_CHARS).collect();
    let more = if cut.len() < text.len() { "\n…" } else { "" };
    let longest = cut.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}\n{cut}{more}\n{fence}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn a_report_says_what_was_asked_what_became_of_it_and_where_it_is() {
        let made = json!({"branch": "12", "previous": "main", "base": "a", "commit": "b2", "pushed": true});
        let rows = [
            row(&json!({
                "state": "done", "attempt": 1, "startedAt": 0, "finishedAt": 102_000, "artifact": made,
                "report": r#"{"run":{"turns":2,"inputTokens":4100,"outputTokens":810,"summary":"It is there."}}"#,
            })),
            row(&json!({
                "seq": 1, "title": "add <b>validation</b>", "state": "failed", "attempt": 3,
                "failure": {"class": "no_changes", "message": "nothing has changed"},
            })),
        ];
        let head = head("shop", &rows, 0);
        assert!(head.starts_with("# Tasks of shop\n\n2 tasks: 1 done, 1 failed.\n1m42s of work, 4.1k tokens in, 810 out"), "{head}");
        let done = section(&rows[0], "implement login", None);
        assert!(done.contains("\n## 1. implement login (done)\n\n- branch: `12` from `main`, pushed\n- commit: `b2`\n"), "{done}");
        assert!(
            done.ends_with(
                "- assistant: 2 turns, 4.1k tokens in, 810 out\n\n```\nIt is there.\n```\n"
            ),
            "{done}"
        );
        let failed = section(&rows[1], "add <b>validation</b>\nas in\n```\nx\n```", None);
        assert!(
            failed.contains("## 2. add \\<b\\>validation\\</b\\> (failed)\n\n````\nadd <b>"),
            "{failed}"
        );
        assert!(
            failed.contains("- attempts: 3 of 3\n- reason: no\\_changes: nothing has changed\n"),
            "{failed}"
        );
    }
}
