//! `orchestrator session resume`, and the way to a session's assistant on this machine: it is started before there is a message
//! for it, so that the next one is answered at once, or so that a person can enter it. It stays for one idle time.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::{Found, Named};
use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::{SessionRow, read};
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::control::Verb;
use crate::control::report::{Report, SessionReport};

/// An assistant's start takes seconds; on a busy machine, and behind others that start, much longer.
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(200);

/// Start a session's assistant now, without a message
#[derive(Debug, Args)]
pub struct Resume {
    #[command(flatten)]
    named: Named,
}

impl Resume {
    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        let found = self.named.find(connection).await?;
        let local = Local::required(app, &found).await?;
        conversation(connection, &found).await?;
        let pid = wake(app, &local, &found).await?;
        app.ui
            .say(format!("session {} is up (pid {pid})", found.id));
        Ok(Exit::Ok)
    }
}

/// The supervisor here, when it serves the session's worker.
pub struct Local {
    supervisor: Supervisor,
}

impl Local {
    pub async fn find(app: &App, worker: &str) -> Option<Self> {
        let local = Self {
            supervisor: Supervisor::find(app).ok()?,
        };
        let report = local.report().await.ok()?;
        let serves = report.workers.iter().any(|row| row.id == worker);
        serves.then_some(local)
    }

    pub async fn required(app: &App, found: &Found) -> Result<Self, Failure> {
        // Nobody runs here: that is said as everywhere.
        Supervisor::find(app)?;
        Self::find(app, &found.worker_id).await.ok_or_else(|| {
            Failure::failed(format!(
                "worker {} is not served by the supervisor here",
                found.worker
            ))
            .hint("its assistant is on the machine that serves it; a message resumes it from anywhere: orchestrator send")
        })
    }

    pub async fn ask(&self, verb: Verb) -> Result<Value, Failure> {
        self.supervisor.ask(verb, SHORT).await
    }

    pub async fn report(&self) -> Result<Report, Failure> {
        read("ps", self.ask(Verb::Ps).await?)
    }
}

pub fn card<'r>(report: &'r Report, session: &str) -> Option<&'r SessionReport> {
    let mut sessions = report.workers.iter().flat_map(|worker| &worker.sessions);
    sessions.find(|row| row.id == session)
}

/// The assistant's name for the session's conversation; none before the first message. An ended session has none to go on with.
pub async fn conversation(
    connection: &Connection,
    found: &Found,
) -> Result<Option<String>, Failure> {
    let args = serde_json::json!({"sessionId": found.id});
    let value = connection.client.query("sessions:get", args).await?;
    let row: SessionRow = read("sessions:get", value.clone())?;
    if row.status == "ended" {
        return Err(Failure::usage(format!("session {} has ended", found.id))
            .hint("begin another one: orchestrator chat --new"));
    }
    Ok(value["agentSessionId"].as_str().map(str::to_owned))
}

/// Until the assistant answers; its pid. What it waits for is told once.
pub async fn wake(app: &App, local: &Local, found: &Found) -> Result<u32, Failure> {
    let until = Instant::now() + PATIENCE;
    let mut told = String::new();
    keep(local, found).await?;
    loop {
        let report = local.report().await?;
        let found_card = card(&report, &found.id);
        match found_card {
            Some(SessionReport {
                agent_pid: Some(pid),
                ..
            }) => return Ok(*pid),
            Some(card) => {
                if let Some(error) = card
                    .last_error
                    .as_ref()
                    .filter(|_| card.phase != "starting")
                {
                    return Err(Failure::failed(format!(
                        "the assistant did not start: {error}"
                    )));
                }
                if !card.detail.is_empty() && told != card.detail {
                    told.clone_from(&card.detail);
                    app.ui.say(&told);
                }
                // It was just being stopped.
                if card.phase == "idle" {
                    keep(local, found).await?;
                }
            }
            None => {}
        }
        if Instant::now() >= until {
            return Err(Failure::new(
                Exit::TimedOut,
                "the assistant is not up yet; it goes on starting",
            )
            .hint("look at it: orchestrator ps"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// For another idle time.
pub async fn keep(local: &Local, found: &Found) -> Result<(), Failure> {
    let verb = Verb::Wake {
        worker: found.worker_id.clone(),
        session: found.id.clone(),
    };
    local.ask(verb).await.map(drop)
}
