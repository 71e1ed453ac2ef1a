//! What a followed turn asks its owner: asked on the terminal when there is a person, told with the command that answers it
//! when there is none. It sits beside `follow` in a caller's loop and does one thing at a time.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::sync::mpsc;

use super::attention::Touched;
use super::dialog::{Dialog, Typed, shown};
use super::follow::{Closed, Watching, follow};
use super::submit::Submitted;
use crate::adapters::convex::ClientError;
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::{RequestRow, read};

/// The terminal's lines, or those of a pipe.
pub struct Typing {
    lines: Lines<BufReader<Stdin>>,
    touched: Touched,
    /// What comes out of a pipe is typed by nobody.
    person: bool,
}

pub fn typing() -> Typing {
    Typing {
        lines: BufReader::new(tokio::io::stdin()).lines(),
        touched: Touched::now(),
        person: std::io::stdin().is_terminal(),
    }
}

impl Typing {
    /// May be dropped and asked again: nothing is lost.
    pub async fn next_line(&mut self) -> std::io::Result<Option<String>> {
        let line = self.lines.next_line().await?;
        if self.person {
            self.touched.again();
        }
        Ok(line)
    }

    /// By a line, or by what the caller adds.
    pub fn touched(&self) -> &Touched {
        &self.touched
    }
}

pub struct Asking<'a> {
    app: &'a App,
    connection: &'a Connection,
    turn: String,
    /// There is somebody to ask, and a terminal to ask on.
    person: bool,
    /// `None` when the deployment has no such functions, or does not answer any more: `follow` says why.
    open: Option<mpsc::Receiver<Result<serde_json::Value, ClientError>>>,
    dialog: Dialog,
    /// What the turn waits for, as last heard.
    rows: Vec<RequestRow>,
    told: HashSet<String>,
}

impl<'a> Asking<'a> {
    pub fn new(app: &'a App, connection: &'a Connection, turn: &Submitted, person: bool) -> Self {
        let args = json!({"sessionId": turn.session});
        Self {
            app,
            connection,
            turn: turn.turn.clone(),
            person,
            open: Some(connection.client.subscribe("permissions:list", args)),
            dialog: Dialog::default(),
            rows: Vec::new(),
            told: HashSet::new(),
        }
    }

    /// Waits for what happens next and does it. Without `lines` there is nobody to ask.
    pub async fn next(&mut self, lines: Option<&mut Typing>) -> Result<(), Failure> {
        let is_asking = self.dialog.is_asking();
        let line = async {
            match lines {
                Some(lines) if is_asking => lines.next_line().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            listed = listed(&mut self.open) => if let Some(Ok(value)) = listed {
                self.listed(value)
            } else {
                self.open = None;
                Ok(())
            },
            line = line => match line {
                Ok(Some(line)) => self.typed(&line).await,
                Ok(None) => {
                    self.is_alone();
                    Ok(())
                }
                Err(error) => Err(Failure::usage(format!("cannot read stdin: {error}"))),
            },
        }
    }

    fn listed(&mut self, value: serde_json::Value) -> Result<(), Failure> {
        self.rows = read("permissions:list", value)?;
        self.rows.retain(|row| row.turn_id == self.turn);
        self.put();
        Ok(())
    }

    /// Puts what waits before whoever is there.
    fn put(&mut self) {
        if !self.person {
            return self.tell();
        }
        for text in self.dialog.listed(self.rows.clone(), Instant::now()) {
            self.app.ui.attention("waits for you");
            self.app.ui.forget_typed();
            self.app.ui.error(&format!("\n{text}"));
        }
        self.prompt();
    }

    fn tell(&mut self) {
        for row in &self.rows {
            if self.told.insert(row.request_id.clone()) {
                self.app.ui.attention("waits for you");
                self.app.ui.say(format!("\n{}", waits(row)));
            }
        }
    }

    /// The terminal's input has ended (Ctrl+D); the turn has not. From here on it is told how to answer elsewhere.
    fn is_alone(&mut self) {
        self.person = false;
        self.dialog = Dialog::default();
        self.tell();
    }

    fn prompt(&self) {
        if self.dialog.is_asking() {
            self.app.ui.ask(&self.dialog.prompt());
        }
    }

    async fn typed(&mut self, line: &str) -> Result<(), Failure> {
        let args = match self.dialog.typed(line, Instant::now()) {
            Typed::Again(text) => {
                self.app.ui.error(&text);
                self.prompt();
                return Ok(());
            }
            Typed::Answer(args) => args,
        };
        let request = args["requestId"].as_str().unwrap_or_default().to_owned();
        let client = &self.connection.client;
        match client.mutation("permissions:answer", args).await {
            Ok(_) => {}
            // Somebody was faster, or the time is over: the turn goes on.
            Err(ClientError::Refused { code, message }) if code == "gone" => {
                self.app.ui.say(message);
            }
            // No reason to leave the turn: it waits, and so does the question.
            Err(error) => {
                let why = Failure::from(error);
                why.show(self.app.ui);
                self.dialog.not_taken(&request);
                self.put();
            }
        }
        Ok(())
    }
}

/// Follows a turn to its end, and has what it asks answered or told on the way.
pub async fn follow_asking(
    mut asking: Asking<'_>,
    mut lines: Option<Typing>,
    turn: &Submitted,
    watching: Watching<'_>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Closed, Failure> {
    let mut following = std::pin::pin!(follow(asking.connection, turn, watching, say));
    loop {
        tokio::select! {
            closed = &mut following => return closed,
            asked = asking.next(lines.as_mut()) => asked?,
        }
    }
}

async fn listed(
    open: &mut Option<mpsc::Receiver<Result<serde_json::Value, ClientError>>>,
) -> Option<Result<serde_json::Value, ClientError>> {
    match open {
        Some(open) => open.recv().await,
        None => std::future::pending().await,
    }
}

/// For whoever cannot be asked: what waits, and how it is answered.
pub fn waits(row: &RequestRow) -> String {
    let how = if row.kind == "question" {
        "--answer TEXT, or reject"
    } else {
        "once, always or reject"
    };
    format!(
        "{}\nthe turn waits for your answer: orchestrator permission answer {} ({how})",
        shown(row),
        row.request_id
    )
}
