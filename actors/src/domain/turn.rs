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
}

impl Ending {
    pub fn complete(usage: Option<Usage>) -> Self {
        Self {
            outcome: Outcome::Complete,
            error: None,
            usage,
        }
    }

    pub fn because(outcome: Outcome, code: &str, message: impl Into<String>) -> Self {
        Self {
            outcome,
            error: Some(TurnError::new(code, message)),
            usage: None,
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
