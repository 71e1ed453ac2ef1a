//! The frames. A request names a verb; an answer holds a value or a refusal with a stable code. A supervisor of
//! another version says so instead of guessing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Problem;

/// Raised when a verb changes its meaning. New verbs and new optional fields do not raise it.
pub const VERSION: u32 = 1;

/// The most bytes of a request line.
pub const MAX_REQUEST: usize = 64 * 1024;
/// The most bytes of an answer line: a machine with thousands of sessions fits.
pub const MAX_ANSWER: usize = 16 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub v: u32,
    #[serde(flatten)]
    pub verb: Verb,
}

impl Request {
    pub fn new(verb: Verb) -> Self {
        Self { v: VERSION, verb }
    }
}

/// What can be asked of a supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Verb {
    /// The actor tree, as a [`super::report::Report`].
    Ps,
    /// The supervisor in numbers: one string, in Prometheus' text format.
    Metrics,
    /// Reads the configuration again and applies it; or says only what would change.
    Reload { dry_run: bool },
    /// Stops in order within the limit (ms; the supervisor's own when absent), or at once.
    Stop {
        force: bool,
        timeout_ms: Option<u64>,
    },
    /// Replaces an actor, or un-parks it.
    Restart { actor: String },
    /// Lets a worker take no new turns, or take them again.
    Pause { worker: String, paused: bool },
    /// Has a session's assistant up without a turn, or keeps it up.
    Wake { worker: String, session: String },
    /// Gives a session's assistant up, when no turn needs it.
    Rest { worker: String, session: String },
    /// How a session's assistant is entered from a terminal. The answer holds its password: this socket is its user's alone.
    Attach { session: String },
    /// What models a worker can name, asked anew.
    Models { worker: String },
    /// Makes an actor panic. Debug builds only.
    Panic { actor: String },
    /// Keeps an actor's handler busy. Debug builds only.
    Block { actor: String, ms: u64 },
}

/// The answer to [`Verb::Attach`]. It is not shown by `Debug`.
#[derive(Serialize, Deserialize)]
pub struct Attach {
    pub pid: u32,
    pub url: String,
    pub directory: String,
    /// The program that speaks with it.
    pub binary: PathBuf,
    pub password: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub v: u32,
    #[serde(flatten)]
    pub result: Outcome,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok(Value),
    Error(Refusal),
}

/// Why a request was not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// `version`, `invalid`, `config`, `unknown_actor`, `stopping`, `failed`.
    pub code: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What is wrong with a configuration, one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

impl Refusal {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            hint: None,
            problems: Vec::new(),
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Answer {
    pub fn from_result(result: Result<Value, Refusal>) -> Self {
        Self {
            v: VERSION,
            result: match result {
                Ok(value) => Outcome::Ok(value),
                Err(refusal) => Outcome::Error(refusal),
            },
        }
    }

    pub fn into_result(self) -> Result<Value, Refusal> {
        match self.result {
            Outcome::Ok(value) => Ok(value),
            Outcome::Error(refusal) => Err(refusal),
        }
    }
}

/// Reads one request line.
pub fn parse_request(line: &str) -> Result<Verb, Refusal> {
    #[derive(Deserialize)]
    struct Head {
        v: u32,
    }
    let bad = |error: serde_json::Error| Refusal::new("invalid", format!("bad request: {error}"));
    let head: Head = serde_json::from_str(line).map_err(bad)?;
    if head.v != VERSION {
        let message = format!(
            "the supervisor speaks version {VERSION} of the control protocol, this command speaks {}",
            head.v
        );
        return Err(Refusal::new("version", message)
            .hint("use the same orchestrator binary, or restart the supervisor"));
    }
    serde_json::from_str::<Request>(line)
        .map(|request| request.verb)
        .map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_are_what_is_documented() {
        let stop = Request::new(Verb::Stop {
            force: true,
            timeout_ms: None,
        });
        assert_eq!(
            serde_json::to_string(&stop).unwrap(),
            r#"{"v":1,"verb":"stop","force":true,"timeout_ms":null}"#
        );
        assert_eq!(parse_request(r#"{"v":1,"verb":"ps"}"#), Ok(Verb::Ps));
        let answer = Answer::from_result(Err(Refusal::new("config", "no")));
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(text, r#"{"v":1,"error":{"code":"config","message":"no"}}"#);
        assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer);
    }

    #[test]
    fn another_version_is_refused_by_name_even_with_unknown_verbs() {
        let refusal = parse_request(r#"{"v":2,"verb":"dance"}"#).unwrap_err();
        assert_eq!(refusal.code, "version");
        assert_eq!(parse_request("{").unwrap_err().code, "invalid");
        assert_eq!(
            parse_request(r#"{"v":1,"verb":"dance"}"#).unwrap_err().code,
            "invalid"
        );
    }
}
