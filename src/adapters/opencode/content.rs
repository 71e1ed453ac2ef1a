//! Turning OpenCode's parts into chunk items: texts split on character boundaries, tool states as JSON cut to size,
//! errors and usage in our words.

use orchestrator_actors::domain::item::{Draft, ItemKind, MAX_ITEM_BYTES, ToolState};
use orchestrator_actors::domain::turn::{TurnError, Usage};
use serde_json::Value;

use super::wire::{Info, Part, WireError};

/// The most bytes of a tool's JSON; below the item's limit, with room for what carries it.
const MAX_TOOL_BYTES: usize = 60 * 1024;

/// How much of a running tool's output is shown; the whole comes when it ends.
const RUNNING_OUTPUT_BYTES: usize = 8 * 1024;

/// What a text that was cut has in the place of the rest.
const CUT: &str = "\n… (cut) …\n";

pub fn kind_of(part: &Part) -> Option<ItemKind> {
    match part.kind.as_str() {
        "text" => Some(ItemKind::Text),
        "reasoning" => Some(ItemKind::Reasoning),
        "tool" => Some(ItemKind::Tool),
        _ => None,
    }
}

pub fn reset(part_id: &str) -> Draft {
    Draft {
        part_id: part_id.to_owned(),
        kind: ItemKind::Reset,
        content: String::new(),
    }
}

/// `text` as items of at most 64 KiB.
pub fn pieces(part_id: &str, kind: ItemKind, text: &str) -> Vec<Draft> {
    let mut rest = text;
    let mut drafts = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(floor_boundary(rest, MAX_ITEM_BYTES));
        drafts.push(Draft {
            part_id: part_id.to_owned(),
            kind,
            content: piece.to_owned(),
        });
        rest = after;
    }
    drafts
}

/// The largest character boundary not above `at`.
pub fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A tool part as its item.
pub fn tool_draft(part: &Part) -> Draft {
    Draft {
        part_id: part.id.clone(),
        kind: ItemKind::Tool,
        content: tool_json(&tool_state(part)),
    }
}

pub fn tool_state(part: &Part) -> ToolState {
    let mut metadata = part.state.metadata.clone();
    // The same text again.
    let streamed = metadata
        .as_object_mut()
        .and_then(|metadata| metadata.remove("output"));
    if metadata.as_object().is_some_and(serde_json::Map::is_empty) {
        metadata = Value::Null;
    }
    let output = part.state.output.clone().or_else(|| {
        let text = streamed?.as_str()?.to_owned();
        let start = text.len().saturating_sub(RUNNING_OUTPUT_BYTES);
        let start = (start..text.len())
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        Some(text[start..].to_owned())
    });
    ToolState {
        tool: part.tool.clone(),
        call_id: part.call.clone(),
        status: part.state.status.clone(),
        title: part.state.title.clone(),
        input: part.state.input.clone(),
        output,
        error: part.state.error.clone(),
        metadata,
    }
}

/// The state as JSON of at most 60 KiB: texts are cut shorter and shorter until it fits.
fn tool_json(state: &ToolState) -> String {
    let json = |state: &ToolState| serde_json::to_string(state).unwrap_or_default();
    let whole = json(state);
    if whole.len() <= MAX_TOOL_BYTES {
        return whole;
    }
    for limit in [24 * 1024, 8 * 1024, 2048, 256] {
        let mut cut = state.clone();
        cut.output = cut.output.map(|text| shortened(&text, limit));
        cut.error = cut.error.map(|text| shortened(&text, limit));
        shorten_all(&mut cut.input, limit);
        shorten_all(&mut cut.metadata, limit);
        let text = json(&cut);
        if text.len() <= MAX_TOOL_BYTES {
            return text;
        }
    }
    // Thousands of small values: only their fact is left.
    json(&ToolState {
        input: Value::Null,
        metadata: Value::Null,
        title: state.title.as_deref().map(|text| shortened(text, 256)),
        output: state.output.as_deref().map(|text| shortened(text, 2048)),
        error: state.error.as_deref().map(|text| shortened(text, 2048)),
        ..state.clone()
    })
}

/// Start and end of a long text; errors and results are usually at the end.
fn shortened(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let start = floor_boundary(text, limit / 2);
    let from = text.len() - limit / 2;
    let end = (from..=text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len());
    format!("{}{CUT}{}", &text[..start], &text[end..])
}

fn shorten_all(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) => *text = shortened(text, limit),
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| shorten_all(value, limit)),
        Value::Object(map) => map.values_mut().for_each(|value| shorten_all(value, limit)),
        _ => {}
    }
}

pub fn is_abort(error: &WireError) -> bool {
    error.name == "MessageAbortedError"
}

/// OpenCode's error in our words. `code` is stable.
pub fn turn_error(error: &WireError) -> TurnError {
    let code = match error.name.as_str() {
        "MessageAbortedError" => "aborted",
        "ProviderAuthError" => "provider_auth",
        "APIError" => "provider_error",
        "ContextOverflowError" => "context_overflow",
        "MessageOutputLengthError" => "output_length",
        "ContentFilterError" => "content_filter",
        "StructuredOutputError" => "structured_output",
        _ => "agent_error",
    };
    let message = error.data["message"].as_str().unwrap_or(&error.name);
    let message = &unwrapped(message);
    let message = match error.data["statusCode"].as_u64() {
        Some(status) => format!("{message} (HTTP {status} from the model's provider)"),
        None => message.to_owned(),
    };
    // Unknown errors carry whole stack traces, which say nothing to whoever asked.
    let message = message.split("\n    at ").next().unwrap_or_default();
    TurnError::new(code, shortened(message, 4096))
}

/// Some providers' bodies reach us whole, as JSON, maybe after words of OpenCode's: people are told what they say.
fn unwrapped(message: &str) -> String {
    let said = message.find('{').and_then(|at| {
        let (before, body) = message.split_at(at);
        let body: serde_json::Value = serde_json::from_str(body.trim()).ok()?;
        let inner = body["error"]["message"].as_str();
        let inner = inner.or_else(|| body["message"].as_str())?;
        Some(format!("{before}{inner}"))
    });
    said.unwrap_or_else(|| message.to_owned())
}

/// What a turn cost: the sum over its steps. `None` when nothing was counted.
pub fn usage<'a>(steps: impl IntoIterator<Item = &'a Info>) -> Option<Usage> {
    let mut sum = Usage::default();
    for step in steps {
        sum.input_tokens += step.tokens.input;
        sum.output_tokens += step.tokens.output;
        sum.reasoning_tokens += step.tokens.reasoning;
        sum.cache_read_tokens += step.tokens.cache.read;
        sum.cache_write_tokens += step.tokens.cache.write;
        sum.cost += step.cost;
    }
    (sum != Usage::default()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_providers_json_is_unwrapped_and_other_braces_stay() {
        let nested = r#"{"error":{"message":"no such model","type":"invalid"}}"#;
        assert_eq!(unwrapped(nested), "no such model");
        assert_eq!(
            unwrapped(&format!("Bad Request: {nested}")),
            "Bad Request: no such model"
        );
        assert_eq!(unwrapped(r#"{"message":"full"}"#), "full");
        for other in ["plain", "{not json", r#"{"code":7}"#] {
            assert_eq!(unwrapped(other), other);
        }
    }

    #[test]
    fn long_texts_are_split_between_characters() {
        let text = "ä".repeat(MAX_ITEM_BYTES);
        let drafts = pieces("p", ItemKind::Text, &text);
        assert!(
            drafts
                .iter()
                .all(|draft| draft.content.len() <= MAX_ITEM_BYTES)
        );
        assert_eq!(
            drafts
                .iter()
                .map(|draft| draft.content.as_str())
                .collect::<String>(),
            text
        );
        assert!(pieces("p", ItemKind::Text, "").is_empty());
    }

    fn tool(state: Value) -> Part {
        serde_json::from_value(json!({
            "id": "prt_1", "type": "tool", "tool": "bash", "callID": "call_1", "state": state,
        }))
        .unwrap()
    }

    #[test]
    fn a_tool_state_always_fits_and_stays_json() {
        let long = "é\"\n".repeat(100_000);
        let many: Vec<Value> = (0..50_000).map(|n| json!({"k": n})).collect();
        for state in [
            json!({"status": "completed", "input": {"command": long}, "output": long, "metadata": {"diff": long}}),
            json!({"status": "error", "error": long, "input": {"list": many}}),
        ] {
            let draft = tool_draft(&tool(state));
            assert!(
                draft.content.len() <= MAX_TOOL_BYTES,
                "{}",
                draft.content.len()
            );
            let read: ToolState = serde_json::from_str(&draft.content).unwrap();
            assert_eq!(read.tool, "bash");
        }
    }

    #[test]
    fn a_running_tool_shows_the_end_of_its_output_once() {
        let text = format!("{}end", "x".repeat(100_000));
        let state = tool_state(&tool(
            json!({"status": "running", "metadata": {"output": text}}),
        ));
        assert!(state.output.unwrap().ends_with("end"));
        assert_eq!(state.metadata, Value::Null);
    }
}
