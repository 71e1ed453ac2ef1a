//! Whether what a driver saw at a step is what the step says.
//!
//! Values and the data of refusals are compared exactly, but for `{"$any": …}` (ids, times) and `{"$has": {…}}` (some
//! fields of an object). Texts of failures are looked into: what clients put around them is taken off first.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::drivers::Driver;

/// What a driver saw at a step.
#[derive(Clone, Debug, Deserialize)]
pub struct Outcome {
    #[serde(flatten)]
    pub result: Seen,
    /// Only some drivers see them.
    #[serde(default)]
    pub logs: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    Value(Value),
    /// The data of a ConvexError.
    Refused(Value),
    /// The text of any other failure.
    Failed(String),
}

impl From<Seen> for Outcome {
    fn from(result: Seen) -> Self {
        Self { result, logs: None }
    }
}

/// What a run has saved, `run` among it.
pub type Saved = BTreeMap<String, Value>;

/// Checks a step's outcome and notes what the step saves.
pub fn check(
    step: &Value,
    driver: Driver,
    outcome: &Outcome,
    saved: &mut Saved,
) -> Result<(), String> {
    let verdict = verdict(step, driver, outcome, saved);
    if let Seen::Value(value) = &outcome.result {
        saves(step, value, saved);
    }
    verdict
}

/// Notes what the step wants kept of its value.
pub fn saves(step: &Value, value: &Value, saved: &mut Saved) {
    for (name, path) in step["save"].as_object().into_iter().flatten() {
        let found = at(value, path.as_str().unwrap_or_default());
        saved.insert(name.clone(), found.clone());
    }
}

fn verdict(step: &Value, driver: Driver, outcome: &Outcome, saved: &Saved) -> Result<(), String> {
    let except = &step["except"][driver.name()];
    if except["ignored"] == true {
        return Ok(());
    }
    let wanted = if except.is_object() { except } else { step };
    let filled = |name: &str| wanted.get(name).map(|pattern| fill_in(pattern, saved));
    let fits = match (&outcome.result, filled("refused"), filled("fails")) {
        (Seen::Value(value), None, None) => match filled("gives") {
            None => true,
            Some(pattern) if driver == Driver::Own => matches(&projected(&pattern), value),
            Some(pattern) => matches(&pattern, value),
        },
        (Seen::Refused(data), Some(pattern), _) if driver == Driver::Own => {
            code_and_message(&pattern).is_some_and(|kept| matches(&kept, data))
        }
        (Seen::Refused(data), Some(pattern), _) => matches(&pattern, data),
        // Our own client knows the refusals of our own functions only.
        (Seen::Failed(text), Some(pattern), _) if driver == Driver::Own => {
            code_and_message(&pattern).is_none() && text.contains("Uncaught ")
        }
        (Seen::Failed(text), None, Some(parts)) if driver == Driver::Own => {
            contains_all(&meaningful(text), &not_quoted(parts))
        }
        (Seen::Failed(text), None, Some(parts)) => contains_all(&meaningful(text), &parts),
        _ => false,
    };
    if !fits {
        let mut said = Map::new();
        for name in ["gives", "refused", "fails"] {
            if let Some(pattern) = filled(name) {
                said.insert(name.to_owned(), pattern);
            }
        }
        return Err(format!(
            "wanted {}\n      but saw {:?}",
            short(&Value::Object(said).to_string()),
            short(&format!("{:?}", outcome.result))
        ));
    }
    match (&outcome.logs, wanted.get("logs")) {
        (Some(lines), Some(wanted)) if Value::from(lines.clone()) != *wanted => {
            Err(format!("wanted the log {wanted}\n      but saw {lines:?}"))
        }
        _ => Ok(()),
    }
}

/// A failure's text without what clients and the engine put around it: the npm client's prefix, stack frames.
pub fn meaningful(text: &str) -> String {
    let text = match text
        .strip_prefix("[CONVEX ")
        .and_then(|rest| rest.split_once(")] "))
    {
        Some((_, said)) => match said.strip_prefix("[Request ID: ") {
            Some(rest) => rest
                .split_once("Server Error\n")
                .map_or(said, |(_, said)| said),
            None => said,
        },
        None => text,
    };
    let lines = text.lines().filter(|line| {
        let line = line.trim_start();
        !line.starts_with("at ") && line != "Called by client"
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// What a failure quotes of the arguments: a token may be among them, so our own client cuts it off, and what follows.
const QUOTES: [&str; 2] = ["\nObject: ", "\nValue: "];

pub fn without_quotes(text: &str) -> &str {
    let end = QUOTES.iter().filter_map(|quote| text.find(quote)).min();
    text[..end.unwrap_or(text.len())].trim_end()
}

fn not_quoted(parts: Value) -> Value {
    let quoted = |part: &Value| {
        ["Object: ", "Value: ", "Validator: ", "v."]
            .iter()
            .any(|quote| part.as_str().is_some_and(|part| part.starts_with(quote)))
    };
    match parts {
        Value::Array(parts) => parts.into_iter().filter(|part| !quoted(part)).collect(),
        part if quoted(&part) => Value::Array(Vec::new()),
        part => part,
    }
}

fn contains_all(text: &str, parts: &Value) -> bool {
    match parts {
        Value::Array(parts) => parts.iter().all(|part| contains_all(text, part)),
        part => text.contains(part.as_str().expect("`fails` holds texts")),
    }
}

/// Whether a value is what a pattern says. Numbers are floats, whatever they look like.
pub fn matches(pattern: &Value, value: &Value) -> bool {
    match (pattern, value) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().map(f64::to_bits) == b.as_f64().map(f64::to_bits)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| matches(a, b))
        }
        (Value::Object(fields), value) => {
            if let Some(kind) = fields.get("$any").and_then(Value::as_str) {
                return is_a(kind, value);
            }
            let (Value::Object(wanted), Value::Object(found)) =
                (fields.get("$has").unwrap_or(pattern), value)
            else {
                return false;
            };
            let all = wanted
                .iter()
                .all(|(name, field)| found.get(name).is_some_and(|found| matches(field, found)));
            all && (fields.contains_key("$has") || wanted.len() == found.len())
        }
        (pattern, value) => pattern == value,
    }
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "value" => true,
        "id" | "string" => value.as_str().is_some_and(|text| !text.is_empty()),
        "number" => value.is_number(),
        "time" => value
            .as_f64()
            .is_some_and(|time| (1.6e12..4e12).contains(&time)),
        other => panic!("`$any` cannot be {other}"),
    }
}

/// What our own client makes of a value: plain JSON.
fn projected(pattern: &Value) -> Value {
    use base64::Engine as _;
    let bytes = |text: &Value| {
        let text = text.as_str().expect("base64");
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .expect("base64")
    };
    match pattern {
        Value::Array(items) => items.iter().map(projected).collect(),
        Value::Object(fields) => {
            if let Some(float) = fields.get("$float") {
                // Negative zero is the only one of them that JSON has.
                let negative_zero = bytes(float) == (-0.0f64).to_le_bytes();
                return if negative_zero { 0.into() } else { Value::Null };
            }
            if let Some(integer) = fields.get("$integer") {
                let eight = <[u8; 8]>::try_from(bytes(integer)).expect("8 bytes");
                return i64::from_le_bytes(eight).into();
            }
            if let Some(text) = fields.get("$bytes") {
                return bytes(text).into();
            }
            let fields = fields
                .iter()
                .map(|(name, field)| (name.clone(), projected(field)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}

/// Of a refusal of ours, what our own client keeps of it. Other refusals it does not know.
fn code_and_message(pattern: &Value) -> Option<Value> {
    let fields = pattern.get("$has").unwrap_or(pattern);
    let (code, message) = (fields.get("code")?, fields.get("message")?);
    let are_texts = [code, message].iter().all(|field| !field.is_number());
    are_texts.then(|| serde_json::json!({ "code": code, "message": message }))
}

/// Puts what was saved in the place of `${name}`.
fn fill_in(pattern: &Value, saved: &Saved) -> Value {
    match pattern {
        Value::String(text) => {
            let whole = text
                .strip_prefix("${")
                .and_then(|rest| rest.strip_suffix('}'));
            if let Some(value) = whole.and_then(|name| saved.get(name)) {
                return value.clone();
            }
            let filled = saved.iter().fold(text.clone(), |text, (name, value)| {
                text.replace(&format!("${{{name}}}"), value.as_str().unwrap_or_default())
            });
            Value::String(filled)
        }
        Value::Array(items) => items.iter().map(|item| fill_in(item, saved)).collect(),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, field)| (name.clone(), fill_in(field, saved)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}

/// The same for arguments, in the drivers that are written in Rust.
pub fn filled_args(step: &Value, saved: &Saved) -> Value {
    step.get("args")
        .map_or_else(|| Value::Object(Map::new()), |args| fill_in(args, saved))
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .filter(|name| !name.is_empty())
        .fold(value, |value, name| match value {
            Value::Array(items) => name
                .parse::<usize>()
                .ok()
                .and_then(|at| items.get(at))
                .unwrap_or(&Value::Null),
            value => value.get(name).unwrap_or(&Value::Null),
        })
}

fn short(text: &str) -> String {
    const MOST: usize = 700;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).collect::<String>() + "…"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_compared_exactly_but_for_what_may_be_anything() {
        let pattern = json!({ "id": { "$any": "id" }, "at": { "$any": "time" }, "list": [1, { "$has": { "a": 1 } }] });
        let value = json!({ "id": "x", "at": 1.7e12, "list": [1.0, { "a": 1, "b": 2 }] });
        assert!(matches(&pattern, &value));
        for wrong in [
            json!({ "id": "x", "at": 1.7e12, "list": [1, { "a": 1 }], "more": 1 }),
            json!({ "id": "x", "at": 5, "list": [1, { "a": 1 }] }),
            json!({ "id": "", "at": 1.7e12, "list": [1, { "a": 1 }] }),
            json!({ "id": "x", "at": 1.7e12, "list": [1, { "b": 1 }] }),
            json!({ "id": "x", "at": 1.7e12, "list": [1] }),
        ] {
            assert!(!matches(&pattern, &wrong), "{wrong}");
        }
    }

    #[test]
    fn what_clients_put_around_a_failure_is_taken_off() {
        let text = "[CONVEX Q(m:f)] [Request ID: 1] Server Error\nUncaught Error: no\n    at f (../convex/m.js:1:2)\n\n  Called by client";
        assert_eq!(meaningful(text), "Uncaught Error: no");
        assert_eq!(
            meaningful("Uncaught Error: no\n    at f (../convex/m.js:1:2)"),
            "Uncaught Error: no"
        );
    }
}
