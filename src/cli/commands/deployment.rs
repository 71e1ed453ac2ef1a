//! `orchestrator deployment`: the embedded deployment alone, for tests and for a home server.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::telemetry;

/// Run the embedded deployment alone
#[derive(Debug, Args)]
pub struct Deployment {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a deployment on this machine's loopback until Ctrl+C
    Run {
        /// Its port; 0 takes any free one
        #[arg(long, default_value_t = 3210)]
        port: u16,
        /// Where its database and the owner's key are [default: $XDG_DATA_HOME/opencode-orchestrator/local]
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
}

impl Deployment {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let Command::Run { port, data } = self.command;
        let folder = data.unwrap_or_else(|| app.paths.local());
        let levels = telemetry::Levels {
            file: "off".to_owned(),
            stderr: app.stderr_level(),
        };
        let _logging = telemetry::start(None, &levels, app.ui.colors_on_stderr());
        let up = |url: &str, key: &std::path::Path| {
            app.ui.line(format!(
                "deployment  {url}   embedded, {}",
                app.paths.shown(&folder)
            ));
            app.ui.say(format!(
                "owner's key {}   ·   use it: orchestrator --url {url} …   ·   stop: Ctrl+C",
                app.paths.shown(key)
            ));
        };
        crate::daemon::serve_deployment(&folder, port, up).await?;
        Ok(Exit::Ok)
    }
}
