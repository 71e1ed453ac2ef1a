//! Folds chunk items into parts, as every reader of a running turn does. A part keeps the place where it was first seen;
//! a reset empties it.

use crate::cli::rows::{ItemRow, PartRow};

/// Items in one window of `chunks:page`.
pub const WINDOW: u64 = 32;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    parts: Vec<PartRow>,
    /// The index of the item that comes next.
    next: u64,
}

impl Fold {
    /// Items that are already in are skipped; a gap ends the batch (the missing ones come with another window).
    pub fn apply(&mut self, items: &[ItemRow]) {
        for item in items {
            let index = item.index as u64;
            if index < self.next {
                continue;
            }
            if index > self.next {
                return;
            }
            self.next += 1;
            self.take(item);
        }
    }

    fn take(&mut self, item: &ItemRow) {
        let at = self
            .parts
            .iter()
            .position(|part| part.part_id == item.part_id);
        let at = at.unwrap_or_else(|| {
            self.parts.push(PartRow {
                part_id: item.part_id.clone(),
                kind: item.kind.clone(),
                text: String::new(),
            });
            self.parts.len() - 1
        });
        let part = &mut self.parts[at];
        match item.kind.as_str() {
            "reset" => part.text.clear(),
            "tool" => {
                part.kind.clone_from(&item.kind);
                part.text.clone_from(&item.content);
            }
            _ => {
                part.kind.clone_from(&item.kind);
                part.text.push_str(&item.content);
            }
        }
    }

    pub fn next(&self) -> u64 {
        self.next
    }

    pub fn parts(&self) -> &[PartRow] {
        &self.parts
    }

    pub fn into_parts(self) -> Vec<PartRow> {
        self.parts
    }
}

/// The answer that people read: the text parts in order, each on a line of its own.
pub fn answer(parts: &[PartRow]) -> String {
    let mut text = String::new();
    let mut last = "";
    for part in parts {
        if part.kind != "text" || part.text.is_empty() {
            continue;
        }
        // A long part of a folded turn comes as several rows under one id.
        if !text.is_empty() && last != part.part_id && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&part.text);
        last = &part.part_id;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(index: u64, part: &str, kind: &str, content: &str) -> ItemRow {
        ItemRow {
            index: index as f64,
            part_id: part.to_owned(),
            kind: kind.to_owned(),
            content: content.to_owned(),
        }
    }

    #[test]
    fn pieces_join_resets_empty_and_tools_replace() {
        let mut fold = Fold::default();
        fold.apply(&[
            item(0, "r", "reasoning", "hm"),
            item(1, "a", "text", "one "),
            item(2, "a", "text", "two"),
            item(3, "t", "tool", "{1}"),
            item(4, "t", "tool", "{2}"),
            item(5, "b", "text", "wrong"),
        ]);
        assert_eq!(answer(fold.parts()), "one two\nwrong");
        fold.apply(&[item(6, "b", "reset", ""), item(7, "b", "text", "right")]);
        assert_eq!(answer(fold.parts()), "one two\nright");
        assert_eq!(fold.parts()[2].text, "{2}");
    }

    #[test]
    fn what_comes_twice_counts_once_and_a_gap_waits() {
        let mut fold = Fold::default();
        let first = [item(0, "a", "text", "x")];
        fold.apply(&first);
        fold.apply(&first);
        fold.apply(&[item(2, "a", "text", "z")]);
        assert_eq!((answer(fold.parts()).as_str(), fold.next()), ("x", 1));
        fold.apply(&[item(1, "a", "text", "y"), item(2, "a", "text", "z")]);
        assert_eq!(answer(fold.parts()), "xyz");
    }

    #[test]
    fn rows_of_one_long_part_join_without_a_line() {
        let part = |text: &str| PartRow {
            part_id: "a".to_owned(),
            kind: "text".to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(answer(&[part("long "), part("text")]), "long text");
    }
}
