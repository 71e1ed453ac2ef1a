//! The product's own functions in the engine that serves them: a turn's whole life, its scheduled jobs included, and
//! the promises of its read sets. What each function does is tested beside `convex/`; here it is whether the engine
//! runs them as Convex does.

use std::collections::BTreeMap;

use orchestrator_backend::engine::{Engine, EngineConfig, Functions, Limits, ReadSet, Store};
use orchestrator_backend::functions::product;
use serde_json::{Value, json};

use crate::support::{Calls as _, as_user, call};

const CHUNKS: u64 = 1000;
const MINUTE: u64 = 60 * 1000;
const HOUR: u64 = 60 * MINUTE;

/// A deployment with the owner `ann`, and the supervisor of her only worker.
struct Product {
    engine: Engine,
    token: String,
    epoch: Value,
}

fn open(store: &Store) -> Engine {
    open_with(store, Functions::new(product()))
}

fn open_with(store: &Store, functions: Functions) -> Engine {
    Engine::open(EngineConfig {
        store: store.clone(),
        functions,
        limits: Limits::default(),
    })
    .unwrap()
}

impl Product {
    /// Registered, created, approved and connected.
    fn start(store: &Store) -> Self {
        Self::start_with(store, Functions::new(product()))
    }

    fn start_with(store: &Store, functions: Functions) -> Self {
        let mut product = Self {
            engine: open_with(store, functions),
            token: String::new(),
            epoch: Value::Null,
        };
        let machine = json!({"machineId": "laptop", "name": "laptop", "hostname": "laptop", "os": "linux", "tools": ["opencode"]});
        product.tell("machines:register", machine);
        let worker = json!({"workerId": "shop", "machineId": "laptop", "name": "shop", "directory": "/srv/shop"});
        let created = product.tell("workers:create", worker);
        created["token"]
            .as_str()
            .unwrap()
            .clone_into(&mut product.token);
        assert_eq!(product.connect()["status"], "pending");
        product.tell("workers:approve", json!({"workerId": "shop"}));
        let connected = product.connect();
        assert_eq!(connected["status"], "approved");
        product.epoch = connected["epoch"].clone();
        product
    }

    fn connect(&mut self) -> Value {
        let connect = json!({
            "token": self.token, "installId": "install1", "startId": "start1", "bootId": "boot1", "storeId": "store1",
            "takeOver": false, "machine": {"hostname": "laptop", "os": "linux", "tools": []},
        });
        self.engine.done("workers:connect", connect)
    }

    /// A mutation of the owner.
    fn tell(&mut self, path: &str, args: Value) -> Value {
        let outcome = self.engine.mutation(&as_user(path, args, "ann"), None);
        outcome
            .result
            .unwrap_or_else(|error| panic!("{path}: {}", error.message))
    }

    /// A query of the owner.
    fn ask(&mut self, path: &str, args: Value) -> (Value, ReadSet) {
        let outcome = self.engine.query(&as_user(path, args, "ann"));
        let value = outcome
            .result
            .unwrap_or_else(|error| panic!("{path}: {}", error.message));
        (value, outcome.reads)
    }

    /// The arguments with the supervisor's credential.
    fn serving(&self, mut args: Value) -> Value {
        args["token"] = json!(self.token);
        args["epoch"] = self.epoch.clone();
        args
    }

    fn send(&mut self, id: &str, to: &Value) -> (String, String) {
        let mut args = to.clone();
        args["id"] = json!(id);
        args["content"] = json!(format!("text of {id}"));
        let sent = self.tell("messages:send", args);
        let text = |key: &str| sent[key].as_str().unwrap().to_owned();
        (text("sessionId"), text("turnId"))
    }

    fn claim(&mut self, turn: &str) -> Value {
        let args = self.serving(json!({"turnId": turn}));
        self.engine.done("messages:claim", args)
    }

    fn append(&mut self, turn: &str, item: Value) -> Value {
        let batch = self.serving(json!({"turn": turn, "items": [item]}));
        let mut answer = self
            .engine
            .done("chunks:append", json!({"batches": [batch]}));
        answer["results"][0].take()
    }

    fn finish(&mut self, turn: &str, items: Value) -> Value {
        let args = self.serving(json!({"turnId": turn, "outcome": "complete", "items": items}));
        self.engine.done("messages:finish", args)
    }

    fn row(&mut self, session: &str, turn: &str) -> Value {
        let (list, _) = self.ask("messages:list", json!({"sessionId": session}));
        let messages = list["messages"].as_array().unwrap();
        let row = messages.iter().find(|message| message["id"] == turn);
        row.unwrap().clone()
    }

    /// Runs every job that is due until `after` from now.
    fn pass(&mut self, after: u64) {
        let until = self.engine.latest_ts() / 1_000_000 + after;
        while let Some(due) = self.engine.next_due_ms().filter(|due| *due <= until) {
            self.engine.run_due_jobs(due);
        }
        assert_eq!(self.engine.job_failures(10).unwrap(), []);
    }
}

/// The stream of a long answer: reasoning, then text, with a tool's states in between.
fn item(index: u64) -> Value {
    let (part, kind, content) = match index {
        0..100 => ("think", "reasoning", format!("{index} ")),
        500 => ("call", "tool", r#"{"status":"running"}"#.to_owned()),
        501 => ("call", "tool", r#"{"status":"completed"}"#.to_owned()),
        _ => ("answer", "text", format!("{index} ")),
    };
    json!({"index": index, "timestamp": 1_000 + index, "partId": part, "kind": kind, "content": content})
}

/// The fold of that stream, by part.
fn folded() -> BTreeMap<&'static str, String> {
    let numbers = |from: u64, to: u64| (from..to).map(|index| format!("{index} "));
    BTreeMap::from([
        ("think", numbers(0, 100).collect()),
        ("call", r#"{"status":"completed"}"#.to_owned()),
        (
            "answer",
            numbers(100, 500).chain(numbers(502, CHUNKS)).collect(),
        ),
    ])
}

#[test]
fn a_long_turn_is_streamed_over_a_restart_folded_by_jobs_and_its_chunks_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::File(folder.path().join("local.sqlite3"));
    let mut product = Product::start(&store);
    let (session, turn) = product.send("m1", &json!({"workerId": "shop"}));
    let claimed = product.claim(&turn);
    assert_eq!(
        (&claimed["status"], &claimed["content"], &claimed["first"]),
        (&json!("claimed"), &json!("text of m1"), &json!(true))
    );
    for index in 0..CHUNKS / 2 {
        assert_eq!(product.append(&turn, item(index))["status"], "ok");
    }

    let Product {
        engine,
        token,
        epoch,
    } = product;
    drop(engine);
    let engine = open(&store);
    let mut product = Product {
        engine,
        token,
        epoch,
    };
    let again = product.claim(&turn);
    assert_eq!(
        (&again["first"], &again["nextIndex"]),
        (&json!(false), &json!(500))
    );
    for index in CHUNKS / 2 - 1..CHUNKS - 1 {
        let appended = product.append(&turn, item(index));
        assert_eq!(
            (&appended["status"], appended["nextIndex"].as_f64()),
            (&json!("ok"), Some((index + 1) as f64))
        );
    }
    assert_eq!(
        product.finish(&turn, json!([item(CHUNKS - 1)]))["status"],
        "closed"
    );
    assert_eq!(product.finish(&turn, json!([]))["status"], "already");
    assert_eq!(product.append(&turn, item(CHUNKS))["status"], "closed");

    let open = product.row(&session, &turn);
    assert_eq!(
        (&open["state"], &open["folded"]),
        (&json!("complete"), &json!(false))
    );
    product.pass(0);
    let row = product.row(&session, &turn);
    assert_eq!(row["folded"], true, "{row}");
    let parts = row["parts"].as_array().unwrap();
    let order: Vec<&Value> = parts.iter().map(|part| &part["partId"]).collect();
    assert_eq!(order, ["think", "answer", "call"]);
    for part in parts {
        let whole = &folded()[part["partId"].as_str().unwrap()];
        assert_eq!(part["text"], json!(whole), "{}", part["partId"]);
    }

    let page = json!({"turnId": turn, "from": 0});
    let (chunks, _) = product.ask("chunks:page", page.clone());
    assert_eq!(chunks["items"].as_array().unwrap().len(), 32);
    product.pass(2 * MINUTE);
    let (chunks, _) = product.ask("chunks:page", page);
    assert_eq!(
        (&chunks["items"], &chunks["folded"]),
        (&json!([]), &json!(true))
    );
    // What was to look after the turn finds it closed.
    product.pass(25 * HOUR);
    assert_eq!(product.engine.next_due_ms(), None);
    assert_eq!(product.row(&session, &turn)["state"], "complete");
}

#[test]
fn a_small_turn_is_folded_by_its_finish() {
    let mut product = Product::start(&Store::Memory);
    let (session, turn) = product.send("m1", &json!({"workerId": "shop"}));
    product.claim(&turn);
    product.finish(
        &turn,
        json!([{"index": 0, "timestamp": 1, "partId": "p", "kind": "text", "content": "hi"}]),
    );
    let row = product.row(&session, &turn);
    assert_eq!(
        (&row["folded"], &row["parts"]),
        (
            &json!(true),
            &json!([{"partId": "p", "kind": "text", "text": "hi"}])
        )
    );
    product.pass(25 * HOUR);
    assert_eq!(product.row(&session, &turn)["parts"], row["parts"]);
}

#[test]
fn turns_that_nobody_serves_are_closed_by_the_clock() {
    let mut product = Product::start(&Store::Memory);
    let (session, claimed) = product.send("m1", &json!({"workerId": "shop"}));
    let (_, queued) = product.send("m2", &json!({"sessionId": session}));
    product.claim(&claimed);
    product.pass(HOUR - MINUTE);
    assert_eq!(product.row(&session, &claimed)["state"], "claimed");
    product.pass(HOUR + 2 * MINUTE);
    let row = product.row(&session, &claimed);
    assert_eq!(
        (&row["state"], &row["error"]["code"]),
        (&json!("interrupted"), &json!("abandoned"))
    );
    assert_eq!(product.row(&session, &queued)["state"], "queued");
    product.pass(25 * HOUR);
    let row = product.row(&session, &queued);
    assert_eq!(
        (&row["state"], &row["error"]["code"]),
        (&json!("failed"), &json!("expired"))
    );
    // The answer from the store that claimed the turn replaces what the clock has said.
    product.finish(&claimed, json!([item(0)]));
    assert_eq!(product.row(&session, &claimed)["state"], "complete");
}

#[test]
fn the_limits_of_waiting_turns_can_be_set() {
    let limits = [
        ("QUEUED_LIMIT_MS", "60000"),
        ("ABANDONED_LIMIT_MS", "300000"),
    ];
    let environment = limits.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let functions = Functions::new(product()).with_environment(environment.to_vec());
    let mut product = Product::start_with(&Store::Memory, functions);
    let (session, claimed) = product.send("m1", &json!({"workerId": "shop"}));
    let (_, queued) = product.send("m2", &json!({"sessionId": session}));
    product.claim(&claimed);
    product.pass(2 * MINUTE);
    let row = product.row(&session, &queued);
    assert_eq!(row["error"]["code"], "expired", "{row}");
    let message = row["error"]["message"].as_str().unwrap();
    assert!(message.contains("within 1 minute:"), "{message}");
    assert_eq!(product.row(&session, &claimed)["state"], "claimed");
    product.pass(7 * MINUTE);
    let row = product.row(&session, &claimed);
    assert_eq!(row["error"]["code"], "abandoned", "{row}");
}

#[test]
fn streaming_and_beats_wake_nobody_but_the_last_windows_readers() {
    let mut product = Product::start(&Store::Memory);
    let (session, turn) = product.send("m1", &json!({"workerId": "shop"}));
    product.claim(&turn);
    for index in 0..40 {
        product.append(&turn, item(index));
    }
    let inbox = product.serving(json!({}));
    let inbox = product.engine.query(&call("work:inbox", inbox)).reads;
    let (_, list) = product.ask("messages:list", json!({"sessionId": session}));
    let (_, full) = product.ask("chunks:page", json!({"turnId": turn, "from": 0}));
    let (_, tail) = product.ask("chunks:page", json!({"turnId": turn, "from": 32}));

    let batch = product.serving(json!({"turn": turn, "items": [item(40)]}));
    let appended = product
        .engine
        .tell("chunks:append", json!({"batches": [batch]}));
    assert_eq!(appended.result.unwrap()["results"][0]["status"], "ok");
    let beat = product.serving(json!({}));
    let beat = product.engine.tell("presence:beat", beat);
    beat.result.unwrap();
    for (name, reads) in [("inbox", &inbox), ("list", &list), ("full window", &full)] {
        assert!(
            !reads.hit_by(&appended.writes) && !reads.hit_by(&beat.writes),
            "{name}"
        );
    }
    assert!(tail.hit_by(&appended.writes) && !tail.hit_by(&beat.writes));

    let args = product
        .serving(json!({"turnId": turn, "outcome": "aborted", "items": Vec::<Value>::new()}));
    let finished = product.engine.tell("messages:finish", args);
    finished.result.unwrap();
    assert!(inbox.hit_by(&finished.writes) && list.hit_by(&finished.writes));
}
