//! Asking a person on a terminal. Questions go to stderr and to the terminal, never into data; without a terminal, or with
//! `--no-input`, nobody is asked and the caller says what is missing. A secret is shown as stars.

use std::io::{BufRead, ErrorKind, IsTerminal};

use orchestrator_actors::domain::token::{TOKEN_FORMAT_HELP, WorkerToken};

use super::exit::Exit;
use super::failure::Failure;
use super::globals::App;

/// After so many answers that are no answer, something else is wrong.
const TRIES: usize = 5;

/// Whether there is somebody to ask.
pub fn can_ask(app: &App) -> bool {
    !app.globals.no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

pub fn token(app: &App) -> Result<WorkerToken, Failure> {
    again(app, |_| {
        let config = rpassword::ConfigBuilder::new()
            .password_feedback_mask('*')
            .build();
        let question = "Worker token (web UI: Machine > menu > Add Worker): ";
        let text = rpassword::prompt_password_with_config(question, config)
            .map_err(|error| Answer::Over(no_answer(&error)))?;
        WorkerToken::parse(text.trim()).map_err(|_| Answer::Wrong(TOKEN_FORMAT_HELP.to_owned()))
    })
}

/// A line, checked by `accept`; nothing typed means `default`.
pub fn line<T>(
    app: &App,
    question: &str,
    default: Option<&str>,
    accept: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    again(app, |app| {
        match default {
            Some(default) => app.ui.ask(&format!("{question} [{default}]: ")),
            None => app.ui.ask(&format!("{question}: ")),
        }
        let mut text = String::new();
        let read = std::io::stdin()
            .lock()
            .read_line(&mut text)
            .map_err(|error| Answer::Over(no_answer(&error)))?;
        if read == 0 {
            return Err(Answer::Over(no_answer(&ErrorKind::UnexpectedEof.into())));
        }
        let text = text.trim();
        let text = if text.is_empty() {
            default.unwrap_or_default()
        } else {
            text
        };
        accept(text).map_err(Answer::Wrong)
    })
}

enum Answer {
    /// Ask once more.
    Wrong(String),
    Over(Failure),
}

fn again<T>(app: &App, ask: impl Fn(&App) -> Result<T, Answer>) -> Result<T, Failure> {
    for _ in 0..TRIES {
        match ask(app) {
            Ok(answer) => return Ok(answer),
            Err(Answer::Wrong(reason)) => app.ui.error(&reason),
            Err(Answer::Over(failure)) => return Err(failure),
        }
    }
    Err(Failure::usage("no usable answer"))
}

fn no_answer(error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::Interrupted => {
            Failure::new(Exit::Interrupted, "given up: nothing was written")
        }
        _ => Failure::failed(format!("cannot ask on this terminal: {error}")),
    }
}
