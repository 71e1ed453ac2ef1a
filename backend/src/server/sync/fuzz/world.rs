//! An engine of one map, with the speed that a million conversations need. Keys are index keys of `rows.by_key`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::engine::{
    Call, FunctionError, MutationOutcome, QueryOutcome, ReadRange, ReadSet, SessionRequest,
    WriteSet,
};
use crate::server::engine_thread::{Executor, ExecutorFactory};

const INDEX: &str = "rows.by_key";
/// More are forgotten, so that a million conversations do not become slower and slower.
const ROWS: usize = 1000;

pub fn factory() -> ExecutorFactory {
    Arc::new(|| Ok(Box::new(World::default())))
}

#[derive(Default)]
struct World {
    rows: BTreeMap<String, Value>,
    ts: u64,
}

impl Executor for World {
    fn query(&mut self, call: &Call) -> QueryOutcome {
        let key = call.args["key"].to_string();
        let result = match call.path.as_str() {
            "rows:get" => Ok(self.rows.get(&key).cloned().unwrap_or(Value::Null)),
            other => Err(unknown(other)),
        };
        let from = key.into_bytes();
        let to = Some([from.as_slice(), &[0]].concat());
        let index = INDEX.into();
        QueryOutcome {
            result,
            internal: false,
            reads: ReadSet {
                ranges: vec![ReadRange { index, from, to }],
            },
            log_lines: Vec::new(),
        }
    }

    fn mutation(&mut self, call: &Call, _: Option<&SessionRequest>) -> MutationOutcome {
        let mut writes = WriteSet::default();
        let result = match call.path.as_str() {
            "rows:put" => {
                let key = call.args["key"].to_string();
                if self.rows.len() >= ROWS {
                    self.rows.clear();
                }
                self.ts += 1;
                writes.keys.push((INDEX.into(), key.clone().into_bytes()));
                self.rows.insert(key, json!({ "put": self.ts }));
                Ok(call.args.clone())
            }
            other => Err(unknown(other)),
        };
        MutationOutcome {
            storage_failed: false,
            result,
            writes,
            ts: self.ts,
            log_lines: Vec::new(),
        }
    }

    fn latest_ts(&self) -> u64 {
        self.ts
    }

    fn run_due_jobs(&mut self, _: u64) -> Vec<WriteSet> {
        Vec::new()
    }

    fn next_due_ms(&self) -> Option<u64> {
        None
    }

    fn checkpoint(&mut self) -> Result<(), String> {
        Ok(())
    }
}

fn unknown(path: &str) -> FunctionError {
    FunctionError {
        message: format!("Could not find public function for '{path}'"),
        data: None,
    }
}
