//! `orchestrator send`: one message. On stdout is the answer and nothing else; talk is on stderr.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::connection::{Connection, connect};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::prompt::can_ask;
use crate::cli::resolve::target;
use crate::cli::rows::PartRow;
use crate::cli::turn::attach;
use crate::cli::turn::fold::answer;
use crate::cli::turn::print::Printer;
use crate::cli::turn::{
    Asking, Closed, How, MAX_MESSAGE_BYTES, Submitted, Watching, check, follow_asking, model_name,
    submit, tell_unserved, typing,
};
use crate::config::parse_duration;

/// Send one message to a worker or a session
#[derive(Debug, Args)]
pub struct Send {
    /// The message, or - to read it from stdin
    text: String,

    /// Worker (name or id) or session (id or title) [default: the worker of this directory, or the only one]
    #[arg(long, value_name = "WORKER_OR_SESSION")]
    to: Option<String>,

    /// An image, a PDF or a text that goes along; can be given several times, 10 MB together
    #[arg(long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,

    /// Model for this message, as provider/model
    #[arg(long, value_parser = model_name)]
    model: Option<String>,

    /// The assistant's agent for this message, such as plan
    #[arg(long)]
    agent: Option<String>,

    /// Wait for the answer and print it
    #[arg(long)]
    wait: bool,

    /// Print the answer as it arrives
    #[arg(long)]
    stream: bool,

    /// Give up waiting after this time (exit 124); the turn goes on
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Send {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let content = self.content()?;
        check(&content)?;
        let files = attach::load(&self.files)?;
        let connection = connect(app).await?;
        let target = target(&connection, self.to.as_deref()).await?;
        let how = How {
            model: self.model.as_deref(),
            agent: self.agent.as_deref(),
        };
        let turn = submit(&connection, &target, &content, &files, how).await?;
        if !(self.wait || self.stream) {
            self.accepted(app, &turn);
            return Ok(Exit::Ok);
        }
        let waited = tokio::select! {
            closed = limited(self.timeout, async {
                let told = tell_unserved(app, &connection, &target);
                tokio::join!(told, self.answer(app, &connection, &turn)).1
            }) => closed,
            _ = tokio::signal::ctrl_c() => {
                app.ui.say(format!(
                    "\nthe turn goes on; its answer: orchestrator session show {}",
                    turn.session
                ));
                return Ok(Exit::Interrupted);
            }
        };
        let closed = match waited {
            Some(closed) => closed?,
            None => {
                return Err(
                    Failure::new(Exit::TimedOut, "no answer in time; the turn goes on").hint(
                        format!("its answer: orchestrator session show {}", turn.session),
                    ),
                );
            }
        };
        if self.json {
            app.ui.json(&as_json(&turn, &closed));
        }
        if closed.is_complete() {
            return Ok(Exit::Ok);
        }
        if self.json {
            return Ok(Exit::Failed);
        }
        Err(closed.failure())
    }

    fn content(&self) -> Result<String, Failure> {
        if self.text != "-" {
            return Ok(self.text.clone());
        }
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .take(MAX_MESSAGE_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::failed(format!("cannot read stdin: {error}")))?;
        if bytes.len() > MAX_MESSAGE_BYTES {
            // Cut off, maybe within a character.
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        String::from_utf8(bytes).map_err(|_| Failure::usage("the message is not UTF-8"))
    }

    fn accepted(&self, app: &App, turn: &Submitted) {
        if self.json {
            app.ui
                .json(&json!({"schema": 1, "session": turn.session, "turn": turn.turn}));
        } else {
            app.ui.line(&turn.turn);
            app.ui.say(format!("accepted in {}", turn.session));
        }
    }

    /// Follows the turn, asks a person on the terminal what the assistant asks, and prints its text (not with `--json`, which prints at the end).
    async fn answer(
        &self,
        app: &App,
        connection: &Connection,
        turn: &Submitted,
    ) -> Result<Closed, Failure> {
        let mut printer = Printer::default();
        let live = self.stream && !self.json;
        let say = |text: &str| app.ui.say(text);
        let mut grow = |parts: &[PartRow]| {
            let text = printer.update(&answer(parts));
            app.ui.foreign(&text);
        };
        let watching: Watching<'_> = if live { Some(&mut grow) } else { None };
        let person = self.text != "-" && !self.json && can_ask(app);
        let asking = Asking::new(app, connection, turn, person);
        let lines = person.then(typing);
        let closed = follow_asking(asking, lines, turn, watching, &say).await?;
        if !self.json {
            let rest = printer.finish(&answer(&closed.parts));
            app.ui.foreign(&rest);
            if let Some(told) = without_text(&closed, &turn.session) {
                app.ui.say(told);
            }
        }
        Ok(closed)
    }
}

/// An answer can be complete and have no text: its length was reached before, or there were tools only.
fn without_text(closed: &Closed, session: &str) -> Option<String> {
    let is_empty = answer(&closed.parts).trim().is_empty();
    (closed.is_complete() && is_empty).then(|| {
        format!(
            "the answer has no text: the model ended without one, maybe at its length's limit; \
             what it did: orchestrator session show {session}"
        )
    })
}

/// `None` when the time is over.
async fn limited<T>(limit: Option<Duration>, what: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, what).await.ok(),
        None => Some(what.await),
    }
}

fn as_json(turn: &Submitted, closed: &Closed) -> serde_json::Value {
    let parts: Vec<_> = closed
        .parts
        .iter()
        .map(|part| json!({"partId": part.part_id, "kind": part.kind, "text": part.text}))
        .collect();
    json!({
        "schema": 1,
        "session": turn.session,
        "turn": turn.turn,
        "state": closed.state,
        "text": answer(&closed.parts),
        "parts": parts,
        "error": closed.error.as_ref().map(|error| json!({"code": error.code, "message": error.message})),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_text_is_told_of() {
        let part = |kind: &str, text: &str| PartRow {
            part_id: "p".to_owned(),
            kind: kind.to_owned(),
            text: text.to_owned(),
        };
        let mut closed = Closed {
            state: "complete".to_owned(),
            error: None,
            usage: None,
            parts: vec![part("reasoning", "hm")],
            took_ms: None,
            goes_on: false,
        };
        let told = without_text(&closed, "session_1").unwrap();
        assert!(
            told.ends_with("orchestrator session show session_1"),
            "{told}"
        );
        closed.parts.push(part("text", "yes"));
        assert_eq!(without_text(&closed, "session_1"), None);
        closed.parts.clear();
        closed.state = "failed".to_owned();
        assert_eq!(without_text(&closed, "session_1"), None);
    }
}
