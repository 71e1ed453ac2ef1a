//! What was streamed of a part, as its length and a digest: all that the final text is compared with. It costs the same
//! however long an answer is, for every part of a turn that may run for hours.

use sha2::{Digest, Sha256};

#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    bytes: usize,
    digest: Sha256,
}

impl Shown {
    pub(super) fn of(text: &str) -> Self {
        let mut shown = Self::default();
        shown.push_str(text);
        shown
    }

    pub(super) fn push_str(&mut self, text: &str) {
        self.bytes += text.len();
        self.digest.update(text);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What `text` has beyond what was shown; `None` when it does not begin with that.
    pub(super) fn rest_of<'t>(&self, text: &'t str) -> Option<&'t str> {
        let (beginning, rest) = text.split_at_checked(self.bytes)?;
        let is_same = Sha256::digest(beginning) == self.digest.clone().finalize();
        is_same.then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_costs_no_more_than_a_short_one_and_its_rest_is_found_between_characters() {
        let mut shown = Shown::default();
        assert_eq!(shown.rest_of("all"), Some("all"));
        for _ in 0..100_000 {
            shown.push_str("ä€𝄞");
        }
        assert!(size_of_val(&shown) < 256);
        let whole = "ä€𝄞".repeat(100_000);
        assert_eq!(shown.rest_of(&whole), Some(""));
        assert_eq!(shown.rest_of(&format!("{whole}.")), Some("."));
        for other in [&whole[2..], "short", &whole.replace('€', "£")] {
            assert_eq!(shown.rest_of(other), None);
        }
        // Cut in the middle of a character.
        assert_eq!(Shown::of("a").rest_of("ä"), None);
    }
}
