//! What an assistant may not do, or cannot know, without a person: what it asks, how that can be answered, and how a
//! request stands with the deployment. A request lives as long as the child that asked: nothing of it is kept here.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::assistant::RequestId;
use super::ids::{RequestKey, TurnId};

/// What is asked, in the assistant's words. The names are those of the deployment's `permissions:ask`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    pub kind: AskedKind,
    /// One line for people.
    pub title: String,
    /// The assistant's name for what it wants to do (`bash`, `edit`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<String>,
    /// What of it: each of the commands, the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<String>,
    /// What the answer `always` would allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub always: Vec<String>,
    /// The command, or the change as a diff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// The sub-agent that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
    /// Not all of it is here: it was too long. No rule may allow what it cannot read, and nobody everything like it.
    #[serde(skip)]
    pub incomplete: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AskedKind {
    #[default]
    Permission,
    Question,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    pub question: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    pub options: Vec<Choice>,
    /// More than one option can be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple: Option<bool>,
    /// `false`: no text of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What the assistant is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Once,
    Always,
    /// With a message the assistant reads it and goes on; without one it ends its turn.
    Reject {
        message: Option<String>,
    },
    /// Of each question the chosen labels and texts.
    Answers(Vec<Vec<String>>),
}

impl Reply {
    pub fn rejection(message: impl Into<String>) -> Self {
        Self::Reject {
            message: Some(message.into()),
        }
    }
}

/// How a request stands with the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Open,
    Answered(Reply),
    /// Nobody answered in time.
    Expired,
    /// Its turn is closed there, or is to stop.
    Withdrawn,
}

impl RequestKey {
    /// The same request of the same child is the same key, however often it is put before its owner.
    pub fn of(turn: &TurnId, request: &RequestId, incarnation: u64) -> Self {
        let mut hash = Sha256::new();
        for part in [turn.as_str(), &request.0, &incarnation.to_string()] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let digest = hash.finalize();
        let hex: String = digest[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self::new(format!("req_{hex}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_one_request_of_one_child_in_one_turn() {
        let key = |turn: &str, request: &str, incarnation| {
            RequestKey::of(&turn.into(), &RequestId(request.to_owned()), incarnation)
        };
        let first = key("turn_a", "per_1", 1);
        assert_eq!(first, key("turn_a", "per_1", 1));
        for other in [
            key("turn_b", "per_1", 1),
            key("turn_a", "per_2", 1),
            key("turn_a", "per_1", 2),
            key("turn_ap", "er_1", 1),
        ] {
            assert_ne!(first, other);
        }
        assert!(first.as_str().starts_with("req_") && first.as_str().len() == 36);
    }

    #[test]
    fn what_there_is_nothing_to_say_about_is_left_out() {
        let asked = Asked {
            title: "bash: ls".to_owned(),
            permission: Some("bash".to_owned()),
            patterns: vec!["ls".to_owned()],
            ..Asked::default()
        };
        let wire = serde_json::to_value(asked).unwrap();
        let expected = serde_json::json!({"kind": "permission", "title": "bash: ls", "permission": "bash", "patterns": ["ls"]});
        assert_eq!(wire, expected);
    }
}
