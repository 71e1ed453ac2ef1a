//! `orchestrator chat`: one line, one turn, all in one session. On a terminal it prompts and continues the worker's last
//! session; fed by a pipe it always begins a new one and ends after the answer to the last line.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use owo_colors::OwoColorize;

use crate::cli::connection::{Connection, connect};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::{Target, sessions, target};
use crate::cli::rows::PartRow;
use crate::cli::turn::attach;
use crate::cli::turn::fold::answer;
use crate::cli::turn::print::{Printer, tool_line};
use crate::cli::turn::{
    Asking, Closed, How, Submitted, Typing, call_for, follow, look_away, looking_at, model_name,
    submit, tell_unserved, typing,
};
use crate::ui::format::{count, duration, printable, short};

/// Talk with a worker; the session is made on the first message
#[derive(Debug, Args)]
pub struct Chat {
    /// Worker (name or id) or session (id or title) [default: the worker of this directory, or the only one]
    #[arg(value_name = "WORKER_OR_SESSION")]
    to: Option<String>,

    /// Model for the messages, as provider/model
    #[arg(long, value_parser = model_name)]
    model: Option<String>,

    /// The assistant's agent for the messages, such as plan
    #[arg(long)]
    agent: Option<String>,

    /// Begin a new session instead of going on with the last one
    #[arg(long)]
    new: bool,
}

/// What came of waiting for a line.
enum Input {
    Line(String),
    End,
    Interrupt,
}

/// What came of a turn.
enum Turn {
    Closed(Closed),
    /// Ctrl+C twice.
    Left,
}

impl Chat {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let connection = connect(app).await?;
        let talked = self.talk(app, &connection).await;
        look_away(app.ui, &connection.client).await;
        talked
    }

    async fn talk(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        let person = std::io::stdin().is_terminal();
        let mut conversation = self.begin(app, connection, person).await?;
        let mut lines = typing();
        let touched = lines.touched().clone();
        let mut exit = Exit::Ok;
        let mut interrupted = false;
        let mut files = Vec::new();
        loop {
            if person {
                app.ui.ask("you> ");
            }
            let line = next_line(&mut lines);
            let line = match &conversation {
                Target::Session { id, .. } => {
                    looking_at(app.ui, &connection.client, id, &touched, line).await?
                }
                Target::Worker { .. } => line.await?,
            };
            let line = match line {
                Input::Line(line) => line,
                Input::End => {
                    if person {
                        app.ui.ask("\n");
                    }
                    break;
                }
                Input::Interrupt if person && !interrupted => {
                    interrupted = true;
                    touched.again();
                    app.ui.error("\n(Ctrl+C again to leave)");
                    continue;
                }
                Input::Interrupt => return Ok(Exit::Interrupted),
            };
            interrupted = false;
            if line.trim().is_empty() {
                continue;
            }
            if person && let Some(path) = file_of(&line) {
                let path = path.map(|path| app.base().expand(path));
                match path.and_then(|path| with_another(&files, path)) {
                    Ok((all, told)) => {
                        app.ui.say(told);
                        files = all;
                    }
                    Err(failure) => failure.show(app.ui),
                }
                continue;
            }
            // Read when the message goes out: by then they may be others, or gone.
            let sent = match attach::load(&files) {
                Ok(loaded) => {
                    self.sent(app, connection, &conversation, &line, &loaded)
                        .await
                }
                Err(failure) => Err(failure),
            };
            let turn = match sent {
                Ok(Some(turn)) => {
                    files.clear();
                    turn
                }
                Ok(None) => return Ok(Exit::Interrupted),
                // A line that is too long is no reason to end a conversation with a person.
                Err(failure) if person && failure.exit == Exit::Usage => {
                    failure.show(app.ui);
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            tell_unserved(app, connection, &conversation).await;
            let (worker_id, worker) = match conversation {
                Target::Worker { id, name } => (id, name),
                Target::Session {
                    worker_id, worker, ..
                } => (worker_id, worker),
            };
            conversation = Target::Session {
                id: turn.session.clone(),
                worker_id,
                worker: worker.clone(),
            };
            let answer = self.answer(
                app,
                connection,
                &turn,
                &worker,
                person.then_some(&mut lines),
            );
            let answered =
                looking_at(app.ui, &connection.client, &turn.session, &touched, answer).await?;
            if let Turn::Closed(closed) = &answered {
                call_for(app.ui, &worker, closed);
            }
            match answered {
                Turn::Closed(closed) if closed.is_complete() => {
                    if person {
                        app.ui.say(footer(&closed).dimmed().to_string());
                    }
                }
                Turn::Closed(closed) => {
                    closed.failure().show(app.ui);
                    // People saw it; a script wants to know.
                    if !person {
                        exit = Exit::Failed;
                    }
                }
                Turn::Left => return Ok(Exit::Interrupted),
            }
        }
        Ok(exit)
    }

    /// Sends a line; `None` when Ctrl+C came first. A deployment that is away is waited for as long as a call may take.
    async fn sent(
        &self,
        app: &App,
        connection: &Connection,
        to: &Target,
        line: &str,
        files: &[attach::File],
    ) -> Result<Option<Submitted>, Failure> {
        if let Err(reason) = connection.client.is_connected() {
            let url = &connection.url;
            app.ui
                .say(format!("waiting for {url} ({reason}; Ctrl+C leaves)"));
        }
        let how = How {
            model: self.model.as_deref(),
            agent: self.agent.as_deref(),
        };
        tokio::select! {
            sent = submit(connection, to, line, files, how) => sent.map(Some),
            _ = tokio::signal::ctrl_c() => Ok(None),
        }
    }

    /// Who is talked to, and in which session.
    async fn begin(
        &self,
        app: &App,
        connection: &Connection,
        person: bool,
    ) -> Result<Target, Failure> {
        let chosen = target(connection, self.to.as_deref()).await?;
        let Target::Worker { id, name } = &chosen else {
            return Ok(chosen);
        };
        if self.new || !person {
            return Ok(chosen);
        }
        let last = sessions(connection, false)
            .await?
            .into_iter()
            .find(|row| row.worker_id == *id && row.status != "failed");
        let Some(row) = last else {
            return Ok(chosen);
        };
        app.ui.say(format!(
            "going on with \"{}\" ({}); --new begins another",
            short(&row.title, 40),
            row.session_id
        ));
        Ok(Target::Session {
            id: row.session_id,
            worker_id: id.clone(),
            worker: name.clone(),
        })
    }

    /// Prints the answer as it grows, and asks a person what the assistant asks; Ctrl+C aborts the turn, a second one leaves.
    async fn answer(
        &self,
        app: &App,
        connection: &Connection,
        turn: &Submitted,
        worker: &str,
        mut lines: Option<&mut Typing>,
    ) -> Result<Turn, Failure> {
        let person = lines.is_some();
        let mut screen = Screen {
            app,
            printer: Printer::default(),
            tools: person.then(Vec::new),
        };
        if person && app.ui.stdout_is_tty() {
            app.ui.data(&format!("{}> ", worker.bold()));
        }
        let closed = {
            let mut grow = |parts: &[PartRow]| screen.show(parts);
            let say = |text: &str| app.ui.say(format!("\n{text}"));
            let mut following = std::pin::pin!(follow(connection, turn, Some(&mut grow), &say));
            let mut asking = Asking::new(app, connection, turn, person);
            let mut aborted = false;
            loop {
                tokio::select! {
                    closed = &mut following => break closed?,
                    asked = asking.next(lines.as_deref_mut()) => asked?,
                    _ = tokio::signal::ctrl_c() => {
                        if aborted {
                            return Ok(Turn::Left);
                        }
                        aborted = true;
                        if let Some(lines) = &lines {
                            lines.touched().again();
                        }
                        app.ui.error("\naborting (Ctrl+C again to leave)");
                        let args = json!({"turnId": turn.turn});
                        tokio::select! {
                            asked = connection.client.mutation("messages:abort", args) => asked.map(drop)?,
                            _ = tokio::signal::ctrl_c() => return Ok(Turn::Left),
                        }
                    }
                }
            }
        };
        screen.end(&closed.parts);
        Ok(Turn::Closed(closed))
    }
}

/// `/file PATH`: what goes along with the next message. A path may be quoted, as when a file is dragged into a terminal.
fn file_of(line: &str) -> Option<Result<&str, Failure>> {
    let rest = line.trim().strip_prefix("/file")?;
    if rest.is_empty() {
        return Some(Err(Failure::usage("which file? /file PATH")));
    }
    let path = rest.strip_prefix(' ')?.trim();
    let quoted = |mark: char| {
        path.strip_prefix(mark)
            .and_then(|path| path.strip_suffix(mark))
    };
    let path = quoted('\'').or_else(|| quoted('"')).unwrap_or(path);
    Some(Ok(path))
}

/// All that goes along now, and how to say so.
fn with_another(files: &[PathBuf], path: PathBuf) -> Result<(Vec<PathBuf>, String), Failure> {
    let mut all = files.to_vec();
    all.push(path);
    attach::load(&all)?;
    let goes = if all.len() == 1 {
        "file goes"
    } else {
        "files go"
    };
    let told = format!("{} {goes} along with the next message", all.len());
    Ok((all, told))
}

async fn next_line(lines: &mut Typing) -> Result<Input, Failure> {
    tokio::select! {
        line = lines.next_line() => match line {
            Ok(Some(line)) => Ok(Input::Line(line)),
            Ok(None) => Ok(Input::End),
            Err(error) => Err(Failure::usage(format!("cannot read stdin: {error}"))),
        },
        _ = tokio::signal::ctrl_c() => Ok(Input::Interrupt),
    }
}

/// The growing answer; for people with a grey line per finished tool.
struct Screen<'a> {
    app: &'a App,
    printer: Printer,
    /// Ids of the tools that were told; `None` leaves tools out.
    tools: Option<Vec<String>>,
}

impl Screen<'_> {
    fn show(&mut self, parts: &[PartRow]) {
        let text = self.printer.update(&answer(parts));
        self.app.ui.foreign(&text);
        let Some(told) = &mut self.tools else {
            return;
        };
        for part in parts.iter().filter(|part| part.kind == "tool") {
            if told.contains(&part.part_id) {
                continue;
            }
            if let Some(line) = tool_line(&part.text) {
                let newline = if self.printer.is_at_line_start() {
                    ""
                } else {
                    "\n"
                };
                self.app
                    .ui
                    .data(&format!("{newline}      {}\n", printable(&line).dimmed()));
                told.push(part.part_id.clone());
            }
        }
    }

    fn end(&mut self, parts: &[PartRow]) {
        let rest = self.printer.finish(&answer(parts));
        self.app.ui.foreign(&rest);
    }
}

/// `12.0 s · 4.1k tokens · $0.01`.
fn footer(closed: &Closed) -> String {
    let mut parts = Vec::new();
    if let Some(took) = closed.took_ms {
        let took = std::time::Duration::from_millis(took as u64);
        parts.push(duration(took));
    }
    if let Some(usage) = &closed.usage {
        let tokens = usage.input_tokens + usage.output_tokens + usage.reasoning_tokens;
        parts.push(format!("{} tokens", count(tokens)));
        if usage.cost > 0.0 {
            parts.push(format!("${:.2}", usage.cost));
        }
    }
    format!("      {}", parts.join(" · "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rows::UsageRow;

    #[test]
    fn a_file_is_named_with_or_without_quotation_marks() {
        fn path(line: &str) -> &str {
            file_of(line).unwrap().unwrap()
        }
        assert_eq!(path("/file a b.png"), "a b.png");
        assert_eq!(path("/file 'a b.png' "), "a b.png");
        assert!(file_of("/file").unwrap().is_err());
        assert!(file_of("/files are nice").is_none());
        assert!(file_of("look at /file x").is_none());
    }

    #[test]
    fn the_footer_says_what_it_cost() {
        let closed = Closed {
            state: "complete".to_owned(),
            error: None,
            usage: Some(UsageRow {
                input_tokens: 4_000.0,
                output_tokens: 120.0,
                cost: 0.012,
                ..UsageRow::default()
            }),
            parts: Vec::new(),
            took_ms: Some(12_000.0),
            goes_on: false,
        };
        assert_eq!(footer(&closed), "      12.0 s · 4.1k tokens · $0.01");
    }
}
