//! `orchestrator task run`: waits until a queue is worked off. Ended tasks are lines on stdout, as in the list; what runs is
//! told on stderr, as one line that is drawn again on a terminal, as a line for each change elsewhere. The supervisor does
//! the work, whether or not somebody waits.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::list::{Widths, line};
use super::live;
use super::queue::{Named, Queue, get, typed};
use super::row::{TaskRow, spell};
use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::cli::turn::tell_undone;
use crate::config::parse_duration;
use crate::ui::format::{duration, plural, short};

/// How often the running task's line is drawn.
const LOOK: Duration = Duration::from_secs(1);
/// As many tasks as the deployment gives at once are watched.
const WATCHED: u32 = 200;

/// Wait until a queue is worked off, and show how it goes (exit 1 if a task fails)
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    queue: Named,

    /// Give up waiting after this time (exit 124); the tasks go on
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// As one JSON object, at the end
    #[arg(long)]
    pub json: bool,
}

/// The tasks that are waited for, as they were last heard of, by their place.
#[derive(Debug, Default)]
struct Followed {
    rows: BTreeMap<u64, TaskRow>,
    /// Places from here on are new.
    next: u64,
    /// Those that were forgotten before they ended.
    dropped: usize,
}

impl Followed {
    /// Takes the news; what has changed, in the queue's order.
    fn take(&mut self, rows: Vec<TaskRow>) -> Vec<TaskRow> {
        let mut news = Vec::new();
        for row in rows.into_iter().rev() {
            let place = row.number();
            let known = self.rows.get(&place);
            let is_new = place >= self.next;
            // One that had ended before and was put back is waited for, too.
            if known.is_none() && !is_new && !row.is_open() {
                continue;
            }
            let has_changed = known.is_none_or(|known| {
                (&known.state, known.attempt, known.cancel_requested)
                    != (&row.state, row.attempt, row.cancel_requested)
            });
            if has_changed {
                news.push(row.clone());
            }
            self.rows.insert(place, row);
        }
        self.next = self
            .next
            .max(self.rows.keys().last().map_or(0, |last| last + 1));
        news
    }

    /// Those of which the newest rows of the queue know nothing any more.
    fn miss(&mut self, newest: &[TaskRow]) -> Vec<TaskRow> {
        let is_whole = newest.len() < WATCHED as usize;
        let from = newest.iter().map(TaskRow::number).min();
        let is_shown = |place: u64| is_whole || from.is_some_and(|from| place >= from);
        let known: BTreeSet<&str> = newest.iter().map(|row| &*row.task_id).collect();
        let is_gone = |place: &u64, row: &mut TaskRow| {
            row.is_open() && is_shown(*place) && !known.contains(&*row.task_id)
        };
        let gone: Vec<TaskRow> = self
            .rows
            .extract_if(.., is_gone)
            .map(|(_, row)| row)
            .collect();
        self.dropped += gone.len();
        gone
    }

    fn forget(&mut self, task: &str) -> Option<TaskRow> {
        let place = self.rows.iter().find(|(_, row)| row.task_id == task)?;
        let place = *place.0;
        self.dropped += 1;
        self.rows.remove(&place)
    }

    fn running(&self) -> Option<&TaskRow> {
        self.rows.values().find(|row| row.state == "running")
    }

    fn open(&self) -> usize {
        self.rows.values().filter(|row| row.is_open()).count()
    }

    fn in_state(&self, state: &str) -> usize {
        self.rows.values().filter(|row| row.state == state).count()
    }
}

impl Run {
    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        let queue = self.queue.find(connection).await?;
        let mut followed = Followed::default();
        let waited = {
            let waiting = self.until_worked_off(app, connection, &queue, &mut followed);
            tokio::select! {
                done = limited(self.timeout, waiting) => done,
                _ = tokio::signal::ctrl_c() => {
                    app.ui.say("\nthe tasks go on; look at them: orchestrator task list");
                    return Ok(Exit::Interrupted);
                }
            }
        };
        let (done, failed) = (followed.in_state("done"), followed.in_state("failed"));
        let in_time = match waited {
            Some(result) => {
                result?;
                true
            }
            None => false,
        };
        if self.json {
            let ended: Vec<Value> = followed.rows.values().map(as_json).collect();
            app.ui.json(&json!({
                "schema": 1, "queue": queue.args(), "workedOff": in_time, "done": done, "failed": failed,
                "dropped": followed.dropped, "tasks": ended,
            }));
        }
        if !in_time {
            let limit = self.timeout.map(duration).unwrap_or_default();
            return ended_with(
                self.json,
                Failure::new(
                    Exit::TimedOut,
                    format!(
                        "{} not over within {limit}; they go on",
                        plural(followed.open(), "task")
                    ),
                )
                .hint("look at them: orchestrator task list"),
            );
        }
        if failed > 0 {
            let first = followed.rows.values().find(|row| row.state == "failed");
            let number = first.map_or(0, TaskRow::number);
            return ended_with(
                self.json,
                Failure::failed(format!("{} failed, {done} done", plural(failed, "task"))).hint(
                    format!("why: orchestrator task show {number}{}", self.queue.flags()),
                ),
            );
        }
        if !self.json {
            app.ui.say(match followed.rows.len() + followed.dropped {
                0 => format!("nothing waits in the queue of {}", queue.name()),
                _ => format!(
                    "worked off: {done} done{}{}",
                    besides(followed.in_state("canceled"), "called off"),
                    besides(followed.dropped, "dropped")
                ),
            });
        }
        Ok(Exit::Ok)
    }

    async fn until_worked_off(
        &self,
        app: &App,
        connection: &Connection,
        queue: &Queue,
        followed: &mut Followed,
    ) -> Result<(), Failure> {
        let earlier = typed(queue.all(connection).await?)?;
        followed.next = earlier.first().map_or(1, |newest| newest.number() + 1);
        let mut told = Told::new(app, self.json, &earlier);
        let news = followed.take(earlier);
        for row in &news {
            told.news(row);
        }
        if followed.open() == 0 {
            return Ok(());
        }
        if let Some(worker) = queue.worker() {
            tell_undone(app, connection, &worker.worker_id).await;
        }
        let args = queue.with(json!({"limit": WATCHED}));
        let mut changes = connection.client.subscribe("tasks:list", args);
        let mut looks = tokio::time::interval(LOOK);
        let mut away = false;
        while followed.open() > 0 {
            tokio::select! {
                change = changes.recv() => {
                    let mut page = change.ok_or_else(|| Failure::failed("the connection to the deployment has ended"))??;
                    let rows: Vec<Value> = read("tasks:list", page["tasks"].take())?;
                    let rows = typed(rows)?;
                    for row in followed.miss(&rows) {
                        told.dropped(&row);
                    }
                    for row in &followed.take(rows) {
                        told.news(row);
                    }
                    self.look_at_older(connection, followed, &mut told).await?;
                }
                _ = looks.tick() => {
                    match connection.client.is_connected() {
                        Ok(()) => away = false,
                        Err(reason) if !away => {
                            away = true;
                            told.say(&format!("{} is away ({reason}); waiting for it", connection.url));
                        }
                        Err(_) => {}
                    }
                    told.draw(followed.running(), queue).await;
                }
            }
        }
        told.end();
        Ok(())
    }

    /// Open ones that are too old for the watched page.
    async fn look_at_older(
        &self,
        connection: &Connection,
        followed: &mut Followed,
        told: &mut Told<'_>,
    ) -> Result<(), Failure> {
        let watched_from = followed.next.saturating_sub(u64::from(WATCHED) + 1);
        let open = followed.rows.values().filter(|row| row.is_open());
        let old: Vec<String> = open
            .filter(|row| row.number() < watched_from)
            .map(|row| row.task_id.clone())
            .collect();
        // Tasks are done in their order, so only the first can have changed.
        for id in old.iter().take(2) {
            match get(connection, id).await? {
                Some(mut found) => {
                    let row: TaskRow = read("tasks:get", found["task"].take())?;
                    followed
                        .take(vec![row])
                        .iter()
                        .for_each(|row| told.news(row));
                }
                None => {
                    if let Some(row) = followed.forget(id) {
                        told.dropped(&row);
                    }
                }
            }
        }
        Ok(())
    }
}

fn as_json(row: &TaskRow) -> Value {
    json!({
        "taskId": row.task_id,
        "number": row.number(),
        "title": row.title,
        "state": row.state,
        "branch": row.branch(),
        "attempt": row.attempt,
        "failure": row.failure.as_ref().map(|failure| json!({"class": failure.class, "message": failure.message})),
    })
}

fn besides(count: usize, what: &str) -> String {
    if count == 0 {
        String::new()
    } else {
        format!(", {count} {what}")
    }
}

/// With `--json` the object says it all; the code is the same.
fn ended_with(json: bool, failure: Failure) -> Result<Exit, Failure> {
    if json { Ok(failure.exit) } else { Err(failure) }
}

/// `None` when the time is over.
async fn limited<T>(limit: Option<Duration>, what: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, what).await.ok(),
        None => Some(what.await),
    }
}

/// What people hear on the way.
struct Told<'a> {
    app: &'a App,
    json: bool,
    width: Widths,
    bar: Option<ProgressBar>,
    /// The last step that was told without a terminal.
    step: String,
    obstacle: String,
}

impl<'a> Told<'a> {
    fn new(app: &'a App, json: bool, rows: &[TaskRow]) -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg}").ok();
        let bar = style
            .filter(|_| !app.globals.quiet && std::io::stderr().is_terminal())
            .map(|style| ProgressBar::new_spinner().with_style(style));
        Self {
            app,
            json,
            width: Widths::of(rows),
            bar,
            step: String::new(),
            obstacle: String::new(),
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.app.ui.say(text)),
            None => self.app.ui.say(text),
        }
    }

    fn dropped(&self, row: &TaskRow) {
        let title = short(&row.title, 60);
        self.say(&format!("{} {title}: dropped", row.number()));
    }

    fn news(&mut self, row: &TaskRow) {
        let now = jiff::Timestamp::now().as_millisecond() as f64;
        match row.state.as_str() {
            "queued" if row.attempt > 0.0 => self.say(&format!(
                "{} {}: {} failed ({}), it is tried again",
                row.number(),
                short(&row.title, 60),
                row.attempts(),
                row.failure
                    .as_ref()
                    .map_or("", |failure| failure.class.as_str())
            )),
            "queued" => {}
            "running" if self.bar.is_some() => {}
            "running" => self.say(&format!(
                "{} {}: {}",
                row.number(),
                short(&row.title, 60),
                row.remark(now)
            )),
            _ if self.json => {}
            _ => {
                let text = line(row, self.width, now);
                match &self.bar {
                    Some(bar) => bar.suspend(|| self.app.ui.line(&text)),
                    None => self.app.ui.line(&text),
                }
            }
        }
    }

    async fn draw(&mut self, running: Option<&TaskRow>, queue: &Queue) {
        let tasks = match queue.worker() {
            Some(worker) => live::of_worker(self.app, &worker.worker_id).await,
            None => None,
        };
        let obstacle = tasks.as_ref().and_then(live::obstacle).unwrap_or_default();
        if obstacle != self.obstacle {
            if !obstacle.is_empty() {
                let why = short(obstacle, 300);
                self.say(&format!("the tasks of {} wait: {why}", queue.name()));
            }
            obstacle.clone_into(&mut self.obstacle);
        }
        let Some(row) = running else {
            self.show("waiting".to_owned());
            return;
        };
        let step = tasks
            .as_ref()
            .and_then(|tasks| live::step_of(tasks, &row.task_id));
        let title = short(&row.title, 48);
        if self.bar.is_some() {
            let now = jiff::Timestamp::now().as_millisecond() as f64;
            let ms = row.started_at.map_or(0.0, |began| (now - began).max(0.0));
            let step = step.map_or_else(String::new, |(step, turns)| live::text(step, turns));
            self.show(format!(
                "{} {title}  {}  {}  {step}",
                row.number(),
                row.attempts(),
                spell(ms as u64)
            ));
        } else if let Some((step, _)) = step {
            let told = format!("{} {title}: {step}", row.number());
            if told != self.step {
                self.say(&told);
                self.step = told;
            }
        }
    }

    fn show(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            bar.tick();
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn what_was_over_before_is_not_waited_for_and_what_comes_meanwhile_is() {
        let at = |seq: u64, state: &str| {
            row(&json!({"seq": seq, "state": state, "taskId": format!("t{seq}")}))
        };
        let mut followed = Followed {
            next: 4,
            ..Followed::default()
        };
        let news = followed.take(vec![at(2, "queued"), at(1, "running"), at(0, "failed")]);
        let states = |news: &[TaskRow]| -> Vec<(u64, String)> {
            news.iter()
                .map(|row| (row.number(), row.state.clone()))
                .collect()
        };
        assert_eq!(
            states(&news),
            [(2, "running".to_owned()), (3, "queued".to_owned())]
        );
        assert_eq!((followed.open(), followed.in_state("failed")), (2, 0));
        let news = followed.take(vec![
            at(3, "queued"),
            at(2, "queued"),
            at(1, "done"),
            at(0, "queued"),
        ]);
        assert_eq!(
            states(&news),
            [
                (1, "queued".to_owned()),
                (2, "done".to_owned()),
                (4, "queued".to_owned())
            ]
        );
        assert_eq!(followed.open(), 3);
    }

    #[test]
    fn a_task_that_is_dropped_meanwhile_is_not_waited_for_any_more() {
        let at = |seq: u64, state: &str| {
            row(&json!({"seq": seq, "state": state, "taskId": format!("t{seq}")}))
        };
        let mut followed = Followed::default();
        followed.take(vec![at(2, "queued"), at(1, "queued"), at(0, "running")]);
        let page = vec![at(2, "queued"), at(0, "running")];
        let gone = followed.miss(&page);
        assert_eq!(gone.iter().map(TaskRow::number).collect::<Vec<_>>(), [2]);
        followed.take(page);
        assert_eq!((followed.open(), followed.dropped), (2, 1));
        assert_eq!(followed.miss(&[at(0, "done")]).len(), 1);
        followed.take(vec![at(0, "done")]);
        assert_eq!((followed.open(), followed.dropped), (0, 2));
        // Of what lies before the first row of a full page nothing is known.
        let mut followed = Followed::default();
        followed.take(vec![at(0, "queued")]);
        let full: Vec<TaskRow> = (1..=200).rev().map(|seq| at(seq, "queued")).collect();
        assert!(followed.miss(&full).is_empty());
        assert_eq!(followed.forget("t0").map(|row| row.number()), Some(1));
        assert_eq!((followed.open(), followed.dropped), (0, 1));
    }
}
