//! Chunk items: the content of a turn, in order. Parts (what people read) are their fold.

use serde::{Deserialize, Serialize};

/// The most bytes of `content` that one item may have.
pub const MAX_ITEM_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    /// A piece of the answer, appended to its part.
    Text,
    /// A piece of the assistant's reasoning, appended to its part.
    Reasoning,
    /// The whole present state of a tool call as JSON ([`ToolState`]); the last one wins.
    Tool,
    /// Everything streamed under this part so far is void.
    Reset,
}

/// One item, as `chunks:append` takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// From 0, strictly rising within a turn, without gaps.
    pub index: u64,
    /// Milliseconds since the Unix epoch, by the machine's clock.
    pub timestamp: f64,
    pub part_id: String,
    pub kind: ItemKind,
    pub content: String,
}

/// An item before the stream gives it its index and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub part_id: String,
    pub kind: ItemKind,
    pub content: String,
}

/// What a `tool` item's content says. Outputs are cut to fit [`MAX_ITEM_BYTES`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolState {
    pub tool: String,
    pub call_id: String,
    /// `pending | running | completed | error`
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub input: serde_json::Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub metadata: serde_json::Value,
}
