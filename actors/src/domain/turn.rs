//! How a turn ends, and what the assistant's own store can say about one.

use serde::{Deserialize, Serialize};

use super::item::Draft;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The assistant answered.
    Complete,
    /// Something ended the answer before its end; what had streamed is kept.
    Interrupted,
    /// The assistant, its provider or the supervisor gave up, with a reason.
    Failed,
    /// The owner stopped it.
    Aborted,
}

/// Why a turn did not complete. `code` is stable, `message` is for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnError {
    pub code: String,
    pub message: String,
}

impl TurnError {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

/// What a turn cost, as far as the assistant tells. Tokens are counts, cost is in US dollars.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    pub input_tokens: f64,
    pub output_tokens: f64,
    pub reasoning_tokens: f64,
    pub cache_read_tokens: f64,
    pub cache_write_tokens: f64,
    pub cost: f64,
}

/// The last element of a turn's stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TurnError>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What follows; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Then>,
}

/// What follows the end of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// The policy `continue`: the deployment makes the turn that goes on with this one, ahead of the queue.
    Continue,
    /// The assistant's store could not be asked, and may hold an answer: that one, arriving later, replaces this end.
    Provisional,
}

/// What becomes of a turn that was interrupted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnInterrupt {
    /// It is reported, and its owner decides.
    #[default]
    Report,
    /// A new turn goes on with it, once.
    Continue,
}

impl OnInterrupt {
    pub const ALL: [Self; 2] = [Self::Report, Self::Continue];

    /// Its word in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Continue => "continue",
        }
    }
}

impl std::fmt::Display for OnInterrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Ending {
    pub fn complete(usage: Option<Usage>) -> Self {
        Self {
            outcome: Outcome::Complete,
            error: None,
            usage,
            then: None,
        }
    }

    pub fn because(outcome: Outcome, code: &str, message: impl Into<String>) -> Self {
        Self {
            outcome,
            error: Some(TurnError::new(code, message)),
            usage: None,
            then: None,
        }
    }

    /// The end stands until the store's own answer arrives.
    #[must_use]
    pub fn provisionally(self) -> Self {
        Self {
            then: Some(Then::Provisional),
            ..self
        }
    }
}

/// What the assistant's store says about a turn, looked up under the ids derived from the turn's id
/// before every delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredTurn {
    /// Neither the user's message nor an answer is there.
    Absent,
    /// The user's message is there, no answer has begun.
    Unanswered,
    /// The answer's last step is complete: finished, and not for tool calls. `parts` are whole, each text after a
    /// reset of its part, so that they replace whatever was streamed.
    Complete {
        parts: Vec<Draft>,
        usage: Option<Usage>,
    },
    /// The last message carries an error.
    Failed {
        parts: Vec<Draft>,
        error: TurnError,
        aborted: bool,
        usage: Option<Usage>,
    },
    /// An answer has begun and is not complete. It must never be asked for again.
    Begun,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_that_an_older_version_wrote_is_read_and_a_plain_one_is_written_as_ever() {
        let old = r#"{"outcome":"interrupted","error":{"code":"begun","message":"cut"}}"#;
        let ending: Ending = serde_json::from_str(old).unwrap();
        assert_eq!(ending.then, None);
        assert_eq!(serde_json::to_string(&ending).unwrap(), old);
        let text = serde_json::to_string(&ending.provisionally()).unwrap();
        assert!(text.ends_with(r#""then":"provisional"}"#), "{text}");
    }
}
