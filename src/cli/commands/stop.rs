//! `orchestrator stop`: asks the supervisor to stop and waits until it is gone. It sends no signal: a pid alone never
//! ends anything here.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Deserialize;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::config::parse_duration;
use crate::control::Verb;
use crate::daemon::{DaemonFile, holder};
use crate::ui::format::{duration, plural};

/// Beyond the supervisor's own limit, before this command gives up.
const GRACE: Duration = Duration::from_secs(5);
/// How often the lock is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Stop the supervisor and everything it started
#[derive(Debug, Args)]
pub struct Stop {
    /// At once: assistants are killed, running turns end as interrupted
    #[arg(long)]
    force: bool,

    /// How long the graceful stop may take [default: the supervisor's own limit]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

/// What is being stopped, and how long that may take.
#[derive(Debug, Deserialize)]
pub(super) struct Stopping {
    workers: usize,
    sessions: usize,
    limit_ms: u64,
}

impl Stopping {
    pub fn limit(&self) -> Duration {
        Duration::from_millis(self.limit_ms)
    }

    pub fn told(&self) -> String {
        format!(
            "stopping {}, {} (up to {}) …",
            plural(self.workers, "worker"),
            plural(self.sessions, "session"),
            duration(self.limit())
        )
    }

    fn at_once() -> Self {
        Self {
            workers: 0,
            sessions: 0,
            limit_ms: 1_000,
        }
    }
}

impl Stop {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let supervisor = Supervisor::find(app)?;
        let pid = supervisor.holder.pid;
        let begun = Instant::now();
        let verb = Verb::Stop {
            force: self.force,
            timeout_ms: self.timeout.map(|time| time.as_millis() as u64),
        };
        let (stopping, no_answer) = match supervisor.ask(verb, SHORT).await {
            Ok(answer) => (read("stop", answer)?, None),
            // A forced stop may have ended the supervisor before its answer had left.
            Err(failure) if self.force => (Stopping::at_once(), Some(failure)),
            Err(failure) => return Err(failure),
        };
        let limit = stopping.limit();
        if no_answer.is_none() {
            app.ui.say(stopping.told());
        }
        let deadline = begun + limit + GRACE;
        let gone = || holder(&app.paths.lock_file()).is_none_or(|holder| holder.pid != pid);
        while !gone() {
            if Instant::now() > deadline {
                return Err(no_answer.unwrap_or_else(|| {
                    Failure::failed(format!("the supervisor (pid {pid}) does not stop")).hint(
                        format!("orchestrator stop --force, or as the last resort: kill -9 {pid}"),
                    )
                }));
            }
            tokio::time::sleep(POLL).await;
        }
        let exited = DaemonFile::read(&app.paths.daemon_file())
            .filter(|file| file.pid == pid)
            .and_then(|file| file.exited);
        match exited {
            Some(exited) if exited.code != 0 && !self.force => {
                Err(Failure::failed(format!("stopped, but {}", exited.reason)))
            }
            _ => {
                app.ui
                    .say(format!("stopped in {}", duration(begun.elapsed())));
                Ok(Exit::Ok)
            }
        }
    }
}
