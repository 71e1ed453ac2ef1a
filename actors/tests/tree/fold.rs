//! What chunk items come to, as readers see it: parts in first-seen order, tools replaced, resets void.

use orchestrator_actors::domain::item::{Item, ItemKind};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub id: String,
    pub kind: ItemKind,
    pub text: String,
}

pub fn fold(items: &[Item]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for item in items {
        let at = parts.iter().position(|part| part.id == item.part_id);
        let at = at.unwrap_or_else(|| {
            parts.push(Part {
                id: item.part_id.clone(),
                kind: item.kind,
                text: String::new(),
            });
            parts.len() - 1
        });
        let part = &mut parts[at];
        match item.kind {
            ItemKind::Reset => part.text.clear(),
            ItemKind::Tool => item.content.clone_into(&mut part.text),
            ItemKind::Text | ItemKind::Reasoning => part.text.push_str(&item.content),
        }
        if item.kind != ItemKind::Reset {
            part.kind = item.kind;
        }
    }
    parts
}

pub fn text(parts: &[Part]) -> String {
    parts.iter().map(|part| part.text.as_str()).collect()
}
