//! The language of scripted prompts: `SCRIPT:{"steps":[[op, op, …], …]}`. Step *i* answers the request that follows *i* tool
//! round trips; after the last one the model says "Done.". An operation is an object with one of the keys below.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Clone, Debug, Deserialize)]
pub struct Script {
    pub steps: Vec<Vec<Op>>,
}

/// One thing the model does. Times are in milliseconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Op {
    /// A piece of the answer.
    Text {
        text: String,
    },
    /// A piece of the reasoning.
    Reason {
        reason: String,
    },
    /// Many pieces of the answer.
    Stream {
        stream: Stream,
    },
    /// A tool call; `args` are sent in `chunks` pieces, `gap` apart.
    Tool {
        tool: String,
        #[serde(default)]
        args: Value,
        #[serde(default = "one")]
        chunks: usize,
        #[serde(default)]
        gap: u64,
    },
    Sleep {
        sleep: u64,
    },
    /// The first `times` requests of this step (all, without it) are answered with this HTTP status. Only as a step's first operation.
    Status {
        status: u16,
        #[serde(default)]
        times: Option<u64>,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        message: Option<String>,
    },
    /// Says nothing more and keeps the connection open.
    Hang {
        hang: bool,
    },
    /// Breaks the connection; only for the first `times` requests of this step if given.
    Drop {
        drop: bool,
        #[serde(default)]
        times: Option<u64>,
    },
    /// An error object within the stream.
    Errchunk {
        errchunk: String,
    },
    /// Ends the answer with this finish reason.
    Finish {
        finish: String,
    },
    /// A `data:` line as it is.
    Raw {
        raw: String,
    },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// How many pieces.
    pub n: usize,
    /// Pieces a second; 0 is as fast as it goes.
    #[serde(default)]
    pub rate: f64,
    /// Bytes of each piece, filled up with `x`.
    #[serde(default)]
    pub size: usize,
    /// Each piece carries the monotonic clock in microseconds, for measuring latency.
    #[serde(default)]
    pub stamp: bool,
}

fn one() -> usize {
    1
}

/// What marks a scripted prompt.
pub const PREFIX: &str = "SCRIPT:";

impl Script {
    /// `None` for a prompt that is none; `Some(Err)` for one that is broken.
    pub fn of_prompt(prompt: &str) -> Option<Result<Self, String>> {
        let text = prompt.trim_start().strip_prefix(PREFIX)?;
        // What an assistant appends to a prompt (reminders) is not part of the script.
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Script>();
        Some(match values.next() {
            Some(Ok(script)) => Ok(script),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the script is empty".to_owned()),
        })
    }

    pub fn step(&self, index: usize) -> Vec<Op> {
        self.steps.get(index).cloned().unwrap_or_else(|| {
            vec![Op::Text {
                text: "Done.".to_owned(),
            }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_and_what_follows_it_is_ignored() {
        let prompt = r#"SCRIPT:{"steps":[[{"reason":"think"},{"text":"a"},{"tool":"write","args":{"filePath":"/b"}}],
            [{"stream":{"n":3,"rate":10}},{"status":500,"times":1},{"finish":"length"},{"hang":true}]]}
            <reminder>be brief</reminder>"#;
        let script = Script::of_prompt(prompt).unwrap().unwrap();
        assert_eq!(script.steps.len(), 2);
        assert!(matches!(&script.step(0)[2], Op::Tool { tool, chunks: 1, .. } if tool == "write"));
        assert!(matches!(script.step(7)[0], Op::Text { .. }));
    }

    #[test]
    fn a_plain_prompt_is_none_and_a_broken_script_says_where() {
        assert!(Script::of_prompt("hello").is_none());
        assert!(
            Script::of_prompt("SCRIPT:{\"steps\":[[{\"txt\":1}]]}")
                .unwrap()
                .is_err()
        );
        assert!(Script::of_prompt("SCRIPT:").unwrap().is_err());
    }
}
