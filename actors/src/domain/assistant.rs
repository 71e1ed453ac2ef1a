//! What passes between a session and its assistant: prompts one way, events the other.

use std::fmt;

use thiserror::Error;

use serde::{Deserialize, Deserializer};

use super::ids::{ConversationId, ModelId, TurnId};
use super::item::Draft;
use super::permission::Asked;
use super::turn::{TurnError, Usage};

#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    pub conversation: ConversationId,
    pub turn: TurnId,
    pub content: String,
    pub model: Option<ModelId>,
    /// How the assistant is to work, by its own name for it (`plan`).
    pub agent: Option<String>,
    /// What goes along, without its bytes: those are fetched when the prompt is handed over.
    pub attachments: Vec<Attachment>,
}

/// An image or a file that its owner sent along with a message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Attachment {
    pub id: String,
    pub name: String,
    pub mime: String,
    #[serde(deserialize_with = "whole")]
    pub bytes: u64,
}

/// The same with its bytes, in base64. It goes from the deployment to the assistant and through no mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    pub name: String,
    pub mime: String,
    pub base64: String,
}

/// The deployment's numbers are floats.
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    f64::deserialize(from).map(|number| number as u64)
}

/// A pending permission request or question of the assistant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub String);

#[derive(Clone, Debug, PartialEq)]
pub enum AgentEvent {
    /// A piece of the turn's content.
    Item { turn: TurnId, draft: Draft },
    /// The assistant's provider refused and it will try again by itself in `next_ms`.
    Retrying {
        turn: TurnId,
        attempt: u32,
        next_ms: u64,
        message: String,
    },
    /// The assistant waits for an answer from a person.
    Asked {
        turn: TurnId,
        request: RequestId,
        asked: Box<Asked>,
    },
    /// A request was answered, rejected or dropped.
    Settled { request: RequestId },
    /// Somebody has given the conversation another name in the assistant itself.
    Titled { title: String },
    /// Sign of life of a running turn without content.
    Alive { turn: TurnId },
    /// The turn is over in the assistant's store. Nothing more of it follows.
    TurnEnded { turn: TurnId, ended: TurnEnd },
    /// The child should go when no turn needs it: it has grown too big, or another session waits for its place. Said
    /// again as long as it is so.
    ReleaseWanted { reason: String },
    /// The child is gone; the last event.
    Exited { report: ExitReport },
}

/// The code of a turn that the assistant ended because something it asked for was rejected.
pub const REJECTED: &str = "rejected";

#[derive(Clone, Debug, PartialEq)]
pub enum TurnEnd {
    Complete {
        usage: Option<Usage>,
    },
    Aborted {
        usage: Option<Usage>,
    },
    Failed {
        error: TurnError,
        usage: Option<Usage>,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitReport {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// What is known beyond the code: why it was ended from our side, or that its warden was killed.
    pub why: Option<String>,
    /// The last lines the child printed, without secrets.
    pub last_lines: Vec<String>,
}

impl fmt::Display for ExitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.why {
            return write!(f, "the assistant was ended: {why}");
        }
        match (self.code, self.signal) {
            (_, Some(signal)) => write!(f, "the assistant ended by signal {signal}")?,
            (Some(code), None) => write!(f, "the assistant ended by exit code {code}")?,
            (None, None) => f.write_str("the assistant ended by an unknown end")?,
        }
        match self.last_lines.last() {
            Some(line) => write!(f, "; its last line: {line}"),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Error)]
pub enum AgentError {
    /// No usable assistant on this machine. Trying again will not help.
    #[error("{0}")]
    Missing(String),
    /// The assistant answers, but says that its configuration is broken. Trying again will not help.
    #[error("{0}")]
    Misconfigured(String),
    /// It does not take this prompt, and has not: the same prompt again will not help, another one may.
    #[error("{0}")]
    Unacceptable(String),
    /// Somebody else holds the session's or the directory's lease.
    #[error("{0}")]
    Leased(String),
    /// It did not start, or did not answer in time.
    #[error("{0}")]
    Boot(String),
    /// A request failed or the child is gone.
    #[error("{0}")]
    Failed(String),
}

impl AgentError {
    /// Whether the same call can succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        !matches!(
            self,
            Self::Missing(_) | Self::Misconfigured(_) | Self::Unacceptable(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        let mut report = ExitReport {
            signal: Some(15),
            ..ExitReport::default()
        };
        assert_eq!(report.to_string(), "the assistant ended by signal 15");
        report.last_lines = vec!["bye".to_owned()];
        assert!(report.to_string().ends_with("; its last line: bye"));
        report.why = Some("it hung".to_owned());
        assert_eq!(report.to_string(), "the assistant was ended: it hung");
    }
}
