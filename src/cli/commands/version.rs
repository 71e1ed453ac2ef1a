//! `orchestrator version`.

use clap::Args;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::globals::App;

/// Print the version
#[derive(Debug, Args)]
pub struct Version {
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Version {
    pub fn execute(self, app: &App) -> Exit {
        let version = env!("CARGO_PKG_VERSION");
        if self.json {
            app.ui.json(&json!({"schema": 1, "version": version}));
        } else {
            app.ui.line(format!("orchestrator {version}"));
        }
        Exit::Ok
    }
}
