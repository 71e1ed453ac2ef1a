//! `orchestrator status`: is it running, in one line.

use clap::Args;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::control::Verb;
use crate::control::report::{Report, rfc3339};
use crate::ui::format::{clock_time, plural};

/// Say whether the supervisor runs, and how it is, in one line
#[derive(Debug, Args)]
pub struct Status {
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Status {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let supervisor = match Supervisor::find(app) {
            Ok(supervisor) => supervisor,
            Err(failure) if self.json && failure.exit == Exit::NotRunning => {
                app.ui.json(&json!({"schema": 1, "running": false}));
                return Ok(Exit::NotRunning);
            }
            Err(failure) => return Err(failure),
        };
        let report: Report = read("ps", supervisor.ask(Verb::Ps, SHORT).await?)?;
        let counts = Counts::of(&report);
        let trouble = report.trouble();
        let holder = supervisor.holder;
        if self.json {
            app.ui.json(&json!({
                "schema": 1,
                "running": true,
                "pid": holder.pid,
                "since": rfc3339(holder.since_ms),
                "version": report.machine.version,
                "url": supervisor.file.as_ref().and_then(|file| file.url.clone()),
                "workers": counts.workers,
                "workers_ready": counts.ready,
                "sessions": counts.sessions,
                "sessions_active": counts.active,
                "sessions_waiting": counts.waiting,
                "outbox": report.machine.outbox,
                "trouble": trouble,
            }));
        } else {
            app.ui.line(format!(
                "running (pid {}, since {}): {}, {} ready; {}, {} active{}; outbox {}{}",
                holder.pid,
                clock_time(holder.since_ms),
                plural(counts.workers, "worker"),
                counts.ready,
                plural(counts.sessions, "session"),
                counts.active,
                counts.told_waiting(),
                report.machine.outbox,
                trouble.map_or_else(String::new, |trouble| format!("; {trouble}")),
            ));
        }
        Ok(Exit::Ok)
    }
}

struct Counts {
    workers: usize,
    ready: usize,
    sessions: usize,
    active: usize,
    /// With a message that no assistant has yet: it starts, or waits for something.
    waiting: usize,
    /// What the first of them waits for.
    waits_for: Option<String>,
}

impl Counts {
    fn of(report: &Report) -> Self {
        let sessions = || report.workers.iter().flat_map(|worker| &worker.sessions);
        let waiting = || sessions().filter(|row| row.turn.is_some() && row.phase != "active");
        Self {
            waiting: waiting().count(),
            waits_for: waiting()
                .map(|row| row.detail.clone())
                .find(|detail| !detail.is_empty()),
            workers: report.workers.len(),
            ready: report
                .workers
                .iter()
                .filter(|worker| worker.phase == "ready")
                .count(),
            sessions: sessions().count(),
            active: sessions().filter(|row| row.phase == "active").count(),
        }
    }

    fn told_waiting(&self) -> String {
        match (self.waiting, &self.waits_for) {
            (0, _) => String::new(),
            (count, Some(what)) => format!(", {count} waiting ({what})"),
            (count, None) => format!(", {count} waiting"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::tests::sample;

    #[test]
    fn a_message_of_a_session_that_is_starting_is_waiting() {
        let mut report = sample();
        assert_eq!(Counts::of(&report).told_waiting(), "");
        let session = &mut report.workers[0].sessions[0];
        session.phase = "starting".to_owned();
        assert_eq!(Counts::of(&report).told_waiting(), ", 1 waiting");
        report.workers[0].sessions[0].detail = "waits for a place".to_owned();
        let counts = Counts::of(&report);
        assert_eq!((counts.active, counts.waiting), (0, 1));
        assert_eq!(counts.told_waiting(), ", 1 waiting (waits for a place)");
    }
}
