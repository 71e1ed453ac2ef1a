//! The engine: one thread, one SQLite writer, one QuickJS runtime. Functions run to completion, so every call is
//! a serial transaction at one timestamp.
//!
//! [`Engine`] is not `Send`: open it on the thread that keeps it and talk to that thread by messages.

pub mod api;
pub mod config;
pub mod error;

use std::marker::PhantomData;
use std::rc::Rc;

pub use api::{
    Call, FunctionError, Identity, MutationOutcome, QueryOutcome, ReadRange, ReadSet, SessionRequest, WriteSet,
};
pub use config::{EngineConfig, Functions, Limits, Store};
pub use error::{OpenError, StorageError};

/// An open deployment. Holds its file exclusively until it is dropped.
pub struct Engine {
    _one_thread: PhantomData<Rc<()>>,
}

impl Engine {
    /// Loads the functions, opens the store and brings it to the schema.
    pub fn open(_config: EngineConfig) -> Result<Engine, OpenError> {
        Err(OpenError::Runtime("not built yet".into()))
    }

    /// Runs a public query at the latest timestamp.
    pub fn query(&mut self, _call: &Call) -> QueryOutcome {
        QueryOutcome { result: Err(not_built()), reads: ReadSet::default(), log_lines: Vec::new() }
    }

    /// Runs a public mutation in one transaction; with `record`, a replay is answered from the record.
    pub fn mutation(&mut self, _call: &Call, _record: Option<&SessionRequest>) -> MutationOutcome {
        MutationOutcome { result: Err(not_built()), writes: WriteSet::default(), ts: 0, log_lines: Vec::new() }
    }

    /// The timestamp of the last commit: nanoseconds, monotonic, also over restarts.
    pub fn latest_ts(&self) -> u64 {
        0
    }

    /// Runs the scheduled functions that are due, each in a transaction of its own.
    pub fn run_due_jobs(&mut self, _now_ms: u64) -> Vec<WriteSet> {
        Vec::new()
    }

    /// When the next scheduled function is due (ms since the epoch).
    pub fn next_due_ms(&self) -> Option<u64> {
        None
    }

    /// Moves the write-ahead log into the file; for the end of the process.
    pub fn checkpoint(&mut self) -> Result<(), StorageError> {
        Ok(())
    }
}

fn not_built() -> FunctionError {
    FunctionError { message: "Uncaught Error: the engine is not built yet".into(), data: None }
}
