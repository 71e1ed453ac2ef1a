//! `orchestrator logs`: the supervisor's log, or what the assistants printed, from the files that rotate; also when none runs.

mod line;

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::config::parse_duration;
use crate::control::Verb;
use crate::control::report::Report;
use crate::telemetry::reading::past;
use crate::telemetry::{ASSISTANTS, SUPERVISOR};
pub(super) use line::Line;
use line::Wanted;

/// Unless more is asked for.
const LINES: usize = 100;
/// How often it is looked for more.
const LOOK: Duration = Duration::from_millis(200);

/// Show the supervisor's log, whether it runs or not
#[derive(Debug, Args)]
pub struct Logs {
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,

    /// So many lines [default: 100; with --since all]
    #[arg(short = 'n', long, value_name = "COUNT")]
    lines: Option<usize>,

    /// From then on: a time before now (10m, 2h), or a time (2026-11-20T09:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<String>,

    /// This level, and what is worse
    #[arg(long, value_enum, value_name = "LEVEL")]
    level: Option<Level>,

    /// Of this worker (name or id) and its sessions
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,

    /// Of this session (its id, or a start of it)
    #[arg(long, value_name = "ID")]
    session: Option<String>,

    /// One JSON object a line
    #[arg(long)]
    pub json: bool,

    /// What the assistants printed, instead of what the supervisor tells
    #[arg(long, conflicts_with_all = ["level", "worker"])]
    raw: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// The newest lines that name a task; none when there is no log here.
pub(super) fn of_task(app: &App, task: &str, most: usize) -> Vec<Line> {
    let take = |text: &str| Line::parse(text).filter(|line| line.is_of_task(task));
    past(&app.paths.logs(), SUPERVISOR, Some(most), take)
        .map_or_else(|_| Vec::new(), |(lines, _)| lines)
}

/// As the log writes times, so that they compare as texts.
fn since(text: &str) -> Result<String, String> {
    let wrong = || "neither a time before now (10m) nor a time (2026-11-20T09:00:00Z)".to_owned();
    let time = if let Ok(time) = text.parse::<jiff::Timestamp>() {
        time
    } else {
        let before = match parse_duration(text) {
            Ok(before) => before,
            Err(reason) if is_duration(text) => return Err(reason),
            Err(_) => return Err(wrong()),
        };
        let before = jiff::SignedDuration::try_from(before).map_err(|_| wrong())?;
        jiff::Timestamp::now()
            .checked_sub(before)
            .map_err(|_| wrong())?
    };
    Ok(time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

/// One that is too long, for its reader as well, is one.
fn is_duration(text: &str) -> bool {
    use humantime::DurationError;
    let text = text.trim();
    text.parse::<u64>().is_ok()
        || matches!(
            humantime::parse_duration(text),
            Ok(_) | Err(DurationError::NumberOverflow)
        )
}

impl Logs {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let name = if self.raw { ASSISTANTS } else { SUPERVISOR };
        let wanted = self.wanted(app).await;
        let folder = app.paths.logs();
        let unreadable = |error: std::io::Error| {
            Failure::failed(format!(
                "cannot read the log in {}: {error}",
                folder.display()
            ))
        };
        let most = match (self.lines, &self.since) {
            (Some(lines), _) => Some(lines),
            (None, Some(_)) => None,
            (None, None) => Some(LINES),
        };
        let take = |text: &str| Line::parse(text).filter(|line| wanted.takes(line));
        let (lines, mut follower) = past(&folder, name, most, take).map_err(unreadable)?;
        if lines.is_empty() && !self.follow && !folder.join(format!("{name}.log")).exists() {
            return Err(Failure::failed(format!(
                "there is no log in {}",
                app.paths.shown(&folder)
            ))
            .hint("it begins with the first orchestrator run"));
        }
        let is_empty = lines.is_empty();
        for line in lines {
            self.show(app, &line);
        }
        if !self.follow {
            if let Some(told) = self.nothing().filter(|_| is_empty) {
                app.ui.say(told);
            }
            return Ok(Exit::Ok);
        }
        loop {
            follower
                .more(|text| {
                    if let Some(line) = take(text) {
                        self.show(app, &line);
                    }
                })
                .map_err(unreadable)?;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What is said when no line is shown: a name may be mistyped, or its lines may have been left out otherwise.
    fn nothing(&self) -> Option<String> {
        let named = match (&self.worker, &self.session) {
            (None, None) => return None,
            (Some(worker), None) => format!("worker {worker}"),
            (None, Some(session)) => format!("session {session}"),
            (Some(worker), Some(session)) => format!("worker {worker} and session {session}"),
        };
        let among = match (self.level, &self.since) {
            (None, None) => "",
            _ => " among those of this time and level",
        };
        Some(format!("no line of the log names {named}{among}"))
    }

    fn show(&self, app: &App, line: &Line) {
        if self.json {
            app.ui.line(line.json());
        } else if self.raw {
            app.ui.line(line.raw(self.session.is_none()));
        } else {
            app.ui.line(line.text());
        }
    }

    /// Lines name a worker by its name or its id, and some a session only: a supervisor that runs knows what belongs together.
    async fn wanted(&self, app: &App) -> Wanted {
        let mut wanted = Wanted {
            since: self.since.clone(),
            level: self.level,
            session: self.session.clone(),
            workers: self.worker.iter().cloned().collect(),
            sessions: Vec::new(),
        };
        if let Some(name) = &self.worker
            && let Ok(supervisor) = Supervisor::find(app)
            && let Ok(answer) = supervisor.ask(Verb::Ps, SHORT).await
            && let Ok(report) = read::<Report>("ps", answer)
        {
            let meant = report
                .workers
                .into_iter()
                .filter(|worker| worker.name == *name || worker.id == *name);
            for worker in meant {
                wanted.workers.extend([worker.name, worker.id]);
                let sessions = worker.sessions.into_iter().map(|session| session.id);
                wanted.sessions.extend(sessions);
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Given {
        #[command(flatten)]
        logs: Logs,
    }

    #[test]
    fn that_no_line_names_what_was_asked_for_is_said() {
        let told = |args: &[&str]| {
            let args = [&["logs"], args].concat();
            <Given as clap::Parser>::parse_from(args).logs.nothing()
        };
        assert_eq!(told(&["--level", "warn"]), None);
        let worker = told(&["--worker", "nope"]);
        assert_eq!(
            worker.as_deref(),
            Some("no line of the log names worker nope")
        );
        let both = told(&["--session", "x", "--level", "warn"]).unwrap();
        assert!(both.contains("session x among those"), "{both}");
    }

    #[test]
    fn a_time_that_is_too_long_is_told_from_one_that_is_none() {
        for long in ["99999999d", "99999999999999999999d", "9999999999999"] {
            let told = since(long).unwrap_err();
            assert!(told.contains("at most 30 days"), "{long}: {told}");
        }
        assert!(since("soon").unwrap_err().starts_with("neither a time"));
        assert!(since("10m").is_ok());
    }
}
