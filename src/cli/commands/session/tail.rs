//! `orchestrator session tail`: a session as it goes on, whoever writes in it. Messages are told in their order, an answer as it
//! streams; what is asked for next is read anew after every answer, so that a turn that goes on with an interrupted one comes
//! before what waits. Ends by Ctrl+C, or when asked to, once nothing is open.

use std::collections::HashSet;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::show::{standing, text_of, whole};
use super::{Found, Named};
use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::{MessageRow, Messages, PartRow, SessionRow, read};
use crate::cli::turn::fold::answer;
use crate::cli::turn::print::{Printer, tool_line};
use crate::cli::turn::{
    Asking, Closed, Submitted, Touched, call_for, follow_asking, look_away, looking_at,
};

/// The most messages that are looked at at once; more cannot be open in a session.
const LOOKED_AT: u32 = 100;
/// How often it is looked whether the deployment is there.
const LOOK: Duration = Duration::from_secs(1);

/// Follow a session: its last messages, then everything that comes, as it streams
#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    named: Named,

    /// How many earlier messages to begin with
    #[arg(short = 'n', long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=100))]
    lines: u32,

    /// End when nothing is being answered and nothing waits
    #[arg(long)]
    exit_when_idle: bool,

    /// One JSON object a line: messages, pieces of text, ends
    #[arg(long)]
    pub json: bool,
}

impl Tail {
    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        let found = self.named.find(connection).await?;
        let telling = self.tell(app, connection, &found);
        // Nobody types here: who gave the command looks for a while.
        let touched = Touched::now();
        let told = tokio::select! {
            done = looking_at(app.ui, &connection.client, &found.id, &touched, telling) => done.map(|()| Exit::Ok),
            _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        };
        look_away(app.ui, &connection.client).await;
        told
    }

    async fn tell(&self, app: &App, connection: &Connection, found: &Found) -> Result<(), Failure> {
        let args = json!({"sessionId": found.id, "limit": LOOKED_AT});
        // Of all that happens in the session this says only that something did.
        let mut changes = connection.client.subscribe("messages:list", args.clone());
        let mut ends = connection
            .client
            .subscribe("sessions:get", json!({"sessionId": found.id}));
        let mut told = Told::new(app, self.json);
        let mut looks = tokio::time::interval(LOOK);
        let mut ended = false;
        loop {
            let value = connection
                .client
                .query("messages:list", args.clone())
                .await?;
            let messages: Messages = read("messages:list", value)?;
            told.skip_all_but(self.lines as usize, &messages.messages);
            let next = messages.messages.iter().find(|row| !told.has(row));
            if let Some(row) = next {
                told.message(connection, &found.id, row).await?;
                continue;
            }
            // What was aborted with the session's end is told before this.
            if self.exit_when_idle || ended {
                return Ok(());
            }
            let mut is_away = false;
            loop {
                tokio::select! {
                    change = changes.recv() => match change {
                        Some(Ok(_)) => break,
                        Some(Err(error)) => return Err(error.into()),
                        None => return Err(Failure::failed("the connection to the deployment has ended")),
                    },
                    Some(session) = ends.recv() => {
                        let row: Option<SessionRow> = read("sessions:get", session?)?;
                        if row.is_none_or(|row| row.status == "ended") {
                            app.ui.say("the session has ended");
                            ended = true;
                            break;
                        }
                    }
                    _ = looks.tick() => match connection.client.is_connected() {
                        Ok(()) => is_away = false,
                        Err(reason) if !is_away => {
                            is_away = true;
                            app.ui.say(format!("{} is away ({reason}); waiting for it", connection.url));
                        }
                        Err(_) => {}
                    },
                }
            }
        }
    }
}

/// What has been told, and how.
struct Told<'a> {
    app: &'a App,
    json: bool,
    /// Until the first look, nothing is skipped.
    began: bool,
    ids: HashSet<String>,
}

impl<'a> Told<'a> {
    fn new(app: &'a App, json: bool) -> Self {
        Self {
            app,
            json,
            began: false,
            ids: HashSet::new(),
        }
    }

    fn has(&self, row: &MessageRow) -> bool {
        self.ids.contains(&row.id)
    }

    /// At the beginning: what lies further back than was asked for, and is not being answered, is left out.
    fn skip_all_but(&mut self, last: usize, rows: &[MessageRow]) {
        if std::mem::replace(&mut self.began, true) {
            return;
        }
        let open = |row: &&MessageRow| row.role != "user" && !row.is_closed();
        let first_open = rows.iter().position(|row| open(&row));
        // An open answer is told with the message that it answers.
        let keep_from = first_open.map_or(rows.len(), |at| at.saturating_sub(1));
        let skipped = keep_from.min(rows.len().saturating_sub(last));
        self.ids
            .extend(rows[..skipped].iter().map(|row| row.id.clone()));
    }

    async fn message(
        &mut self,
        connection: &Connection,
        session: &str,
        row: &MessageRow,
    ) -> Result<(), Failure> {
        self.ids.insert(row.id.clone());
        if row.role == "user" {
            self.say_whole(row, &[]);
        } else if row.is_closed() {
            let parts = whole(connection, session, row).await?;
            self.say_whole(row, &parts);
        } else {
            self.stream(connection, session, row).await?;
        }
        Ok(())
    }

    fn say_whole(&self, row: &MessageRow, parts: &[PartRow]) {
        if self.json {
            let text = row.content.clone().unwrap_or_else(|| answer(parts));
            self.event(&json!({
                "schema": 1, "event": "message", "id": row.id, "role": row.role, "state": row.state, "text": text,
                "error": error_of(row.error.as_ref()),
            }));
        } else {
            self.app.ui.foreign(&format!("{}\n", text_of(row, parts)));
        }
    }

    /// An open answer, as it grows.
    async fn stream(
        &self,
        connection: &Connection,
        session: &str,
        row: &MessageRow,
    ) -> Result<(), Failure> {
        let turn = Submitted {
            session: session.to_owned(),
            turn: row.id.clone(),
            // Of the message that was sent; what goes on with an interrupted turn lies between two whole numbers.
            seq: row.seq.floor().max(1.0) as u64 - 1,
        };
        let mut printer = Printer::default();
        let mut tools: HashSet<String> = HashSet::new();
        let mut grow = |parts: &[PartRow]| {
            let piece = printer.update(&answer(parts));
            self.piece(&row.id, &piece);
            for part in parts.iter().filter(|part| part.kind == "tool") {
                let Some(line) = tool_line(&part.text) else {
                    continue;
                };
                if tools.insert(part.part_id.clone()) {
                    self.tool(&row.id, &line, printer.is_at_line_start());
                }
            }
        };
        let say = |text: &str| self.app.ui.say(text);
        // Nobody types here: what waits is told, with the command that answers it.
        let asking = Asking::new(self.app, connection, &turn, false);
        let closed = follow_asking(asking, None, &turn, Some(&mut grow), &say).await?;
        call_for(self.app.ui, "session", &closed);
        let rest = printer.finish(&answer(&closed.parts));
        if self.json {
            self.piece(&row.id, rest.trim_end_matches('\n'));
            self.closed(&row.id, &closed);
        } else {
            self.app.ui.foreign(&rest);
            let row = MessageRow {
                state: Some(closed.state),
                error: closed.error,
                ..row.clone()
            };
            if let Some(standing) = standing(&row) {
                self.app.ui.foreign(&format!("{standing}\n"));
            }
        }
        Ok(())
    }

    fn piece(&self, turn: &str, text: &str) {
        if !self.json {
            self.app.ui.foreign(text);
        } else if !text.is_empty() {
            self.event(&json!({"schema": 1, "event": "text", "id": turn, "text": text}));
        }
    }

    fn tool(&self, turn: &str, line: &str, at_line_start: bool) {
        if self.json {
            self.event(&json!({"schema": 1, "event": "tool", "id": turn, "text": line}));
        } else {
            let newline = if at_line_start { "" } else { "\n" };
            self.app.ui.foreign(&format!("{newline}      {line}\n"));
        }
    }

    fn closed(&self, turn: &str, closed: &Closed) {
        self.event(&json!({
            "schema": 1, "event": "end", "id": turn, "state": closed.state, "text": answer(&closed.parts),
            "error": error_of(closed.error.as_ref()),
        }));
    }

    fn event(&self, event: &Value) {
        self.app.ui.line(event.to_string());
    }
}

fn error_of(error: Option<&crate::cli::rows::ErrorRow>) -> Option<Value> {
    error.map(|error| json!({"code": error.code, "message": error.message}))
}
