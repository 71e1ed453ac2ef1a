//! `orchestrator run`: the supervisor, in the foreground. What it prints at its start is data (stdout), because people and
//! scripts read it; everything later is talk.

mod enrolling;
mod printer;
mod start;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use orchestrator_actors::domain::policy::{Decision, Policy};
use orchestrator_actors::machine::WorkerStart;

use crate::adapters::process::again::start_again;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::listen::ListenArgs;
use crate::config::{
    self, ANSWER_TIMEOUT_MS, DEFAULT_ANSWER_TIMEOUT_MS, Limits, Notify, env, parse_duration,
};
use crate::daemon::{Ended, LocalOptions, Mode, RunError, RunOptions, WorkerLine, page_origin};
use crate::telemetry;
use crate::ui::format::quoted;
use enrolling::Enrolling;
use printer::Printer;
pub(super) use printer::needs_restart;

/// Convex's own port for local deployments.
const DEFAULT_PORT: u16 = 3210;
/// Nobody reads along at a longer one.
const LONGEST_SPACING: Duration = Duration::from_secs(10);
const PRODUCTION_LIMIT: Duration = Duration::from_secs(30);
/// In front of a developer, who waits for the prompt.
const SHORT_LIMIT: Duration = Duration::from_secs(10);

/// Run the supervisor in the foreground: the workers of workers.json, --dev's one, or --local directories
#[derive(Debug, Args)]
pub struct Run {
    /// Serve these directories with a deployment of our own; no account, no workers.json [default: .]
    #[arg(long, value_name = "DIR", num_args = 0..)]
    local: Option<Vec<PathBuf>>,

    /// Port of the deployment with --local; 0 takes any free one [default: 3210]
    #[arg(long, requires = "local")]
    port: Option<u16>,

    /// Let web pages of this origin talk to the deployment with --local, like https://chat.example; may be repeated
    #[arg(long, value_name = "ORIGIN", requires = "local", value_parser = page_origin)]
    allow_origin: Vec<String>,

    #[command(flatten)]
    listen: ListenArgs,

    /// With --local: tell by the desktop's notifications what waits for you, fails, or took long
    #[arg(long, requires = "local")]
    notify_desktop: bool,

    /// With --local: tell the devices that have asked for it on their page, over their browsers' push services
    #[arg(long, requires = "local")]
    notify_push: bool,

    /// With --local: run this program for it; what there is to tell is on its stdin, as JSON
    #[arg(long, value_name = "PROGRAM", requires = "local")]
    notify_command: Option<String>,

    /// With --local: an answer that took this long is worth a word [default: 60s]
    #[arg(long, value_name = "TIME", requires = "local", value_parser = parse_duration)]
    notify_after: Option<Duration>,

    /// With --local: what is decided of that which an assistant asks for [env: ORCHESTRATOR_PERMISSIONS=] [default: ask]
    #[arg(long, value_name = "WORD", requires = "local", value_enum)]
    permissions: Option<Word>,

    /// With --local: reject what nobody has answered after this time [env: ORCHESTRATOR_ANSWER_TIMEOUT=] [default: 30min]
    #[arg(long, value_name = "TIME", requires = "local", value_parser = answer_timeout)]
    answer_timeout: Option<Duration>,

    /// Answer from a scripted model instead of a provider: no key, and no network but to install OpenCode with npm where
    /// there is none
    #[arg(long)]
    demo: bool,

    /// Development mode: one worker, from the .env in this directory; it ends with its worker
    #[arg(long, conflicts_with_all = ["local", "worker"])]
    dev: bool,

    /// Serve only these workers of workers.json (names or ids)
    #[arg(long, value_name = "NAME", num_args = 1.., conflicts_with = "local")]
    worker: Vec<String>,

    /// Reload whenever the configuration's file changes
    #[arg(long, conflicts_with = "local")]
    watch: bool,

    /// End when no turn is left to be answered
    #[arg(long)]
    exit_when_idle: bool,

    /// Serve tokens that another supervisor holds; that one stops serving them
    #[arg(long)]
    take_over: bool,

    /// Run in the background: return when it is up
    #[arg(long)]
    detach: bool,

    /// How long a graceful stop may take [default: 30s; with --local and --dev 10s]
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

/// What the flag says, or the variable: that one may be set where `run` serves workers.json, whose own word holds.
fn or_variable<T>(
    flag: Option<T>,
    variable: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    match (flag, env::get(variable)) {
        (Some(flag), _) => Ok(Some(flag)),
        (None, None) => Ok(None),
        (None, Some(text)) => parse(&text)
            .map(Some)
            .map_err(|reason| Failure::usage(format!("{variable}: {reason}"))),
    }
}

/// A policy in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Word {
    Ask,
    Allow,
    Deny,
}

impl Word {
    fn decision(self) -> Decision {
        match self {
            Self::Ask => Decision::Ask,
            Self::Allow => Decision::Allow,
            Self::Deny => Decision::Deny,
        }
    }
}

/// The bounds are those of the file's key.
fn answer_timeout(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if ANSWER_TIMEOUT_MS.contains(&(time.as_millis() as u64)) {
        return Ok(time);
    }
    Err("must be from 1s to 7 days (604800s)".to_owned())
}

impl Run {
    /// The same in the background.
    pub fn detached(self) -> Self {
        Self {
            detach: true,
            ..self
        }
    }

    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let background = env::get(env::IN_BACKGROUND).map(PathBuf::from);
        let enrolling = if self.local.is_none() && !self.dev {
            Enrolling::asked_for(app)?
        } else {
            None
        };
        if self.detach && background.is_none() {
            // What enrols is what runs, and then there is a configuration.
            if self.local.is_none() && enrolling.is_none() {
                // Whoever has to be asked is here and not in the background; and a mistake is shown in its source.
                start::configuration(app, self.dev, self.worker).await?;
            }
            return super::detach::detach(app).await;
        }
        let printer = Printer::new(app.ui, background);
        let held = match &enrolling {
            Some(enrolling) => Some(enrolling.enrol(app).await?),
            None => None,
        };
        let options = self.options(app).await?;
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
        let ended = crate::daemon::run(options, held, &printer).await;
        drop(logging);
        match ended {
            Ok(Ended::Stopped { .. }) => Ok(Exit::Ok),
            Ok(Ended::Again { .. }) => {
                let error = start_again();
                Err(Failure::failed(format!(
                    "stopped, but cannot start again: {error}"
                )))
            }
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

    async fn options(self, app: &App) -> Result<RunOptions, Failure> {
        let is_production = self.local.is_none() && !self.dev;
        if self.local.is_none() && self.listen.is_asked_for() {
            return Err(Failure::usage(
                "--listen needs --local: a deployment elsewhere listens by itself",
            ));
        }
        let listen = self.listen.resolve()?;
        let (mode, source) = if let Some(directories) = self.local {
            let local = LocalOptions {
                directories: if directories.is_empty() {
                    vec![PathBuf::from(".")]
                } else {
                    directories
                },
                port: self.port.unwrap_or(DEFAULT_PORT),
                origins: self.allow_origin,
                listen,
                notify: Notify {
                    desktop: self.notify_desktop,
                    push: self.notify_push,
                    command: self.notify_command.into_iter().collect(),
                    after_ms: self
                        .notify_after
                        .map_or(Notify::default().after_ms, |time| time.as_millis() as u64),
                    quiet: None,
                },
                permissions: or_variable(self.permissions, env::PERMISSIONS, |text| {
                    Word::from_str(text, false)
                        .map_err(|_| "must be `ask`, `allow` or `deny`".to_owned())
                })?
                .map_or(Policy::ASK, |word| Policy::of(word.decision())),
                answer_timeout_ms: or_variable(
                    self.answer_timeout,
                    env::ANSWER_TIMEOUT,
                    answer_timeout,
                )?
                .map_or(DEFAULT_ANSWER_TIMEOUT_MS, |time| time.as_millis() as u64),
            };
            (Mode::Local(local), None)
        } else {
            let (loaded, source) = start::configuration(app, self.dev, self.worker).await?;
            (Mode::Workers(loaded), Some(source))
        };
        let limit = if is_production {
            PRODUCTION_LIMIT
        } else {
            SHORT_LIMIT
        };
        Ok(RunOptions {
            paths: app.paths.clone(),
            limits: limits(&mode)?,
            mode,
            take_over: self.take_over,
            demo: self.demo,
            opencode: self.opencode,
            boot: boot_limit()?,
            append_spacing: append_spacing()?,
            shutdown: self.shutdown_timeout.unwrap_or(limit),
            idle_timeout_ms: self.idle_timeout.map(|time| time.as_millis() as u64),
            source,
            watch: self.watch,
            exit_when_idle: self.exit_when_idle,
        })
    }
}

/// How a worker that was revoked serves again, when nothing else is left to serve. The deployment of `--local` has ended
/// with us, so it has to be started alone for that; `port` is its port.
fn way_back(lines: &[WorkerLine], port: Option<u16>) -> Option<String> {
    let revoked = lines.iter().find(
        |line| matches!(&line.start, WorkerStart::Failed(reason) if reason.contains("revoked")),
    )?;
    let name = quoted(&revoked.name);
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

fn append_spacing() -> Result<Option<Duration>, Failure> {
    let Some(text) = env::get(env::APPEND_SPACING) else {
        return Ok(None);
    };
    spacing_from(&text)
        .map(Some)
        .map_err(|reason| Failure::usage(format!("{}={text}: {reason}", env::APPEND_SPACING)))
}

/// 0 is a value of its own here: then nothing but the answer to the last one is waited for.
fn spacing_from(text: &str) -> Result<Duration, String> {
    if text.trim().trim_end_matches("ms") == "0" {
        return Ok(Duration::ZERO);
    }
    match parse_duration(text) {
        Ok(spacing) if spacing <= LONGEST_SPACING => Ok(spacing),
        _ => Err("must be a time from 0 to 10s, such as 100 (milliseconds) or \"1s\"".to_owned()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_spacing_of_nothing_is_a_value_and_a_minute_is_none() {
        for (text, ms) in [("0", 0), ("0ms", 0), ("40", 40), ("1s", 1_000)] {
            assert_eq!(spacing_from(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["1m", "soon", "-1"] {
            assert!(spacing_from(text).is_err(), "{text}");
        }
    }

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
