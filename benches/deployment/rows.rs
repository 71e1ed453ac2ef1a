//! Rows straight through an engine, without a socket: to fill a file, and to see what its size costs.

use orchestrator_backend::engine::{Call, Engine, SessionRequest};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Rows of one stream.
pub const SEQS: u64 = 10;
const STREAMS_AT_ONCE: u64 = 50;

/// Scattered over the index, as ids are.
pub fn stream(number: u64) -> String {
    let digest = Sha256::digest(number.to_be_bytes());
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// From so many rows to so many.
pub fn grow(engine: &mut Engine, from: u64, to: u64) {
    let (mut next, end) = (from / SEQS, to / SEQS);
    while next < end {
        let until = end.min(next + STREAMS_AT_ONCE);
        let streams: Vec<_> = (next..until).map(stream).collect();
        let args = json!({ "streams": streams, "seqs": SEQS as f64, "text": "x".repeat(200) });
        mutate(engine, "rows:fill", args, None);
        next = until;
    }
}

pub fn mutate(engine: &mut Engine, path: &str, args: Value, request: Option<u32>) {
    let record = request.map(|request_id| SessionRequest {
        session_id: "bench".to_owned(),
        request_id,
    });
    let outcome = engine.mutation(&call(path, args), record.as_ref());
    outcome
        .result
        .unwrap_or_else(|error| panic!("{}", error.message));
}

pub fn ask(engine: &mut Engine, path: &str, args: Value) -> Value {
    let outcome = engine.query(&call(path, args));
    outcome
        .result
        .unwrap_or_else(|error| panic!("{}", error.message))
}

fn call(path: &str, args: Value) -> Call {
    Call {
        path: path.to_owned(),
        args,
        identity: None,
    }
}
