//! What a prompt consists of for OpenCode: its text, and the images and files that go along with it. Every part has an id that
//! is derived from the turn's, so that a prompt which is handed over twice is the same prompt.
//!
//! A text goes as text: of a file with a text's type OpenCode makes parts of its own, under new ids each time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orchestrator_actors::ports::agent::{Carried, Prompt};
use serde_json::{Value, json};

use super::ids::PromptIds;

pub fn parts(ids: &PromptIds, prompt: &Prompt, files: &[Carried]) -> Vec<Value> {
    let mut parts = Vec::with_capacity(files.len() + 1);
    if files.is_empty() || !prompt.content.trim().is_empty() {
        parts.push(json!({"id": ids.part, "type": "text", "text": prompt.content}));
    }
    for (place, file) in files.iter().enumerate() {
        parts.push(part(ids.file(place), file));
    }
    parts
}

fn part(id: String, Carried { name, mime, base64 }: &Carried) -> Value {
    if mime == "text/plain" {
        let bytes = STANDARD.decode(base64).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // A name has no control characters; a quotation mark would end it early.
        let name = name.replace('"', "'");
        let text = format!("<file name=\"{name}\">\n{text}\n</file>");
        return json!({"id": id, "type": "text", "text": text});
    }
    let url = format!("data:{mime};base64,{base64}");
    json!({"id": id, "type": "file", "mime": mime, "filename": name, "url": url})
}

#[cfg(test)]
mod tests {
    use orchestrator_actors::domain::ids::TurnId;

    use super::*;

    fn prompt(content: &str) -> Prompt {
        Prompt {
            conversation: "ses_1".into(),
            turn: TurnId::new("t"),
            content: content.to_owned(),
            model: None,
            agent: None,
            attachments: Vec::new(),
        }
    }

    fn file(name: &str, mime: &str, bytes: &[u8]) -> Carried {
        Carried {
            name: name.to_owned(),
            mime: mime.to_owned(),
            base64: STANDARD.encode(bytes),
        }
    }

    #[test]
    fn the_same_prompt_has_the_same_parts_in_the_same_order() {
        let ids = PromptIds::of(&TurnId::new("t"));
        let files = [
            file("a.png", "image/png", b"png"),
            file("say \"hi\".md", "text/plain", b"# hi"),
        ];
        let made = parts(&ids, &prompt("look"), &files);
        assert_eq!(made, parts(&ids, &prompt("look"), &files));
        let named: Vec<_> = made
            .iter()
            .map(|part| part["id"].as_str().unwrap())
            .collect();
        assert!(
            named.is_sorted(),
            "OpenCode orders parts by their ids: {named:?}"
        );
        assert_eq!(made[1]["url"], "data:image/png;base64,cG5n");
        assert_eq!(
            made[2]["text"],
            "<file name=\"say 'hi'.md\">\n# hi\n</file>"
        );
    }

    #[test]
    fn a_message_without_words_has_no_empty_text() {
        let ids = PromptIds::of(&TurnId::new("t"));
        let made = parts(&ids, &prompt(""), &[file("a.png", "image/png", b"png")]);
        assert_eq!(made.len(), 1);
        assert_eq!(made[0]["type"], "file");
    }
}
