//! `orchestrator doctor`: one line a finding, and the next command under what is not well.

use clap::Args;
use owo_colors::OwoColorize;
use serde_json::json;

use crate::cli::doctor::{Examination, Finding, Level};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;

/// Look whether everything that is needed is here and well; exit 1 when something fails
#[derive(Debug, Args)]
pub struct Doctor {
    /// Mend what is ours: modes of secrets (0600), a dead supervisor's socket and processes
    #[arg(long)]
    fix: bool,

    /// Ask no deployment
    #[arg(long)]
    offline: bool,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Doctor {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let findings = Box::pin(Examination::new(app, self.fix, self.offline).all()).await;
        let worst = findings.iter().map(|one| one.level).max();
        if self.json {
            app.ui.json(&json!({
                "schema": 1,
                "level": worst.unwrap_or(Level::Ok),
                "findings": findings,
            }));
        } else {
            for finding in &findings {
                app.ui.line(line(finding));
                if let Some(next) = &finding.next {
                    app.ui.line(format!("      next: {next}"));
                }
            }
        }
        Ok(match worst {
            Some(Level::Fail) => Exit::Failed,
            _ => Exit::Ok,
        })
    }
}

fn line(finding: &Finding) -> String {
    let word = match finding.level {
        Level::Ok if finding.fixed => "fixed".green().to_string(),
        Level::Ok => "ok   ".green().to_string(),
        Level::Warn => "warn ".yellow().to_string(),
        Level::Fail => "fail ".red().to_string(),
    };
    format!("{word} {:13} {}", finding.check, finding.text)
}
