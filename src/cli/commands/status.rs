//! `orchestrator status`: is it running, in one line.

use clap::Args;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::control::report::{Report, rfc3339};
use crate::control::{Tally, Verb};
use crate::ui::format::clock_time;

/// Say whether the supervisor runs, and how it is, in one line
#[derive(Debug, Args)]
pub struct Status {
    /// As one JSON object
    #[arg(long)]
    pub json: bool,

    /// Everything in numbers, in Prometheus' text format
    #[arg(long, conflicts_with = "json")]
    metrics: bool,
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
        if self.metrics {
            let text: String = read("metrics", supervisor.ask(Verb::Metrics, SHORT).await?)?;
            app.ui.data(&text);
            return Ok(Exit::Ok);
        }
        let report: Report = read("ps", supervisor.ask(Verb::Ps, SHORT).await?)?;
        let counts = Tally::of(&report);
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
                "running (pid {}, since {}): {counts}{}",
                holder.pid,
                clock_time(holder.since_ms),
                trouble.map_or_else(String::new, |trouble| format!("; {trouble}")),
            ));
        }
        Ok(Exit::Ok)
    }
}
