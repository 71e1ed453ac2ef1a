//! The messages of the load: scripts for the model, each with a name of its own in its answer, and with what a complete
//! answer must be. A name in angles makes every prompt and every text findable in the model's count and in the chunks.

use orchestrator_test_support::script;
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

/// What the tools of this run sleep, in the shell's command line: nobody else on the machine does.
pub const TOOL_SLEEP: &str = "6.0417";

#[derive(Clone, Debug)]
pub struct Prompt {
    pub content: String,
    /// The text of a complete answer. What is stored of any other is a beginning of it.
    pub text: String,
    /// Model requests of a complete answer without retries.
    pub steps: u64,
    /// The retries that the script itself makes the assistant do.
    pub retries: u64,
}

/// `<<name>>` in a text.
pub fn name_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<<")?;
    rest.split_once(">>").map(|(name, _)| name)
}

pub fn draw(name: &str, chance: &mut StdRng) -> Prompt {
    let begins = format!("<<{name}>> begins. ");
    match chance.random_range(0..20) {
        0..5 => plain(&begins),
        5..10 => streamed(&begins, chance.random_range(20..160), 40.0, 8),
        10..12 => streamed(&begins, 1500, 0.0, 24),
        12..14 => reasoned(&begins),
        14..17 => with_tool(
            &begins,
            "bash",
            // OpenCode misses the end of a tool that was killed, and waits for this limit.
            &json!({ "command": format!("sleep {TOOL_SLEEP}"), "description": "waits", "timeout": 20_000 }),
        ),
        17 => with_tool(
            &begins,
            "write",
            &json!({ "filePath": format!("{name}.txt"), "content": "written" }),
        ),
        18 => refused_once(&begins),
        _ => broken_once(&begins),
    }
}

fn made(steps: &Value, text: String, retries: u64) -> Prompt {
    Prompt {
        content: script(steps),
        text,
        steps: steps.as_array().map_or(0, Vec::len) as u64,
        retries,
    }
}

pub fn plain(begins: &str) -> Prompt {
    let steps = json!([[{ "text": begins }, { "sleep": 150 }, { "text": "A short answer. " }, { "text": "Ends." }]]);
    made(&steps, format!("{begins}A short answer. Ends."), 0)
}

fn streamed(begins: &str, n: usize, rate: f64, size: usize) -> Prompt {
    let steps = json!([[
        { "text": begins }, { "stream": { "n": n, "rate": rate, "size": size } }, { "text": "Ends." },
    ]]);
    let mut text = begins.to_owned();
    for index in 0..n {
        let piece = index.to_string();
        let fill = (size - 1).saturating_sub(piece.len());
        text.extend([piece.as_str(), &"x".repeat(fill), " "]);
    }
    text.push_str("Ends.");
    made(&steps, text, 0)
}

fn reasoned(begins: &str) -> Prompt {
    let steps = json!([[
        { "reason": "First a thought. " }, { "sleep": 300 }, { "reason": "And another. " },
        { "text": begins }, { "sleep": 500 }, { "text": "Ends." },
    ]]);
    made(&steps, format!("{begins}Ends."), 0)
}

fn with_tool(begins: &str, tool: &str, args: &Value) -> Prompt {
    let steps = json!([
        [{ "text": begins }, { "tool": tool, "args": args, "chunks": 3, "gap": 20 }],
        [{ "text": "The tool is over. " }, { "sleep": 200 }, { "text": "Ends." }],
    ]);
    made(&steps, format!("{begins}The tool is over. Ends."), 0)
}

/// The provider says 500 the first time.
fn refused_once(begins: &str) -> Prompt {
    let steps = json!([[{ "status": 500, "times": 1 }, { "text": begins }, { "text": "Ends." }]]);
    made(&steps, format!("{begins}Ends."), 1)
}

/// The provider's connection breaks once, in the middle of the text.
fn broken_once(begins: &str) -> Prompt {
    let steps = json!([[
        { "text": begins }, { "sleep": 200 }, { "drop": true, "times": 1 }, { "text": "Ends." },
    ]]);
    made(&steps, format!("{begins}Ends."), 1)
}
