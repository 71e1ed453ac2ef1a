//! `orchestrator ps`: the actor tree. It reads the supervisor's table, so it works while an actor is stuck.

use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::control::Verb;
use crate::control::report::Report;
use crate::ui::tree::{Shown, draw};

/// Show the machine, its deployments, workers and sessions as a tree
#[derive(Debug, Args)]
pub struct Ps {
    /// As one JSON object
    #[arg(long)]
    pub json: bool,

    /// Ended sessions, too
    #[arg(long)]
    all: bool,

    /// Exit 1 unless all workers are ready, all deployments in reach, no actor stuck
    #[arg(long)]
    check: bool,
}

impl Ps {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let supervisor = Supervisor::find(app)?;
        let value = supervisor.ask(Verb::Ps, SHORT).await?;
        let report: Report = read("ps", value.clone())?;
        if self.json {
            app.ui.json(&value);
        } else {
            let home = app.paths.home.display().to_string();
            app.ui
                .line(draw(&report, Some(&home), Shown { all: self.all }));
        }
        let ready = report.workers.iter().all(|worker| worker.phase == "ready");
        let works = report.trouble().is_none() && report.stuck().is_empty();
        if self.check && !(ready && works) {
            return Ok(Exit::Failed);
        }
        Ok(Exit::Ok)
    }
}
