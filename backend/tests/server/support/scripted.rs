//! An engine whose functions are written in Rust over one map, kept outside of it, so that it survives a panic as the
//! file of the real one does.
//!
//! Keys live in one index, `rows.by_key`. Functions: `rows:get {key}`, `rows:scan {from, to}`, `rows:put {key, text}`,
//! `rows:add {key}` (a counter), `rows:putLater {key, text, ms}`, `who:am`, `fail:plain`, `fail:convex`, `make:text {bytes}`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use orchestrator_backend::engine::{
    Call, FunctionError, MutationOutcome, OpenError, QueryOutcome, ReadRange, ReadSet,
    SessionRequest, WriteSet,
};
use orchestrator_backend::server::{Executor, ExecutorFactory};
use serde_json::{Value, json};

const INDEX: &str = "rows.by_key";

#[derive(Default)]
struct State {
    rows: BTreeMap<String, Value>,
    records: HashMap<SessionRequest, (Value, u64)>,
    jobs: Vec<(u64, String, Value)>,
    ts: u64,
    /// Calls that reached a function, replays not counted.
    executed: usize,
    queried: usize,
    held: bool,
    broken: bool,
    trouble: Option<String>,
    troubled: bool,
}

#[derive(Clone, Default)]
pub struct World {
    state: Arc<Mutex<State>>,
    released: Arc<Condvar>,
}

impl World {
    pub fn factory(&self) -> ExecutorFactory {
        let world = self.clone();
        Arc::new(move || {
            if world.lock().broken {
                return Err(OpenError::Runtime("the file is damaged".to_owned()));
            }
            Ok(Box::new(Scripted(world.clone())))
        })
    }

    pub fn executed(&self) -> usize {
        self.lock().executed
    }

    pub fn queried(&self) -> usize {
        self.lock().queried
    }

    /// Whether the engine can be opened.
    pub fn set_broken(&self, broken: bool) {
        self.lock().broken = broken;
    }

    /// What its disk is said to do.
    pub fn set_trouble(&self, trouble: Option<&str>) {
        self.lock().trouble = trouble.map(str::to_owned);
    }

    /// Queries fail for no fault of anybody's.
    pub fn set_troubled(&self, troubled: bool) {
        self.lock().troubled = troubled;
    }

    /// Mutations wait until they are let go.
    pub fn hold(&self, held: bool) {
        self.lock().held = held;
        self.released.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

struct Scripted(World);

impl Executor for Scripted {
    fn query(&mut self, call: &Call) -> QueryOutcome {
        let mut state = self.0.lock();
        state.queried += 1;
        if state.troubled {
            return QueryOutcome {
                result: Err(failure("fail:plain")),
                internal: true,
                reads: ReadSet::default(),
                log_lines: Vec::new(),
            };
        }
        let text = |name: &str| call.args[name].as_str().unwrap_or_default().to_owned();
        let (result, from, to) = match call.path.as_str() {
            "rows:get" => {
                let key = text("key");
                let value = state.rows.get(&key).cloned().unwrap_or(Value::Null);
                (Ok(value), key.clone(), Some(format!("{key}\0")))
            }
            "rows:scan" => {
                let (from, to) = (text("from"), text("to"));
                let rows = state.rows.range(from.clone()..to.clone());
                (Ok(rows.map(|row| row.1.clone()).collect()), from, Some(to))
            }
            "who:am" => {
                let caller = call.identity.as_ref();
                let name = caller.map_or(Value::Null, |caller| caller.0["tokenIdentifier"].clone());
                (Ok(name), String::new(), Some(String::new()))
            }
            "make:text" => {
                let bytes = call.args["bytes"].as_u64().unwrap_or(0) as usize;
                let value = state.rows.get("make").cloned().unwrap_or(Value::Null);
                let text = json!(["x".repeat(bytes), value]);
                (Ok(text), "make".to_owned(), Some("make\0".to_owned()))
            }
            other => (Err(failure(other)), String::new(), Some(String::new())),
        };
        QueryOutcome {
            internal: false,
            result,
            reads: ReadSet {
                ranges: vec![ReadRange {
                    index: INDEX.into(),
                    from: from.into(),
                    to: to.map(Into::into),
                }],
            },
            log_lines: vec![format!("[LOG] 'ran {}'", call.path)],
        }
    }

    fn mutation(&mut self, call: &Call, record: Option<&SessionRequest>) -> MutationOutcome {
        let mut state = self.0.lock();
        while state.held {
            state = self.0.released.wait(state).unwrap();
        }
        if let Some((value, ts)) = record.and_then(|record| state.records.get(record)) {
            return outcome(Ok(value.clone()), WriteSet::default(), *ts);
        }
        state.executed += 1;
        let key = call.args["key"].as_str().unwrap_or_default().to_owned();
        let mut writes = WriteSet::default();
        let value = match call.path.as_str() {
            "rows:put" => call.args["text"].clone(),
            "rows:add" => json!(state.rows.get(&key).and_then(Value::as_f64).unwrap_or(0.0) + 1.0),
            "rows:putLater" => {
                let due = now_ms() + call.args["ms"].as_u64().unwrap_or(0);
                state.jobs.push((due, key, call.args["text"].clone()));
                return outcome(Ok(Value::Null), writes, state.ts);
            }
            "make:text" => {
                let text = "x".repeat(call.args["bytes"].as_u64().unwrap_or(0) as usize);
                return outcome(Ok(json!(text)), writes, state.ts);
            }
            other => return outcome(Err(failure(other)), writes, state.ts),
        };
        write(&mut state, &mut writes, key, value.clone());
        let ts = state.ts;
        if let Some(record) = record {
            state.records.insert(record.clone(), (value.clone(), ts));
        }
        outcome(Ok(value), writes, ts)
    }

    fn latest_ts(&self) -> u64 {
        self.0.lock().ts
    }

    fn run_due_jobs(&mut self, now_ms: u64) -> Vec<WriteSet> {
        let mut state = self.0.lock();
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut state.jobs)
            .into_iter()
            .partition(|job| job.0 <= now_ms);
        state.jobs = later;
        due.into_iter()
            .map(|(_, key, value)| {
                let mut writes = WriteSet::default();
                write(&mut state, &mut writes, key, value);
                writes
            })
            .collect()
    }

    fn next_due_ms(&self) -> Option<u64> {
        self.0.lock().jobs.iter().map(|job| job.0).min()
    }

    fn checkpoint(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn trouble(&self) -> Option<String> {
        self.0.lock().trouble.clone()
    }
}

fn write(state: &mut State, writes: &mut WriteSet, key: String, value: Value) {
    state.ts += 1000;
    writes.keys.push((INDEX.into(), key.clone().into_bytes()));
    state.rows.insert(key, value);
}

fn outcome(result: Result<Value, FunctionError>, writes: WriteSet, ts: u64) -> MutationOutcome {
    MutationOutcome {
        storage_failed: false,
        result,
        writes,
        ts,
        log_lines: Vec::new(),
    }
}

fn failure(path: &str) -> FunctionError {
    let data = (path == "fail:convex").then(|| json!({"code": "held", "message": "taken"}));
    let message = match path {
        "fail:plain" => "Uncaught Error: no luck".to_owned(),
        "fail:convex" => "Uncaught ConvexError: taken".to_owned(),
        "rows:put" | "rows:add" | "rows:putLater" => {
            format!("Trying to execute {path} as Query, but it is defined as Mutation.")
        }
        other => format!("Could not find public function for '{other}'"),
    };
    FunctionError { message, data }
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}
