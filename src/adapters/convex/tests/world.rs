//! What the scripted deployment knows: a counter, turns with their items, session records. Its functions mean
//! what those of `convex/` mean, as far as a client can tell.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub enum Failure {
    Plain(String),
    Convex(String, String),
}

pub type Outcome = Result<Value, Failure>;

#[derive(Clone, Debug, Default)]
pub struct Turn {
    pub items: Vec<Value>,
    pub closed: Option<Value>,
    /// Finishes that ran, the first and the later ones.
    pub finishes: usize,
}

impl Turn {
    pub fn text(&self) -> String {
        let content = |item: &Value| item["content"].as_str().unwrap_or_default().to_owned();
        self.items.iter().map(content).collect()
    }
}

#[derive(Default)]
pub struct World {
    pub counter: u64,
    pub ts: u64,
    pub epoch: u64,
    pub turns: BTreeMap<String, Turn>,
    /// By session and request: what was answered then.
    pub records: HashMap<(String, u32), (Outcome, u64)>,
    /// Functions that really ran.
    pub ran: Vec<String>,
    /// Session and connection count of every `Connect`.
    pub connects: Vec<(String, u32)>,
    /// Tokens that are an owner's.
    pub tokens: Vec<String>,
    pub subscribed: usize,
    /// Finishes fail as functions of another version do.
    pub refuses_finishes: bool,
    /// Bytes of content that calls of any kind have brought.
    pub brought: usize,
    /// Turns in the order in which they were closed.
    pub closed: Vec<String>,
    pub largest_append: usize,
    /// The most turns in one append.
    pub widest_append: usize,
    /// Appends that were sent before the one before them was answered.
    pub overlapping: usize,
}

impl World {
    pub fn query(&self, path: &str) -> Outcome {
        match path {
            "test:counter" => Ok(json!(self.counter)),
            "test:constant" => Ok(json!({"always": "the same"})),
            "test:forbidden" => Err(refusal("forbidden", "not yours")),
            _ => Err(Failure::Plain(format!("no query {path}"))),
        }
    }

    pub fn mutate(&mut self, path: &str, args: &Value) -> Outcome {
        self.ran.push(path.to_owned());
        match path {
            "test:bump" => {
                self.counter += 1;
                Ok(json!(self.counter))
            }
            "test:echo" => Ok(args.clone()),
            "test:refuse" => Err(refusal("queue_full", "too many")),
            "test:crash" => Err(Failure::Plain("Server Error".to_owned())),
            "chunks:append" => self.append(args),
            "messages:finish" => self.finish(args),
            _ => Err(Failure::Plain(format!("no mutation {path}"))),
        }
    }

    fn append(&mut self, args: &Value) -> Outcome {
        let batches = args["batches"].as_array().cloned().unwrap_or_default();
        self.widest_append = self.widest_append.max(batches.len());
        refuse_bad(batches.iter().flat_map(|batch| list(&batch["items"])))?;
        let items = batches.iter().flat_map(|batch| list(&batch["items"]));
        let bytes = content_bytes(&items.collect::<Vec<_>>());
        self.brought += bytes;
        self.largest_append = self.largest_append.max(bytes);
        if bytes > 256 * 1024 {
            return Err(refusal("too_large", "more than 256 KiB"));
        }
        let results: Vec<Value> = batches.iter().map(|batch| self.append_one(batch)).collect();
        Ok(json!({ "results": results }))
    }

    fn append_one(&mut self, batch: &Value) -> Value {
        let displaced = batch["epoch"].as_u64() != Some(self.epoch);
        let turn = self.turns.entry(string(&batch["turn"])).or_default();
        let status = if displaced {
            "displaced"
        } else if turn.closed.is_some() {
            "closed"
        } else {
            store(turn, list(&batch["items"]))
        };
        json!({"turn": batch["turn"], "status": status, "nextIndex": turn.items.len()})
    }

    fn finish(&mut self, args: &Value) -> Outcome {
        if args["epoch"].as_u64() != Some(self.epoch) {
            return Err(refusal(
                "displaced",
                "another supervisor serves this worker",
            ));
        }
        self.brought += content_bytes(&list(&args["items"]));
        if self.refuses_finishes {
            return Err(Failure::Plain("ArgumentValidationError".to_owned()));
        }
        refuse_bad(list(&args["items"]))?;
        let turn = self.turns.entry(string(&args["turnId"])).or_default();
        turn.finishes += 1;
        if turn.closed.is_some() {
            return Ok(json!({"status": "already", "state": "complete"}));
        }
        if store(turn, list(&args["items"])) == "invalid" {
            return Err(refusal("invalid", "a gap"));
        }
        turn.closed = Some(args.clone());
        self.closed.push(string(&args["turnId"]));
        Ok(json!({"status": "closed"}))
    }
}

fn store(turn: &mut Turn, items: Vec<Value>) -> &'static str {
    for item in items {
        let next = turn.items.len() as u64;
        let index = item["index"].as_u64().unwrap_or(u64::MAX);
        if index > next {
            return "invalid";
        }
        if index == next {
            turn.items.push(item);
        } else {
            assert_eq!(turn.items[index as usize], item, "a stored item changed");
        }
    }
    "ok"
}

/// As a validator would: the whole call fails.
fn refuse_bad(items: impl IntoIterator<Item = Value>) -> Result<(), Failure> {
    let bad = |item: Value| {
        item["content"]
            .as_str()
            .is_some_and(|text| text.contains('☠'))
    };
    if items.into_iter().any(bad) {
        return Err(Failure::Plain("ArgumentValidationError".to_owned()));
    }
    Ok(())
}

fn refusal(code: &str, message: &str) -> Failure {
    Failure::Convex(code.to_owned(), message.to_owned())
}

fn content_bytes(items: &[Value]) -> usize {
    let contents = items.iter().map(|item| &item["content"]);
    contents
        .map(|content| content.as_str().map_or(0, str::len))
        .sum()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
