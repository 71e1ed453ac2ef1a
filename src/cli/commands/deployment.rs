//! `orchestrator deployment`: the embedded deployment alone, for tests and for a home server; and the proof that a
//! deployment, whosever it is, does what the product needs.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::check;
use crate::cli::connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::listen::ListenArgs;
use crate::config::env;
use crate::daemon::{Listen, listen_warning, page_origin};
use crate::telemetry;

/// Run the embedded deployment alone, or check any deployment
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
        /// Let web pages of this origin talk to it, like https://chat.example; may be repeated
        #[arg(long, value_name = "ORIGIN", value_parser = page_origin)]
        allow_origin: Vec<String>,
        #[command(flatten)]
        listen: ListenArgs,
    },
    /// Play the product's scenario against a deployment, under a throwaway machine that is removed again
    ///
    /// Needs an owner's identity that the deployment accepts (`ORCHESTRATOR_OWNER_TOKEN`, or the owner's key). Exit code 0
    /// when every step passed, 1 when one did not.
    Check {
        /// Its URL [default: as for every command]
        url: Option<String>,
    },
}

impl Deployment {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        match self.command {
            Command::Run {
                port,
                data,
                allow_origin,
                listen,
            } => serve(app, port, data, allow_origin, listen.resolve()?).await,
            Command::Check { url } => prove(app, url).await,
        }
    }
}

async fn prove(app: &App, url: Option<String>) -> Result<Exit, Failure> {
    let connected = match url {
        Some(url) if has_path(&url) => {
            return Err(Failure::usage(format!(
                "a deployment is at the root of its address, and this names a path: {url}"
            ))
            .hint("leave out what follows the host and the port"));
        }
        Some(url) => connection::connect_to(app, &url).await?,
        None => connection::connect(app).await?,
    };
    app.ui.say(format!("deployment  {}", connected.url));
    let mut stop = crate::daemon::StopSignals::register()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let report = |step: check::Step| match step.error {
        None => app.ui.line(format!("ok    {}", step.what)),
        Some(error) => app.ui.line(format!("fail  {}: {error}", step.what)),
    };
    let passed = check::play(&connected.client, async || stop.asked().await, report).await;
    Ok(if passed { Exit::Ok } else { Exit::Failed })
}

fn has_path(text: &str) -> bool {
    url::Url::parse(text.trim()).is_ok_and(|url| !matches!(url.path(), "" | "/"))
}

async fn serve(
    app: &App,
    port: u16,
    data: Option<PathBuf>,
    origins: Vec<String>,
    listen: Option<Listen>,
) -> Result<Exit, Failure> {
    let is_default = data.is_none();
    let folder = data.unwrap_or_else(|| app.paths.local());
    let levels = telemetry::Levels {
        file: "off".to_owned(),
        stderr: app.stderr_level(),
    };
    let _logging = telemetry::start(None, &levels, app.ui.colors_on_stderr());
    let up = |url: &str, key: &Path, page: Option<&str>| {
        app.ui.line(format!(
            "deployment  {url}   embedded, {}",
            app.paths.shown(&key.with_file_name("local.sqlite3"))
        ));
        let variable = if is_default {
            String::new()
        } else {
            format!("{}={} ", env::OWNER_KEY, shell_word(key))
        };
        app.ui.say(format!(
            "owner's key {}   ·   use it: {variable}orchestrator --url {url} …   ·   stop: Ctrl+C",
            app.paths.shown(key)
        ));
        if let Some(page) = page {
            app.ui.error(&format!("warning: {}", listen_warning(page)));
        }
    };
    let trouble = |reason: &str| app.ui.error(&format!("warning: {reason}"));
    crate::daemon::serve_deployment(&folder, port, origins, listen.as_ref(), up, trouble).await?;
    Ok(Exit::Ok)
}

/// A path as it is typed into a shell, whatever folder that stands in.
fn shell_word(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,@:".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
