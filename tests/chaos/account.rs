//! The judge: what the deployment holds, what the model was asked, what was sent. Everything is read from the outside,
//! with the owner's rights, as any client could.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orchestrator_test_support::text_of;
use serde_json::{Value, json};

use crate::load::{Load, Sent, end_of, is_closed};
use crate::prompts::name_in;
use crate::stage::Stage;

/// The width of a window of `chunks:page`.
const WINDOW: usize = 32;

/// Chunks are dropped a minute after their turn was folded; this much is certain.
const KEPT: Duration = Duration::from_secs(50);

/// A closed, folded turn: its chunks have no gap, fold to its parts, and its text is what it may be.
pub fn look_at_content(stage: &Stage, sent: &Sent, row: &Value) {
    let parts = if row["partsOmitted"] == true {
        read_parts(stage, &sent.turn)
    } else {
        row["parts"].as_array().cloned().unwrap_or_default()
    };
    let text = text_of(&json!({ "parts": parts }));
    let state = row["state"].as_str().unwrap_or_default();
    let wrong = |kind, what: String| stage.verdict.wrong(kind, format!("{}: {what}", sent.name));
    if state == "complete" && text != sent.prompt.text {
        wrong("text", difference("complete", &text, &sent.prompt.text));
    }
    if state != "complete" && !sent.prompt.text.starts_with(&text) {
        wrong("text", difference(state, &text, &sent.prompt.text));
    }
    if state != "complete" && row["error"]["code"].as_str().is_none_or(str::is_empty) {
        wrong("lost", format!("closed as {state} without a reason"));
    }
    let items = match read_chunks(stage, &sent.turn) {
        Chunks::Read(items) => items,
        // Looked at after the reading: a deployment that was stopped meanwhile may have dropped them.
        Chunks::None => {
            if !parts.is_empty() && are_kept(row) {
                wrong("chunks", "it has parts, and its chunks are gone".to_owned());
            }
            return;
        }
        Chunks::Failed(why) => return wrong("chunks", format!("they cannot be read: {why}")),
    };
    let indexes: Vec<u64> = items
        .iter()
        .filter_map(|item| item["index"].as_f64())
        .map(|index| index as u64)
        .collect();
    if !indexes.iter().copied().eq(0..indexes.len() as u64) {
        wrong("chunks", format!("its indexes are {indexes:?}"));
    }
    let folded = fold(&items);
    let stored = merged(&parts);
    if folded != stored {
        wrong(
            "chunks",
            format!("folding gives\n{folded:?}\nand stored is\n{stored:?}"),
        );
    }
}

fn difference(state: &str, got: &str, expected: &str) -> String {
    let same = got
        .bytes()
        .zip(expected.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let tail = |text: &str| text.chars().skip(same).take(120).collect::<String>();
    format!(
        "{state}; the text is {} bytes, expected are {}; the first {same} are the same, then\n   got {:?}\n   not {:?}",
        got.len(),
        expected.len(),
        tail(got),
        tail(expected)
    )
}

fn read_parts(stage: &Stage, turn: &str) -> Vec<Value> {
    let (mut parts, mut from) = (Vec::new(), json!(0.0));
    while !from.is_null() {
        let args = json!({ "turnId": turn, "from": from });
        let Ok(page) = stage
            .owner
            .ask(&stage.server, "query", "messages:parts", &args)
        else {
            break;
        };
        parts.extend(page["parts"].as_array().cloned().unwrap_or_default());
        from = page["next"].clone();
    }
    parts
}

/// What was read of a turn's chunks.
enum Chunks {
    Read(Vec<Value>),
    /// There are none: none ever were, or they were dropped, which happens a minute after the fold.
    None,
    /// The deployment refused a page.
    Failed(String),
}

fn read_chunks(stage: &Stage, turn: &str) -> Chunks {
    let mut all = Vec::new();
    for from in (0..).step_by(WINDOW) {
        let args = json!({ "turnId": turn, "from": f64::from(from) });
        let page = stage
            .owner
            .ask(&stage.server, "query", "chunks:page", &args);
        let items = match page {
            Ok(page) => page["items"].as_array().cloned(),
            Err(refusal) => return Chunks::Failed(format!("from {from}: {refusal}")),
        };
        let Some(items) = items else {
            return Chunks::Failed(format!("from {from}: a page without items"));
        };
        all.extend(items.iter().cloned());
        if items.len() < WINDOW {
            break;
        }
    }
    if all.is_empty() {
        Chunks::None
    } else {
        Chunks::Read(all)
    }
}

/// Whether the chunks of a turn that was closed then cannot have been dropped yet.
fn are_kept(row: &Value) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs_f64() * 1e3;
    let closed = row["finishedAt"].as_f64().unwrap_or_default();
    now < closed + KEPT.as_secs_f64() * 1e3
}

type Folded = Vec<(String, String)>;

/// Part ids with their texts, empty ones left out, in the order in which they were first seen.
fn fold(items: &[Value]) -> Folded {
    let mut parts: Folded = Vec::new();
    for item in items {
        let id = item["partId"].as_str().unwrap_or_default();
        let content = item["content"].as_str().unwrap_or_default();
        let at = parts.iter().position(|(known, _)| known == id);
        let at = at.unwrap_or_else(|| {
            parts.push((id.to_owned(), String::new()));
            parts.len() - 1
        });
        let text = &mut parts[at].1;
        match item["kind"].as_str().unwrap_or_default() {
            "reset" => text.clear(),
            "tool" => content.clone_into(text),
            _ => text.push_str(content),
        }
    }
    parts.retain(|(_, text)| !text.is_empty());
    parts
}

/// Rows of one part are one part.
fn merged(rows: &[Value]) -> Folded {
    let mut parts: Folded = Vec::new();
    for row in rows {
        let id = row["partId"].as_str().unwrap_or_default();
        let text = row["text"].as_str().unwrap_or_default();
        match parts.last_mut().filter(|(known, _)| known == id) {
            Some((_, whole)) => whole.push_str(text),
            None => parts.push((id.to_owned(), text.to_owned())),
        }
    }
    parts
}

/// What became of the messages, by outcome and reason.
#[derive(Default)]
pub struct Outcomes {
    pub accepted: usize,
    pub by_state: BTreeMap<String, usize>,
    pub by_reason: BTreeMap<(String, String), usize>,
}

/// After the last turn: every accepted message is there and closed for good, in order, and was asked for once.
pub fn settle(stage: &Stage, load: &Load) -> Outcomes {
    let sent = load.sent.lock().unwrap().clone();
    let mut outcomes = Outcomes {
        accepted: sent.len(),
        ..Outcomes::default()
    };
    let mut sessions: BTreeMap<&str, Vec<&Sent>> = BTreeMap::new();
    for one in &sent {
        sessions.entry(&one.session).or_default().push(one);
    }
    for (session, sent) in &sessions {
        let rows = read_session(stage, session);
        check_session(stage, session, sent, &rows, &mut outcomes);
    }
    check_model(stage, &sessions);
    outcomes
}

fn check_session(
    stage: &Stage,
    session: &str,
    sent: &[&Sent],
    rows: &[Value],
    outcomes: &mut Outcomes,
) {
    let turns: Vec<&Value> = rows
        .iter()
        .filter(|row| row["role"] == "assistant")
        .collect();
    if turns.len() != sent.len() {
        let what = format!(
            "{session} has {} turns for {} messages",
            turns.len(),
            sent.len()
        );
        stage.verdict.wrong("duplicated", what);
    }
    for one in sent {
        let row = turns.iter().find(|row| row["id"] == one.turn.as_str());
        let Some(row) = row.filter(|row| is_closed(row)) else {
            let what = format!("{} was accepted and is {row:?}", one.name);
            stage.verdict.wrong("lost", what);
            continue;
        };
        let end = end_of(row);
        let provisional = one.end.as_ref().is_some_and(|first| first.provisional);
        if provisional {
            // It was not looked at while it could still be replaced.
            if row["folded"] == true {
                look_at_content(stage, one, row);
            } else {
                let what = format!("{} is closed, but was never folded", one.name);
                stage.verdict.wrong("chunks", what);
            }
        }
        if let Some(first) = &one.end
            && first.state != end.state
            // What its owner stopped stays stopped.
            && (!provisional || first.state == "aborted")
        {
            let what = format!("{} was {} and became {}", one.name, first.state, end.state);
            stage.verdict.wrong("text", what);
        }
        *outcomes.by_state.entry(end.state.clone()).or_default() += 1;
        if !end.code.is_empty() {
            *outcomes.by_reason.entry((end.state, end.code)).or_default() += 1;
        }
    }
    let replaced = |row: &Value| {
        let mut sent = sent.iter();
        sent.any(|one| row["id"] == one.turn && one.end.as_ref().is_some_and(|end| end.provisional))
    };
    let turns: Vec<&Value> = turns.into_iter().filter(|row| !replaced(row)).collect();
    check_order(stage, session, &turns);
}

/// A turn that was begun is closed before the next one. What was withdrawn from the queue is closed at once, out of order.
fn check_order(stage: &Stage, session: &str, turns: &[&Value]) {
    let begun = turns.iter().filter(|row| row["state"] != "aborted");
    let times: Vec<f64> = begun.filter_map(|row| row["finishedAt"].as_f64()).collect();
    if !times.is_sorted() {
        let what = format!("the turns of {session} ended at {times:?}");
        stage.verdict.wrong("order", what);
    }
}

fn read_session(stage: &Stage, session: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let mut args = json!({ "sessionId": session, "limit": 100 });
        if let Some(first) = all.first() {
            args["beforeSeq"] = first["seq"].clone();
        }
        let list = stage
            .owner
            .ask(&stage.server, "query", "messages:list", &args);
        let page = list.unwrap_or_default()["messages"].take();
        let mut page = page.as_array().cloned().unwrap_or_default();
        if page.is_empty() {
            return all;
        }
        page.append(&mut all);
        all = page;
    }
}

/// The model's own count: no prompt began twice beyond its scripted retries, none out of its session's order.
fn check_model(stage: &Stage, sessions: &BTreeMap<&str, Vec<&Sent>>) {
    let stats = stage.model.stats();
    let prompts = stats["prompts"].as_array().cloned().unwrap_or_default();
    let mut asked: BTreeMap<String, (usize, u64, u64)> = BTreeMap::new();
    for (place, prompt) in prompts.iter().enumerate() {
        let count = |key: &str| prompt[key].as_u64().unwrap_or_default();
        let Some(name) = name_in(prompt["text"].as_str().unwrap_or_default()) else {
            continue;
        };
        let entry = asked.entry(name.to_owned()).or_insert((place, 0, 0));
        entry.1 += count("starts");
        entry.2 += count("requests");
    }
    for sent in sessions.values() {
        let mut last = 0;
        for one in sent {
            let state = one.end.as_ref().map_or("open", |end| end.state.as_str());
            let Some((place, starts, requests)) = asked.get(&one.name).copied() else {
                if state == "complete" {
                    let what = format!("{} is complete, and the model was never asked", one.name);
                    stage.verdict.wrong("lost", what);
                }
                continue;
            };
            if starts > 1 + one.prompt.retries || requests > one.prompt.steps + one.prompt.retries {
                let what = format!(
                    "the model was asked to begin {} {starts} times, {requests} requests in all ({state}; {} steps, {} retries)",
                    one.name, one.prompt.steps, one.prompt.retries
                );
                stage.verdict.wrong("duplicated", what);
            }
            if place < last {
                let what = format!("{} was begun before an earlier message", one.name);
                stage.verdict.wrong("order", what);
            }
            last = place;
        }
    }
}
