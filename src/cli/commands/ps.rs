//! `orchestrator ps`: the actor tree. It reads the supervisor's table, so it works while an actor is stuck. With `--watch` it is
//! drawn again and again, under the line of `status`, until the reader or the supervisor goes.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::config::parse_duration;
use crate::control::report::Report;
use crate::control::{Tally, Verb};
use crate::ui::tree::{Shown, draw};

/// Faster would only take time from what is watched.
const FASTEST: Duration = Duration::from_millis(100);

/// Show the machine, its deployments, workers and sessions as a tree
#[derive(Debug, Args)]
pub struct Ps {
    /// As one JSON object; with --watch one a line
    #[arg(long)]
    pub json: bool,

    /// Draw it again every so often: seconds, or with a unit
    #[arg(long, value_name = "SECS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds, conflicts_with = "check")]
    watch: Option<Duration>,

    /// How far down: 0 is the machine alone, 1 its bridges and workers, 2 their sessions
    #[arg(long, value_name = "N")]
    depth: Option<usize>,

    /// Sessions that have just ended, too (session list --all shows every one)
    #[arg(long)]
    all: bool,

    /// Do not cut lines to the terminal's width
    #[arg(long)]
    wide: bool,

    /// Show ids, titles and reasons in full, however long
    #[arg(long)]
    no_trunc: bool,

    /// Exit 1 unless all workers are ready, all deployments in reach, no actor stuck
    #[arg(long)]
    check: bool,
}

/// A bare number is seconds here, as in `watch`.
fn seconds(text: &str) -> Result<Duration, String> {
    let pause = match text.parse::<f64>() {
        Ok(number) => Duration::try_from_secs_f64(number).map_err(|error| error.to_string())?,
        Err(_) => parse_duration(text)?,
    };
    if pause < FASTEST {
        return Err(format!("at least {} ms", FASTEST.as_millis()));
    }
    Ok(pause)
}

impl Ps {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let Some(pause) = self.watch else {
            let (value, report) = ask(app).await?;
            if self.json {
                app.ui.json(&value);
            } else {
                app.ui.line(self.tree(app, &report));
            }
            return Ok(self.verdict(&report));
        };
        let clears = app.ui.stdout_is_tty() && !self.json;
        loop {
            let (value, report) = ask(app).await?;
            if self.json {
                app.ui.line(value.to_string());
            } else {
                let counts = Tally::of(&report).to_string();
                let tree = self.tree(app, &report);
                if clears {
                    app.ui.clear();
                }
                app.ui.line(format!("{counts}\n\n{tree}\n"));
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
            }
        }
    }

    fn tree(&self, app: &App, report: &Report) -> String {
        let home = app.paths.home.display().to_string();
        let shown = Shown {
            all: self.all,
            depth: self.depth,
            full: self.no_trunc,
            width: if self.wide || self.no_trunc {
                None
            } else {
                app.ui.width()
            },
        };
        draw(report, Some(&home), shown)
    }

    fn verdict(&self, report: &Report) -> Exit {
        let ready = report.workers.iter().all(|worker| worker.phase == "ready");
        let works = report.trouble().is_none() && report.stuck().is_empty();
        if self.check && !(ready && works) {
            return Exit::Failed;
        }
        Exit::Ok
    }
}

async fn ask(app: &App) -> Result<(Value, Report), Failure> {
    // Found anew: while it is watched, it may be another one.
    let supervisor = Supervisor::find(app)?;
    let value = supervisor.ask(Verb::Ps, SHORT).await?;
    let report = read("ps", value.clone())?;
    Ok((value, report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_seconds_and_none_is_too_fast() {
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["0", "-1", "soon", "NaN", "1ms"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
