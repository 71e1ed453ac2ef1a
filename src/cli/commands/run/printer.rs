//! What a supervisor tells while it starts, serves and stops, as people read it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use orchestrator_actors::machine::WorkerStart;
use tracing::warn;

use crate::adapters::process::background;
use crate::cli::commands::reload::done;
use crate::cli::failure::Failure;
use crate::cli::failure::warning_text;
use crate::config;
use crate::control::{self, Refusal};
use crate::daemon::{Announce, Ended, News, Progress, Reloaded, Summary, WorkerLine};
use crate::ui::Ui;
use crate::ui::format::{duration, plural, short_id};

/// What an installed OpenCode takes on disk, roughly: the length of the progress bar.
const USUAL_SIZE: u64 = 180 * 1024 * 1024;

pub(super) struct Printer {
    ui: Ui,
    /// Where what is said goes once we are up, when nobody stays to hear it.
    leave_for: Option<PathBuf>,
    /// Of a running installation, when somebody watches.
    bar: Mutex<Option<ProgressBar>>,
}

impl Printer {
    pub fn new(ui: Ui, leave_for: Option<PathBuf>) -> Self {
        Self {
            ui,
            leave_for,
            bar: Mutex::default(),
        }
    }

    pub fn failed_workers(&self, lines: &[WorkerLine]) {
        for line in lines {
            if let WorkerStart::Failed(reason) = &line.start {
                self.ui.error(&format!("worker {}: {reason}", line.name));
            }
        }
    }
}

impl Announce for Printer {
    fn warning(&self, problem: &config::Problem) {
        self.ui.error(&warning_text(problem));
    }

    fn progress(&self, progress: Progress) {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Progress::Installing(what) => {
                self.ui.say(&what);
                *bar = self.ui.progress_bar(USUAL_SIZE);
            }
            Progress::Bytes(count) => {
                if let Some(bar) = bar.as_ref() {
                    bar.set_length(USUAL_SIZE.max(count));
                    bar.set_position(count);
                }
            }
            Progress::Installed => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
                self.ui.say("installed");
            }
        }
    }

    fn started(&self, summary: &Summary) {
        let ui = &self.ui;
        if summary.demo {
            ui.line("demo        answers come from a scripted model, not from a provider");
        }
        if let Some((url, detail)) = &summary.deployment {
            ui.line(format!("deployment  {url}   {detail}"));
        }
        let tools = if summary.tools.is_empty() {
            "no assistants in PATH".to_owned()
        } else {
            summary.tools.join(", ")
        };
        let machine = format!(
            "{} ({})",
            summary.machine_name,
            short_id(&summary.machine_id)
        );
        ui.line(format!("machine     {machine:22}  {tools}"));
        for worker in &summary.workers {
            let state = match &worker.start {
                WorkerStart::Ready => "ready".to_owned(),
                WorkerStart::Waiting(reason) => format!("waiting: {reason}"),
                WorkerStart::Failed(_) => "failed".to_owned(),
            };
            ui.line(format!(
                "worker      {:22}  {}   {state}",
                worker.name, worker.directory
            ));
        }
        self.failed_workers(&summary.workers);
        let stop = match &self.leave_for {
            Some(_) => "orchestrator stop",
            None => "Ctrl+C",
        };
        ui.line(format!(
            "talk to it: orchestrator chat   ·   look at it: orchestrator ps   ·   stop: {stop}"
        ));
        if let Some(log) = &self.leave_for
            && let Err(error) = background::leave(log)
        {
            // Whoever waits sees our end of the pipes go with us.
            warn!(%error, log = %log.display(), "cannot go into the background");
        }
    }

    fn reloaded(&self, result: Result<&Reloaded, &Refusal>) {
        match result {
            Ok(reloaded) => {
                let report = &reloaded.report;
                self.ui.say(done(
                    report.added.len(),
                    report.changed.len(),
                    report.removed.len(),
                    report.sessions_kept,
                ));
                for setting in &reloaded.needs_restart {
                    self.notice(&needs_restart(setting));
                }
            }
            Err(refusal) => {
                Failure::from(control::ClientError::from(refusal.clone())).show(self.ui);
            }
        }
    }

    fn news(&self, news: &News) {
        let line = format!("{}: {}", news.who, news.text);
        if news.is_good {
            self.ui.say(line);
        } else {
            self.ui.error(&line);
        }
    }

    fn notice(&self, text: &str) {
        self.ui.error(&format!("warning: {text}"));
    }

    fn stopping(&self, workers: usize, sessions: usize, limit: Duration) {
        self.ui.say(format!(
            "stopping {}, {} (up to {}; again to stop at once) …",
            plural(workers, "worker"),
            plural(sessions, "session"),
            duration(limit)
        ));
    }

    fn stopped(&self, ended: &Ended) {
        match ended {
            Ended::Stopped { took, outbox } => {
                self.ui.say(format!("stopped in {}", duration(*took)));
                if *outbox > 0 {
                    let count = plural(*outbox, "finished turn");
                    self.ui.say(format!("{count} did not reach the deployment: kept in the outbox, sent with the next start"));
                }
            }
            Ended::Again { took, .. } => {
                self.ui
                    .say(format!("stopped in {}, starting again", duration(*took)));
            }
            Ended::Forced { limit, killed } => {
                let killed = if *killed == 1 {
                    "killed 1 child".to_owned()
                } else {
                    format!("killed {killed} children")
                };
                self.ui.error(&match limit {
                    Some(limit) => format!(
                        "graceful shutdown timed out after {}; {killed}",
                        duration_words(*limit)
                    ),
                    None => format!("stopped at once; {killed}"),
                });
            }
            Ended::Interrupted => self.ui.error("interrupted before it was up"),
        }
    }
}

/// A setting that a reload cannot change.
pub fn needs_restart(setting: &str) -> String {
    format!("{setting} has changed: it holds after orchestrator restart")
}

/// `30s`: limits are said as they are set.
fn duration_words(limit: Duration) -> String {
    humantime::format_duration(limit).to_string()
}
