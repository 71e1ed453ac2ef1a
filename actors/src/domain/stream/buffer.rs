//! The items of one turn that the deployment has not acknowledged, in order and without gaps.
//!
//! An item that was handed out once is frozen: the deployment may have it, and skips an index it knows, so
//! its content must never change afterwards. Items that were never handed out still grow by what follows them.

use std::collections::VecDeque;

use crate::domain::item::{Draft, Item, ItemKind, MAX_ITEM_BYTES, ToolState};

/// What an item costs beside its content and part id: field names and numbers on the wire, its allocations here.
const ITEM_OVERHEAD: usize = 128;

/// How far back a tool's state that nobody has seen yet is looked for.
const LOOK_BACK: usize = 64;

/// What an item counts for against every bound, in bytes.
pub fn weight(item: &Item) -> usize {
    item.content.len() + item.part_id.len() + ITEM_OVERHEAD
}

#[derive(Debug, Default)]
pub(super) struct Buffer {
    items: VecDeque<Item>,
    /// The index that the next new item gets.
    next_index: u64,
    /// Items below this index were handed out at least once.
    frozen_below: u64,
    weight: usize,
}

impl Buffer {
    pub(super) fn starting_at(next_index: u64) -> Self {
        Self {
            next_index,
            frozen_below: next_index,
            ..Self::default()
        }
    }

    /// Items of an earlier life: the deployment may have any of them.
    pub(super) fn restored(items: Vec<Item>) -> Self {
        let next_index = items.last().map_or(0, |item| item.index + 1);
        Self {
            weight: items.iter().map(weight).sum(),
            items: items.into(),
            next_index,
            frozen_below: next_index,
        }
    }

    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn get(&self, position: usize) -> Option<&Item> {
        self.items.get(position)
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    pub(super) fn next_index(&self) -> u64 {
        self.next_index
    }

    pub(super) fn first_index(&self) -> u64 {
        self.items
            .front()
            .map_or(self.next_index, |item| item.index)
    }

    pub(super) fn frozen_below(&self) -> u64 {
        self.frozen_below
    }

    pub(super) fn freeze_below(&mut self, index: u64) {
        self.frozen_below = self.frozen_below.max(index);
    }

    pub(super) fn push(&mut self, draft: Draft, now_wall_ms: u64) {
        let Draft {
            part_id,
            kind,
            content,
        } = draft;
        match kind {
            ItemKind::Reset => self.append(part_id, kind, String::new(), now_wall_ms),
            ItemKind::Tool => self.tool(part_id, fitting_tool(content), now_wall_ms),
            ItemKind::Text | ItemKind::Reasoning => {
                let mut rest = self.merge(&part_id, kind, &content);
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(boundary(rest, MAX_ITEM_BYTES));
                    self.append(part_id.clone(), kind, piece.to_owned(), now_wall_ms);
                    rest = after;
                }
            }
        }
    }

    /// Moves as much of `content` as fits into the last item, if that is of the same part and never left.
    fn merge<'a>(&mut self, part_id: &str, kind: ItemKind, content: &'a str) -> &'a str {
        let frozen_below = self.frozen_below;
        let Some(last) = self.items.back_mut() else {
            return content;
        };
        if last.index < frozen_below || last.kind != kind || last.part_id != part_id {
            return content;
        }
        let room = MAX_ITEM_BYTES - last.content.len().min(MAX_ITEM_BYTES);
        let (piece, rest) = content.split_at(boundary(content, room));
        last.content.push_str(piece);
        self.weight += piece.len();
        rest
    }

    /// The last state of a tool wins, so one that was never handed out gives its place to the next.
    fn tool(&mut self, part_id: String, content: String, now_wall_ms: u64) {
        let frozen_below = self.frozen_below;
        let unseen = self.items.iter_mut().rev().take(LOOK_BACK);
        let last = unseen
            .take_while(|item| item.index >= frozen_below)
            .find(|item| item.part_id == part_id);
        match last {
            Some(item) if item.kind == ItemKind::Tool => {
                self.weight = self.weight - item.content.len() + content.len();
                item.content = content;
            }
            _ => self.append(part_id, ItemKind::Tool, content, now_wall_ms),
        }
    }

    fn append(&mut self, part_id: String, kind: ItemKind, content: String, now_wall_ms: u64) {
        let item = Item {
            index: self.next_index,
            timestamp: now_wall_ms as f64,
            part_id,
            kind,
            content,
        };
        self.next_index += 1;
        self.weight += weight(&item);
        self.items.push_back(item);
    }

    /// Forgets what the deployment has: everything below `index`.
    pub(super) fn acknowledge_below(&mut self, index: u64) {
        while self.items.front().is_some_and(|item| item.index < index) {
            if let Some(item) = self.items.pop_front() {
                self.weight -= weight(&item);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.weight = 0;
    }
}

/// What a tool's last state may cost when there is no room: a few words of what came out of it.
const LEAN_TEXT: usize = 512;

/// The last state of a tool without its bulk; `None` for one that another will follow.
pub(super) fn lean_final_tool(draft: Draft) -> Option<Draft> {
    let mut state: ToolState = serde_json::from_str(&draft.content).ok()?;
    if !matches!(state.status.as_str(), "completed" | "error") {
        return None;
    }
    if draft.content.len() <= LEAN_TEXT {
        return Some(draft);
    }
    state.metadata = serde_json::Value::Null;
    state.input = serde_json::Value::Null;
    cut(&mut state, LEAN_TEXT);
    let content = serde_json::to_string(&state).ok()?;
    Some(if content.len() < draft.content.len() {
        Draft { content, ..draft }
    } else {
        draft
    })
}

/// Cuts every text of a tool's state.
fn cut(state: &mut ToolState, most: usize) {
    let long = [&mut state.output, &mut state.error, &mut state.title];
    for text in long.into_iter().flatten() {
        text.truncate(boundary(text, most));
    }
    for text in [&mut state.tool, &mut state.call_id, &mut state.status] {
        text.truncate(boundary(text, 256));
    }
}

/// The largest length ≤ `at_most` that does not cut a character.
fn boundary(text: &str, at_most: usize) -> usize {
    if text.len() <= at_most {
        return text.len();
    }
    (0..=at_most)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// A tool's state cannot be split (the last one wins), so a too large one loses its bulk. The agent's adapter
/// cuts outputs already; this is the belt behind it.
fn fitting_tool(content: String) -> String {
    if content.len() <= MAX_ITEM_BYTES {
        return content;
    }
    let mut state: ToolState = serde_json::from_str(&content).unwrap_or_default();
    state.metadata = serde_json::Value::Null;
    // A control character takes six bytes in JSON.
    cut(&mut state, MAX_ITEM_BYTES / 32);
    if state.input.to_string().len() > MAX_ITEM_BYTES / 4 {
        state.input = serde_json::Value::Null;
    }
    serde_json::to_string(&state).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(part: &str, content: &str) -> Draft {
        Draft {
            part_id: part.to_owned(),
            kind: ItemKind::Text,
            content: content.to_owned(),
        }
    }

    #[test]
    fn neighbours_of_one_part_grow_together_until_they_have_left() {
        let mut buffer = Buffer::starting_at(3);
        buffer.push(text("a", "one "), 1);
        buffer.push(text("a", "two"), 2);
        assert_eq!(buffer.len(), 1);
        assert_eq!(buffer.get(0).unwrap().content, "one two");
        buffer.freeze_below(4);
        buffer.push(text("a", "three"), 3);
        assert_eq!(buffer.get(1).unwrap().index, 4);
    }

    #[test]
    fn a_tool_that_changes_often_costs_one_item_until_it_has_left() {
        let tool = |content: &str| Draft {
            part_id: "tool".to_owned(),
            kind: ItemKind::Tool,
            content: format!("{{\"tool\":\"bash\",\"callId\":\"c\",\"status\":\"{content}\"}}"),
        };
        let mut buffer = Buffer::starting_at(0);
        for n in 0..1_000 {
            buffer.push(tool("running"), n);
            buffer.push(text("a", "x"), n);
        }
        buffer.push(tool("completed"), 1);
        assert_eq!(buffer.len(), 2);
        assert!(buffer.get(0).unwrap().content.contains("completed"));
        assert_eq!(buffer.weight(), buffer.items().map(weight).sum::<usize>());
        buffer.freeze_below(1);
        buffer.push(tool("later"), 1);
        assert_eq!(buffer.len(), 3, "one that has left never changes");
    }

    #[test]
    fn long_text_is_split_between_characters() {
        let long = "ä€𝄞x".repeat(20_000);
        let mut buffer = Buffer::starting_at(0);
        buffer.push(text("a", &long), 1);
        assert!(buffer.len() > 1);
        assert!(buffer.items().all(|i| i.content.len() <= MAX_ITEM_BYTES));
        let whole: String = buffer.items().map(|item| item.content.as_str()).collect();
        assert_eq!(whole, long);
    }

    #[test]
    fn a_tool_state_that_is_too_large_stays_valid_json() {
        let state = ToolState {
            tool: "bash".into(),
            status: "completed".into(),
            output: Some("\u{1}".repeat(200_000)),
            ..ToolState::default()
        };
        let content = fitting_tool(serde_json::to_string(&state).unwrap());
        assert!(content.len() <= MAX_ITEM_BYTES);
        let kept: ToolState = serde_json::from_str(&content).unwrap();
        assert_eq!(kept.tool, "bash");
        assert!(kept.output.is_some());
    }
}
