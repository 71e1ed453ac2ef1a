//! `orchestrator session stop`: what the session works on is aborted, its assistant stopped; the session stays, and the next
//! message resumes it. With `--end` it is over for good, which the deployment sees to, from wherever it is asked.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::awake::{Local, card};
use super::{Found, Named};
use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::{Messages, read};
use crate::control::Verb;

/// For aborted turns to be closed, and for the assistant to be gone; an assistant gets 4 s to end by itself.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);
/// More turns cannot be open in a session.
const OPEN: u32 = 100;

/// Stop what a session works on and its assistant; the next message resumes it
#[derive(Debug, Args)]
pub struct Stop {
    #[command(flatten)]
    named: Named,

    /// End the session for good: it takes no more messages
    #[arg(long)]
    end: bool,
}

impl Stop {
    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        let found = self.named.find(connection).await?;
        if self.end {
            let args = json!({"sessionId": found.id});
            connection.client.mutation("sessions:end", args).await?;
            app.ui.say(format!("session {} has ended", found.id));
            return Ok(Exit::Ok);
        }
        let local = Local::find(app, &found.worker_id).await;
        let until = Instant::now() + PATIENCE;
        let aborted = abort_all(connection, &found, until).await?;
        let what = if aborted > 0 {
            format!(", {} aborted", crate::ui::format::plural(aborted, "turn"))
        } else {
            String::new()
        };
        match local {
            Some(local) => {
                rest(&local, &found, until).await?;
                app.ui.say(format!(
                    "session {} is stopped{what}; its next message resumes it",
                    found.id
                ));
            }
            None => app.ui.say(format!(
                "session {} works on nothing{what}; worker {} is not served here, and its assistant goes after its idle time",
                found.id, found.worker
            )),
        }
        Ok(Exit::Ok)
    }
}

/// The newest first, so that none is begun because the one before it went. Waits until all are closed.
async fn abort_all(
    connection: &Connection,
    found: &Found,
    until: Instant,
) -> Result<usize, Failure> {
    let mut aborted = 0;
    loop {
        let args = json!({"sessionId": found.id, "limit": OPEN});
        let value = connection.client.query("messages:list", args).await?;
        let messages: Messages = read("messages:list", value)?;
        let rows = messages.messages.iter().rev();
        let open: Vec<&str> = rows
            .filter(|row| row.role != "user" && !row.is_closed())
            .map(|row| row.id.as_str())
            .collect();
        if open.is_empty() {
            return Ok(aborted);
        }
        if Instant::now() >= until {
            return Err(Failure::new(
                Exit::TimedOut,
                format!(
                    "session {} is told to stop, and a turn of it is not closed yet",
                    found.id
                ),
            )
            .hint(format!(
                "look at it: orchestrator session show {}",
                found.id
            )));
        }
        aborted = aborted.max(open.len());
        for turn in open {
            let args = json!({"turnId": turn});
            connection.client.mutation("messages:abort", args).await?;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Until its assistant is gone. Asked again, because a turn that has just ended may still hold it.
async fn rest(local: &Local, found: &Found, until: Instant) -> Result<(), Failure> {
    loop {
        let report = local.report().await?;
        match card(&report, &found.id) {
            None => return Ok(()),
            Some(card) if card.agent_pid.is_none() && card.phase != "starting" => return Ok(()),
            Some(_) => {}
        }
        if Instant::now() >= until {
            return Err(Failure::new(
                Exit::TimedOut,
                format!("the assistant of session {} is still there", found.id),
            )
            .hint("somebody may have written in the session; look at orchestrator ps"));
        }
        let verb = Verb::Rest {
            worker: found.worker_id.clone(),
            session: found.id.clone(),
        };
        local.ask(verb).await?;
        tokio::time::sleep(LOOK).await;
    }
}
