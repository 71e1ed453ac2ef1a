//! What the model reads of a request: the last prompt, how many tool round trips followed it, the tools on offer.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

#[derive(Clone, Debug, Default, Deserialize)]
pub struct ChatRequest {
    #[serde(default)]
    pub model: String,
    #[serde(default)]
    pub messages: Vec<Value>,
    #[serde(default)]
    pub tools: Vec<Value>,
}

impl ChatRequest {
    fn last_user(&self) -> Option<usize> {
        self.messages
            .iter()
            .rposition(|message| message["role"] == "user")
    }

    /// The text of the last user message.
    pub fn prompt(&self) -> String {
        self.last_user()
            .map(|at| text_of(&self.messages[at]))
            .unwrap_or_default()
    }

    /// What came with that message besides text, as the kind and size of each thing.
    pub fn seen(&self) -> Vec<String> {
        let parts = self
            .last_user()
            .and_then(|at| self.messages[at]["content"].as_array());
        let things = parts.into_iter().flatten().filter_map(|part| {
            let url = part["image_url"]["url"]
                .as_str()
                .or_else(|| part["file"]["file_data"].as_str())?;
            let (mime, base64) = url.strip_prefix("data:")?.split_once(";base64,")?;
            let bytes = base64.trim_end_matches('=').len() * 3 / 4;
            Some(format!("{mime} of {bytes} bytes"))
        });
        things.collect()
    }

    /// Whether the assistant wants a name for the conversation, beside the prompt that it is about. Neither a prompt nor a
    /// step of a script: it is asked at any moment, or never when the assistant has ended before.
    pub fn wants_a_title(&self) -> bool {
        let first = self.messages.first();
        self.tools.is_empty()
            && first.is_some_and(|message| {
                message["role"] == "system"
                    && text_of(message).starts_with("You are a title generator")
            })
    }

    /// How many times tools were called since that message.
    pub fn step(&self) -> usize {
        let after = self.last_user().map_or(0, |at| at + 1);
        self.messages[after..]
            .iter()
            .filter(|message| {
                message["role"] == "assistant"
                    && message["tool_calls"]
                        .as_array()
                        .is_some_and(|calls| !calls.is_empty())
            })
            .count()
    }

    /// How many user messages came before the last one.
    pub fn earlier_prompts(&self) -> usize {
        let users = self
            .messages
            .iter()
            .filter(|message| message["role"] == "user")
            .count();
        users.saturating_sub(1)
    }

    /// What the last tool answered.
    pub fn last_tool_result(&self) -> Option<String> {
        self.messages
            .iter()
            .rev()
            .find(|message| message["role"] == "tool")
            .map(text_of)
    }

    pub fn offers(&self, tool: &str) -> bool {
        self.tool(tool).is_some()
    }

    /// Whether a tool on offer takes an argument of this name: assistants call the same thing by different names.
    pub fn takes(&self, tool: &str, argument: &str) -> bool {
        let of =
            |offered: &Value| offered["function"]["parameters"]["properties"][argument].is_object();
        self.tool(tool).is_some_and(of)
    }

    fn tool(&self, name: &str) -> Option<&Value> {
        self.tools
            .iter()
            .find(|offered| offered["function"]["name"] == name)
    }
}

/// A message's text, whether it is a string or a list of parts.
pub fn text_of(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

/// Names a prompt in the statistics.
pub fn hash_of(prompt: &str) -> String {
    use std::fmt::Write;
    Sha256::digest(prompt.as_bytes())[..8]
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_title_is_wanted_by_who_says_so_and_offers_no_tools() {
        let asked = |system: &str, tools: serde_json::Value| -> ChatRequest {
            serde_json::from_value(json!({"tools": tools, "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": "Generate a title for this conversation:"},
                {"role": "user", "content": "one"},
            ]}))
            .unwrap()
        };
        let titles = "You are a title generator. You output ONLY a thread title.";
        assert!(asked(titles, json!([])).wants_a_title());
        assert!(!asked(titles, json!([{"function": {"name": "write"}}])).wants_a_title());
        assert!(!asked("You are an assistant", json!([])).wants_a_title());
    }

    #[test]
    fn what_comes_with_a_prompt_is_seen() {
        let request: ChatRequest = serde_json::from_value(json!({"messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
            ]},
        ]}))
        .unwrap();
        assert_eq!(request.prompt(), "look");
        assert_eq!(
            request.seen(),
            ["image/png of 5 bytes", "application/pdf of 2 bytes"]
        );
    }

    #[test]
    fn steps_are_counted_from_the_last_prompt() {
        let request: ChatRequest = serde_json::from_value(json!({"messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "tool_calls": [{"id": "c"}]},
            {"role": "tool", "content": "r"},
            {"role": "user", "content": [{"type": "text", "text": "two"}]},
            {"role": "assistant", "content": "x", "tool_calls": [{"id": "d"}]},
            {"role": "tool", "content": "result"},
        ]}))
        .unwrap();
        assert_eq!(request.prompt(), "two");
        assert_eq!(request.step(), 1);
        assert_eq!(request.earlier_prompts(), 1);
        assert_eq!(request.last_tool_result().unwrap(), "result");
    }
}
