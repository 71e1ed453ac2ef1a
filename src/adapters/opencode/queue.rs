//! Events that wait for a session actor that is slow. Adjacent pieces of one text become one item and a tool's newer state
//! replaces the older, so a burst of thousands of deltas costs a few items. At its bound nothing more is read from
//! OpenCode, which then buffers itself.

use std::collections::VecDeque;

use orchestrator_actors::domain::item::{ItemKind, MAX_ITEM_BYTES};
use orchestrator_actors::ports::agent::AgentEvent;

/// The most bytes of content that wait.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The most events that wait.
const MAX_EVENTS: usize = 4096;

#[derive(Debug, Default)]
pub struct Queue {
    events: VecDeque<AgentEvent>,
    bytes: usize,
}

impl Queue {
    pub fn push(&mut self, event: AgentEvent) {
        if let (
            Some(AgentEvent::Item {
                turn: last_turn,
                draft: last,
            }),
            AgentEvent::Item { turn, draft },
        ) = (self.events.back_mut(), &event)
            && last_turn == turn
            && last.part_id == draft.part_id
            && last.kind == draft.kind
        {
            match draft.kind {
                ItemKind::Text | ItemKind::Reasoning
                    if last.content.len() + draft.content.len() <= MAX_ITEM_BYTES =>
                {
                    last.content.push_str(&draft.content);
                    self.bytes += draft.content.len();
                    return;
                }
                ItemKind::Tool => {
                    self.bytes = self.bytes + draft.content.len() - last.content.len();
                    last.content.clone_from(&draft.content);
                    return;
                }
                ItemKind::Reset => return,
                _ => {}
            }
        }
        let is_said_once = matches!(
            event,
            AgentEvent::Alive { .. } | AgentEvent::ReleaseWanted { .. }
        );
        if is_said_once && self.events.back() == Some(&event) {
            return;
        }
        self.bytes += weight(&event);
        self.events.push_back(event);
    }

    pub fn pop(&mut self) -> Option<AgentEvent> {
        let event = self.events.pop_front()?;
        self.bytes -= weight(&event);
        Some(event)
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether more may be read from OpenCode.
    pub fn has_room(&self) -> bool {
        self.bytes < MAX_BYTES && self.events.len() < MAX_EVENTS
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

fn weight(event: &AgentEvent) -> usize {
    match event {
        AgentEvent::Item { draft, .. } => draft.content.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orchestrator_actors::domain::ids::TurnId;
    use orchestrator_actors::domain::item::Draft;

    fn item(part: &str, kind: ItemKind, content: &str) -> AgentEvent {
        AgentEvent::Item {
            turn: TurnId::new("t"),
            draft: Draft {
                part_id: part.to_owned(),
                kind,
                content: content.to_owned(),
            },
        }
    }

    #[test]
    fn neighbours_are_merged_and_order_is_kept() {
        let mut queue = Queue::default();
        for piece in ["a", "b", "c"] {
            queue.push(item("1", ItemKind::Text, piece));
        }
        queue.push(item("2", ItemKind::Tool, "pending"));
        queue.push(item("2", ItemKind::Tool, "running"));
        queue.push(item("1", ItemKind::Text, "d"));
        assert_eq!(queue.pop(), Some(item("1", ItemKind::Text, "abc")));
        assert_eq!(queue.pop(), Some(item("2", ItemKind::Tool, "running")));
        assert_eq!(queue.pop(), Some(item("1", ItemKind::Text, "d")));
        assert_eq!((queue.pop(), queue.bytes), (None, 0));
    }

    #[test]
    fn items_never_grow_beyond_their_limit_and_the_queue_fills_up() {
        let mut queue = Queue::default();
        let piece = "x".repeat(MAX_ITEM_BYTES - 1);
        let mut pushed = 0;
        while queue.has_room() {
            queue.push(item("1", ItemKind::Text, &piece));
            pushed += 1;
        }
        assert!(pushed < 100);
        while let Some(AgentEvent::Item { draft, .. }) = queue.pop() {
            assert!(draft.content.len() <= MAX_ITEM_BYTES);
        }
        assert!(queue.has_room());
    }
}
