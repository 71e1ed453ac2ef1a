//! What a run printed, line by line (`--output-format stream-json`), folded into what its outcome can be judged by. Holds
//! little, however long the run: the last answer's text, counts, and what Goose itself said after it.

use serde_json::Value;

use crate::adapters::oneshot;

/// The most that is kept of the last answer.
const SUMMARY_BYTES: usize = 4096;

/// Words of Goose itself, of which only the last ones count.
const OWN_WORDS: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// The last answer of the model.
    pub summary: String,
    pub(super) summary_of: Option<String>,
    /// Requests to the model that were answered.
    pub turns: u32,
    /// Tools that were called: the tree may have changed.
    pub tools: u32,
    /// What Goose said in its own name since the model's last words. A message without `inference` is not the model's.
    pub own_words: Vec<OwnWords>,
    pub last: Last,
    pub input_tokens: u64,
    pub output_tokens: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnWords {
    /// `authentication`, `contextLengthExceeded`, `other`, …; `None` for plain text.
    pub kind: Option<String>,
    pub text: String,
}

/// The last line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Last {
    /// It ended without one: it was killed, or never began.
    #[default]
    None,
    Complete,
    Error(String),
}

impl oneshot::Transcript for Transcript {
    fn is_complete(&self) -> bool {
        self.last != Last::None
    }

    fn has_used_tools(&self) -> bool {
        self.tools > 0
    }

    fn turns(&self) -> u32 {
        self.turns
    }

    fn read_line(&mut self, line: &str) {
        // An interrupted Goose puts words before its last object, on the same line.
        let object = line.find("{\"type\":").map_or(line, |at| &line[at..]);
        let Ok(value) = serde_json::from_str::<Value>(object) else {
            // An object that was cut off because it is too long, as what tools take and give can be.
            if oneshot::is_cut_off(object) {
                self.tools += 1;
                if object.contains("\"toolRe") {
                    self.own_words.clear();
                }
            }
            return;
        };
        match value["type"].as_str() {
            Some("message") => self.read_message(&value["message"]),
            Some("complete") => {
                self.last = Last::Complete;
                self.input_tokens = value["input_tokens"].as_u64().unwrap_or(0);
                self.output_tokens = value["output_tokens"].as_u64().unwrap_or(0);
            }
            Some("error") => {
                let text = value["error"].as_str().unwrap_or_default();
                self.last = Last::Error(text.to_owned());
            }
            _ => {}
        }
    }
}

impl Transcript {
    fn read_message(&mut self, message: &Value) {
        if message["role"] != "assistant" {
            return;
        }
        let is_models = message["metadata"]["inference"].is_object();
        let id = message["id"].as_str().map(str::to_owned);
        if is_models && id != self.summary_of {
            self.turns += 1;
            self.summary.clear();
            self.summary_of = id;
        }
        for content in message["content"].as_array().into_iter().flatten() {
            self.read_content(content, is_models);
        }
    }

    fn read_content(&mut self, content: &Value, is_models: bool) {
        let text = |name: &str| content[name].as_str().unwrap_or_default();
        match (content["type"].as_str(), is_models) {
            (Some("toolRequest"), _) => {
                self.tools += 1;
                self.own_words.clear();
            }
            (Some("text"), true) => {
                self.own_words.clear();
                if self.summary.len() < SUMMARY_BYTES {
                    self.summary.push_str(text("text"));
                }
            }
            (Some("text"), false) => self.say(None, text("text")),
            (Some("error"), _) => self.say(Some(text("kind")), text("message")),
            _ => {}
        }
    }

    fn say(&mut self, kind: Option<&str>, text: &str) {
        if self.own_words.len() == OWN_WORDS {
            self.own_words.remove(0);
        }
        self.own_words.push(OwnWords {
            kind: kind.map(str::to_owned),
            text: text.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::oneshot::Transcript as _;

    fn read(lines: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        for line in lines {
            transcript.read_line(line);
        }
        transcript
    }

    #[test]
    fn an_answer_in_pieces_is_put_together_and_an_earlier_one_is_dropped() {
        let transcript = read(&[
            r#"{"type":"message","message":{"id":"a","role":"assistant","content":[{"type":"text","text":"I will. "}],"metadata":{"inference":{"provider":"openai"}}}}"#,
            r#"{"type":"message","message":{"id":"a","role":"assistant","content":[{"type":"toolRequest","id":"c"}],"metadata":{"inference":{}}}}"#,
            r#"{"type":"message","message":{"id":"m","role":"user","content":[{"type":"toolResponse","id":"c"}],"metadata":{}}}"#,
            r#"{"type":"message","message":{"id":"b","role":"assistant","content":[{"type":"text","text":"Done:"}],"metadata":{"inference":{}}}}"#,
            r#"{"type":"message","message":{"id":"b","role":"assistant","content":[{"type":"text","text":" ok"}],"metadata":{"inference":{}}}}"#,
            r#"{"type":"complete","total_tokens":203,"input_tokens":200,"output_tokens":3}"#,
        ]);
        assert_eq!(transcript.summary, "Done: ok");
        assert_eq!((transcript.turns, transcript.tools), (2, 1));
        assert_eq!(
            (transcript.input_tokens, transcript.output_tokens),
            (200, 3)
        );
        assert_eq!(transcript.last, Last::Complete);
        assert!(transcript.own_words.is_empty());
    }

    #[test]
    fn a_tool_call_that_was_cut_off_is_one_all_the_same() {
        let call = r#"{"type":"message","message":{"id":"a","role":"assistant","content":[{"type":"toolRequest","toolCall":{"value":{"name":"write","arguments":{"content":"x"#;
        let transcript = read(&[
            r#"{"type":"message","message":{"id":"e","role":"assistant","content":[{"type":"text","text":"Network error: away"}],"metadata":{}}}"#,
            &format!("{call}{}", "x".repeat(70_000)),
        ]);
        assert!(transcript.has_used_tools());
        assert!(transcript.own_words.is_empty(), "that was before it");
        assert!(!read(&["plain words", "[1, 2"]).has_used_tools());
    }

    #[test]
    fn words_glued_before_the_last_object_do_not_hide_it() {
        let transcript = read(&[
            "a line of somebody else",
            "Yes — what would you like me to do?{\"type\":\"error\",\"error\":\"Headless run interrupted\"}",
        ]);
        assert_eq!(
            transcript.last,
            Last::Error("Headless run interrupted".to_owned())
        );
    }

    #[test]
    fn gooses_own_words_are_told_from_the_models() {
        let model = r#"{"type":"message","message":{"id":"a","role":"assistant","content":[{"type":"text","text":"Ran into this error: I quote"}],"metadata":{"inference":{}}}}"#;
        let own = r#"{"type":"message","message":{"id":"g","role":"assistant","content":[{"type":"text","text":"I've reached the maximum number of actions"}],"metadata":{}}}"#;
        let words = read(&[own, model, own]).own_words;
        assert_eq!(words.len(), 1);
        assert!(words[0].text.starts_with("I've reached"));
    }
}
