//! What of that which an assistant asks is decided by the file: `permissions` is a word for everything, or an object with a
//! word, or patterns with words, for each of the assistant's permissions.

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::Ranged;
use orchestrator_actors::domain::policy::{Decision, Policy, Rule};

use super::fields::{Reader, join};
use super::time::Millis;

pub const DEFAULT_ANSWER_TIMEOUT_MS: Millis = 30 * 60_000;
/// A deployment lets nothing wait for longer.
pub const ANSWER_TIMEOUT_MS: std::ops::RangeInclusive<Millis> = 1_000..=7 * 24 * 3_600_000;
/// Whoever writes more wants another tool.
const MOST_RULES: usize = 200;
const WORDS: &str = "must be `ask`, `allow` or `deny`";

pub(super) fn read_permissions(
    reader: &mut Reader<'_>,
    path: &str,
    object: &Object<'_>,
) -> Option<Policy> {
    let property = object.get("permissions")?;
    let at = join(path, "permissions");
    let names = match &property.value {
        Value::Object(names) => names,
        word => return decision(reader, &at, word).map(Policy::of),
    };
    let mut rules = Vec::new();
    check_twice(reader, &at, names);
    for name in &names.properties {
        let permission = name.name.as_str();
        let at = join(&at, permission);
        let mut rule = |pattern: &str, decision| {
            rules.push(Rule {
                permission: permission.to_owned(),
                pattern: pattern.to_owned(),
                decision,
            });
        };
        match &name.value {
            Value::Object(patterns) => {
                check_twice(reader, &at, patterns);
                for pattern in &patterns.properties {
                    let text = pattern.name.as_str();
                    if let Some(decision) = decision(reader, &join(&at, text), &pattern.value) {
                        rule(text, decision);
                    }
                }
            }
            word => {
                if let Some(decision) = decision(reader, &at, word) {
                    rule("*", decision);
                }
            }
        }
    }
    if rules.len() > MOST_RULES {
        let message = format!("has {} patterns, {MOST_RULES} are allowed", rules.len());
        reader.problem(&at, names.range, message);
        return None;
    }
    Some(Policy::new(rules))
}

fn check_twice(reader: &mut Reader<'_>, path: &str, object: &Object<'_>) {
    let known: Vec<&str> = object
        .properties
        .iter()
        .map(|property| property.name.as_str())
        .collect();
    reader.check_keys(path, object, &known);
}

fn decision(reader: &mut Reader<'_>, path: &str, value: &Value<'_>) -> Option<Decision> {
    let word = match value {
        Value::StringLit(text) => Decision::parse(text.value.as_ref()),
        _ => None,
    };
    if word.is_none() {
        reader.problem(path, value.range(), WORDS);
    }
    word
}

pub(super) fn read_answer_timeout(
    reader: &mut Reader<'_>,
    path: &str,
    object: &Object<'_>,
) -> Option<Millis> {
    let time = reader.optional_millis(path, object, "answer_timeout")?;
    if ANSWER_TIMEOUT_MS.contains(&time) {
        return Some(time);
    }
    if let Some(property) = object.get("answer_timeout") {
        let range = property.value.range();
        reader.problem(
            &join(path, "answer_timeout"),
            range,
            "must be from 1s to 7 days (604800s)",
        );
    }
    None
}
