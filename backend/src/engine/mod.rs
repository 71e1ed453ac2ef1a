//! The engine: one thread, one SQLite writer, one QuickJS runtime. Functions run to completion, so every call is
//! a serial transaction at one timestamp.
//!
//! [`Engine`] is not `Send`: open it on the thread that keeps it and talk to that thread by messages. It opens no
//! socket, starts no thread and reads no file but its own database.
//!
//! | file | what |
//! |---|---|
//! | `api`, `reads` | what a call takes and gives; which commits touch which reads |
//! | `calls`, `scheduler` | queries and mutations; scheduled functions |
//! | `js/` | QuickJS, the functions' modules, the host operations |
//! | `database`, `range`, `transaction` | `ctx.db` and `ctx.scheduler`; one call's reads, writes, limits |
//! | `schema`, `validator/` | tables, indexes, validators |
//! | `store/` | the SQLite file |
//! | `value`, `json`, `key`, `id` | values, their encodings, ids |

pub mod api;
mod calls;
pub mod config;
mod database;
pub mod error;
#[cfg(test)]
mod fuzz;
mod id;
mod js;
mod json;
mod key;
mod range;
mod reads;
mod scheduler;
mod schema;
mod store;
mod transaction;
mod trouble;
mod validator;
mod value;

use std::rc::Rc;

pub use api::{
    Call, FunctionError, Identity, MutationOutcome, QueryOutcome, ReadRange, ReadSet,
    SessionRequest, WriteSet,
};
pub use config::{EngineConfig, Functions, Limits, Store};
pub use error::{OpenError, StorageError};

use crate::clock::now_ns;
use js::{Host, Scripts};
use trouble::Trouble;

/// An open deployment. Holds its file exclusively until it is dropped.
pub struct Engine {
    /// `None` after a call that spoiled the runtime: it is loaded again with the next one.
    scripts: Option<Scripts>,
    host: Rc<Host>,
    functions: Functions,
    limits: Limits,
    next_due_ms: Option<u64>,
    trouble: Trouble,
    /// When session records are looked at for old ones.
    next_prune_ms: Option<u64>,
}

impl Engine {
    /// Loads the functions, opens the store and brings it to the schema. Nothing is changed when it fails.
    pub fn open(config: EngineConfig) -> Result<Engine, OpenError> {
        let EngineConfig {
            store: place,
            functions,
            limits,
        } = config;
        let host = Host::new(limits);
        let (scripts, loaded) = Scripts::load(&functions, &host, &limits)?;
        let (store, schema) = store::Store::open(&place, &loaded.declared)?;
        let at = |error: StorageError| store::explain(place.path(), error.0);
        let next_due_ms = store.next_due_ms().map_err(at)?;
        let next_prune_ms = store
            .oldest_record_ms()
            .map_err(at)?
            .map(scheduler::prune_at);
        let mut trouble = Trouble::of(place.path());
        if let Some(damage) = store.damage(&place) {
            trouble.damaged(&damage);
        }
        {
            let mut state = host.state();
            state.store = Some(store);
            state.schema = Rc::new(schema);
            state.functions = loaded.functions;
        }
        Ok(Engine {
            scripts: Some(scripts),
            host,
            functions,
            limits,
            next_due_ms,
            next_prune_ms,
            trouble,
        })
    }

    /// Runs a public query at the latest timestamp.
    pub fn query(&mut self, call: &Call) -> QueryOutcome {
        self.run_query(call)
    }

    /// Runs a public mutation in one transaction; with `record`, a replay is answered from the record.
    pub fn mutation(&mut self, call: &Call, record: Option<&SessionRequest>) -> MutationOutcome {
        self.run_mutation(call, record)
    }

    /// The timestamp of the last commit: nanoseconds, monotonic, also over restarts.
    pub fn latest_ts(&self) -> u64 {
        self.host
            .state()
            .store
            .as_ref()
            .map_or(0, store::Store::latest_ts)
    }

    /// Runs the scheduled functions that are due, each in a transaction of its own, and forgets session records that are
    /// too old. A few at a time: while [`Self::next_due_ms`] is not later than now, there are more.
    pub fn run_due_jobs(&mut self, now_ms: u64) -> Vec<WriteSet> {
        self.prune_records(now_ms);
        self.run_jobs(now_ms)
    }

    /// When [`Self::run_due_jobs`] has something to do next (ms since the epoch).
    pub fn next_due_ms(&self) -> Option<u64> {
        [self.next_due_ms, self.next_prune_ms]
            .into_iter()
            .flatten()
            .min()
    }

    /// Why nothing can be stored now, for whoever runs the deployment.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.text()
    }

    /// The latest scheduled functions that failed, the newest first: their paths and errors.
    pub fn job_failures(&self, limit: usize) -> Result<Vec<(String, String)>, StorageError> {
        self.host
            .state()
            .store
            .as_ref()
            .map_or(Ok(Vec::new()), |store| store.job_failures(limit))
    }

    /// Moves the write-ahead log into the file; for the end of the process.
    pub fn checkpoint(&mut self) -> Result<(), StorageError> {
        self.host
            .state()
            .store
            .as_ref()
            .map_or(Ok(()), store::Store::checkpoint)
    }
}
