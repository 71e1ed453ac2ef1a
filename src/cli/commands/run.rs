//! `orchestrator run`: the supervisor, in the foreground. What it prints at its start is data (stdout), because people and
//! scripts read it; everything later is talk.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use orchestrator_actors::machine::{ReloadReport, WorkerStart};

use crate::cli::commands::config::warning_text;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::config::{self, ConfigError, Limits, env, parse_duration, template};
use crate::control::{self, Refusal};
use crate::daemon::{
    Announce, Ended, LocalOptions, Mode, News, Progress, RunError, RunOptions, Summary, WorkerLine,
};
use crate::telemetry;
use crate::ui::Ui;
use crate::ui::format::{duration, plural, short_id};

/// Convex's own port for local deployments.
const DEFAULT_PORT: u16 = 3210;
const PRODUCTION_LIMIT: Duration = Duration::from_secs(30);
/// What an installed OpenCode takes on disk, roughly: the length of the progress bar.
const USUAL_SIZE: u64 = 180 * 1024 * 1024;
const LOCAL_LIMIT: Duration = Duration::from_secs(10);

/// Run the supervisor in the foreground: the workers of workers.json, or --local directories
#[derive(Debug, Args)]
pub struct Run {
    /// Serve these directories with a deployment of our own; no account, no workers.json [default: .]
    #[arg(long, value_name = "DIR", num_args = 0..)]
    local: Option<Vec<PathBuf>>,

    /// Port of the deployment with --local; 0 takes any free one [default: 3210]
    #[arg(long, requires = "local")]
    port: Option<u16>,

    /// Let web pages of this origin talk to the deployment with --local, like https://chat.example; may be repeated
    #[arg(long, value_name = "ORIGIN", requires = "local")]
    allow_origin: Vec<String>,

    /// Answer from a scripted model instead of a provider: no key, and no network but to install OpenCode with npm where
    /// there is none
    #[arg(long)]
    demo: bool,

    /// Serve tokens that another supervisor holds; that one stops serving them
    #[arg(long)]
    take_over: bool,

    /// Run in the background: return when it is up
    #[arg(long)]
    detach: bool,

    /// How long a graceful stop may take [default: 30s, with --local 10s]
    #[arg(long, value_name = "TIME", env = env::SHUTDOWN_TIMEOUT, hide_env_values = true,
          value_parser = parse_duration)]
    shutdown_timeout: Option<Duration>,

    /// Stop a session's assistant after this time without a turn [default: 300s, or what workers.json says]
    #[arg(long, value_name = "TIME", env = env::IDLE_TIMEOUT, hide_env_values = true,
          value_parser = parse_duration)]
    idle_timeout: Option<Duration>,

    /// OpenCode to use [default: a compatible one in PATH, else the pinned one, installed once]
    #[arg(long, value_name = "PATH", env = env::OPENCODE_BIN, hide_env_values = true)]
    opencode: Option<PathBuf>,
}

impl Run {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        if self.detach {
            return super::detach::detach(app).await;
        }
        let options = self.options(app)?;
        let port = match &options.mode {
            Mode::Local(local) => Some(local.port),
            Mode::Workers(_) => None,
        };
        let levels = telemetry::Levels {
            file: app
                .globals
                .log_level
                .clone()
                .or_else(|| log_level(&options.mode))
                .unwrap_or_else(|| "info".to_owned()),
            stderr: app.stderr_level(),
        };
        config::paths::private_dir(&app.paths.state)
            .map_err(|error| RunError::StateFolder(error.to_string()))?;
        let logs = app.paths.logs();
        let made = config::paths::private_dir(&logs).map_err(|error| error.to_string());
        let folder = made.is_ok().then_some(logs.as_path());
        let logging = telemetry::start(folder, &levels, app.ui.colors_on_stderr());
        // No reason not to run; but without a log nobody can say later what went wrong.
        if let Some(reason) = made.err().or_else(|| logging.trouble.clone()) {
            app.ui
                .error(&format!("warning: no log is written: {reason}"));
        }
        let printer = Printer {
            ui: app.ui,
            bar: Mutex::default(),
        };
        let ended = crate::daemon::run(options, &printer).await;
        drop(logging);
        match ended {
            Ok(Ended::Stopped { .. }) => Ok(Exit::Ok),
            Ok(Ended::Interrupted) => Ok(Exit::Interrupted),
            Ok(Ended::Forced { .. }) => Ok(Exit::Failed),
            Err(error) => {
                if let RunError::NoWorker(lines) = &error {
                    printer.failed_workers(lines);
                    if let Some(hint) = way_back(lines, port) {
                        return Err(Failure::from(error).hint(hint));
                    }
                }
                Err(error.into())
            }
        }
    }

    fn options(self, app: &App) -> Result<RunOptions, Failure> {
        let local = self.local.is_some();
        let mode = match self.local {
            Some(directories) => Mode::Local(LocalOptions {
                directories: if directories.is_empty() {
                    vec![PathBuf::from(".")]
                } else {
                    directories
                },
                port: self.port.unwrap_or(DEFAULT_PORT),
                origins: self.allow_origin,
            }),
            None => Mode::Workers(load(app)?),
        };
        let limit = if local { LOCAL_LIMIT } else { PRODUCTION_LIMIT };
        Ok(RunOptions {
            paths: app.paths.clone(),
            limits: limits(&mode)?,
            mode,
            take_over: self.take_over,
            demo: self.demo,
            opencode: self.opencode,
            boot: boot_limit()?,
            shutdown: self.shutdown_timeout.unwrap_or(limit),
            idle_timeout_ms: self.idle_timeout.map(|time| time.as_millis() as u64),
            base: app.base(),
            url_rule: app.url_rule(),
        })
    }
}

/// The configuration; a missing one at its usual place is replaced by a template, and the run ends.
fn load(app: &App) -> Result<config::Loaded, Failure> {
    let path = &app.paths.workers_file;
    match config::load(path, &app.base(), app.url_rule()) {
        Ok(loaded) => Ok(loaded),
        // A path that was named is a path that was meant: nothing is made there.
        Err(error @ ConfigError::Missing { .. }) if app.globals.config.is_some() => {
            Err(error.into())
        }
        Err(ConfigError::Missing { .. }) => {
            template::write(path).map_err(|error| {
                Failure::new(
                    Exit::Config,
                    format!("no workers configuration, and no template can be left: {error}"),
                )
                .hint("make the folder writable, or name another file with --config")
            })?;
            Err(Failure::new(
                Exit::Config,
                format!(
                    "No workers configuration found. A template has been created at:\n{}",
                    path.display()
                ),
            )
            .bare()
            .hint(
                "fill it in and run again; or try it without an account: orchestrator run --local",
            ))
        }
        Err(error) => Err(error.into()),
    }
}

/// How a worker that was revoked serves again, when nothing else is left to serve. The deployment of `--local` has ended
/// with us, so it has to be started alone for that; `port` is its port.
fn way_back(lines: &[WorkerLine], port: Option<u16>) -> Option<String> {
    let revoked = lines.iter().find(
        |line| matches!(&line.start, WorkerStart::Failed(reason) if reason.contains("revoked")),
    )?;
    let name = &revoked.name;
    Some(match port {
        None => format!("to let it serve again: orchestrator worker approve {name} --restore"),
        Some(port) => {
            // Any free one is good for `run`, but here it has to be known.
            let port = if port == 0 { DEFAULT_PORT } else { port };
            format!(
                "to let it serve again: orchestrator deployment run --port {port}, and beside it \
                 orchestrator --url http://127.0.0.1:{port} worker approve {name} --restore; then stop that and run again"
            )
        }
    })
}

/// What the environment says about it; a wrong value is wrong use, as it is with a flag.
fn boot_limit() -> Result<Option<Duration>, Failure> {
    let Some(text) = env::get(env::BOOT_TIMEOUT) else {
        return Ok(None);
    };
    let limit = parse_duration(&text)
        .map_err(|reason| Failure::usage(format!("{}={text}: {reason}", env::BOOT_TIMEOUT)))?;
    Ok(Some(limit))
}

fn limits(mode: &Mode) -> Result<Limits, Failure> {
    let of_file = match mode {
        Mode::Workers(loaded) => loaded.config.limits,
        Mode::Local(_) => Limits::default(),
    };
    of_file.under_environment().map_err(Failure::usage)
}

fn log_level(mode: &Mode) -> Option<String> {
    match mode {
        Mode::Workers(loaded) => loaded.config.log_level.clone(),
        Mode::Local(_) => None,
    }
}

struct Printer {
    ui: Ui,
    /// Of a running installation, when somebody watches.
    bar: Mutex<Option<ProgressBar>>,
}

impl Printer {
    fn failed_workers(&self, lines: &[WorkerLine]) {
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
        ui.line(
            "talk to it: orchestrator chat   ·   look at it: orchestrator ps   ·   stop: Ctrl+C",
        );
    }

    fn reloaded(&self, result: Result<&ReloadReport, &Refusal>) {
        match result {
            Ok(report) => self.ui.say(format!(
                "reloaded: {} added, {} changed, {} removed; sessions kept: {}",
                report.added.len(),
                report.changed.len(),
                report.removed.len(),
                report.sessions_kept
            )),
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

/// `30s`: limits are said as they are set.
fn duration_words(limit: Duration) -> String {
    humantime::format_duration(limit).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_told_of_a_revoked_worker_only() {
        let line = |reason: &str| WorkerLine {
            name: "shop".to_owned(),
            directory: "/a".to_owned(),
            start: WorkerStart::Failed(reason.to_owned()),
        };
        assert_eq!(way_back(&[line("no such directory")], None), None);
        let told = way_back(&[line("revoked by its owner")], Some(3211)).unwrap();
        assert!(told.contains("deployment run --port 3211"), "{told}");
        assert!(told.contains("worker approve shop --restore"), "{told}");
    }
}
