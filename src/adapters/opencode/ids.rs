//! The names under which OpenCode stores a turn. They are derived from the turn's id alone, so every incarnation of every
//! actor looks the turn up, and hands it over, under the same ones: that is what makes a prompt given once.

use orchestrator_actors::domain::ids::TurnId;
use sha2::{Digest, Sha256};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// OpenCode's native form is a prefix, 12 hex digits and 14 base62 digits. Order is by creation time, not by id (measured).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptIds {
    pub message: String,
    pub part: String,
}

impl PromptIds {
    pub fn of(turn: &TurnId) -> Self {
        let digest = Sha256::digest(turn.as_str().as_bytes());
        let mut suffix = String::with_capacity(26);
        for byte in &digest[..6] {
            use std::fmt::Write;
            let _ = write!(suffix, "{byte:02x}");
        }
        for byte in &digest[6..20] {
            suffix.push(char::from(BASE62[usize::from(*byte) % 62]));
        }
        Self {
            message: format!("msg_{suffix}"),
            part: format!("prt_{suffix}"),
        }
    }
}

impl PromptIds {
    /// Of the file at this place among those that go along: behind the text, because parts are ordered by their ids.
    pub fn file(&self, place: usize) -> String {
        format!("{}f{place:02}", self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_turn_has_the_same_ids_for_ever() {
        // Fixed text: a change here would make every open turn of every installation unknown.
        let ids = PromptIds::of(&TurnId::new("turn_1"));
        assert_eq!(ids, PromptIds::of(&TurnId::new("turn_1")));
        assert_ne!(ids, PromptIds::of(&TurnId::new("turn_2")));
        assert_eq!(ids.message.len(), 30);
        assert_eq!(ids.part[4..], ids.message[4..]);
        assert!(ids.message[4..16].chars().all(|c| c.is_ascii_hexdigit()));
    }
}
