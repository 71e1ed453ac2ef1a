//! One call from outside: found, checked, run inside a transaction, checked again, committed. Whatever fails on the
//! way rolls everything back; only the outcome tells of it.

use std::rc::Rc;

use super::api::{
    Call, FunctionError, Identity, MutationOutcome, QueryOutcome, ReadSet, SessionRequest, WriteSet,
};
use super::error::StorageError;
use super::js::{FunctionInfo, Scripts, internal, uncaught};
use super::store::{Job, Store};
use super::transaction::{Kind, Transaction};
use super::value::Value;
use super::{Engine, now_ns};

/// For clients: it names no path.
const DAMAGED: &str = "storage: the deployment's database is damaged, so nothing is written any more: stop it, move the \
     file away and put a copy in its place";

/// A checked call, ready to run.
pub(super) struct Ready<'a> {
    pub path: &'a str,
    pub function: Rc<FunctionInfo>,
    pub args: Value,
    pub identity: Option<Identity>,
    pub now_ms: u64,
}

/// What belongs into a mutation's transaction besides its writes.
pub(super) enum Together<'a> {
    Nothing,
    Record(&'a SessionRequest),
    /// The job that this is: gone with the commit.
    Job(&'a Job),
}

pub(super) struct Done {
    pub result: Result<Value, FunctionError>,
    pub reads: ReadSet,
    pub writes: WriteSet,
    pub ts: u64,
    pub log_lines: Vec<String>,
    /// Not the function but the disk failed: nothing was kept, and the same call may succeed another time.
    pub storage_failed: bool,
    /// The function had no part in its failure: the disk, or a runtime that does not load. But not a damaged file.
    pub internal: bool,
}

impl Engine {
    pub(super) fn run_query(&mut self, call: &Call) -> QueryOutcome {
        let done = match self.ready(call, Kind::Query) {
            Ok(ready) => self.execute(ready, &Together::Nothing),
            Err(error) => self.refused(error),
        };
        QueryOutcome {
            internal: done.internal && done.result.is_err(),
            result: done.result.map(|value| value.to_json()),
            reads: done.reads,
            log_lines: done.log_lines,
        }
    }

    pub(super) fn run_mutation(
        &mut self,
        call: &Call,
        record: Option<&SessionRequest>,
    ) -> MutationOutcome {
        if let Some(answered) = record.and_then(|request| self.replay(request)) {
            return answered;
        }
        let done = match self.ready(call, Kind::Mutation) {
            Ok(ready) => self.execute(ready, &record.map_or(Together::Nothing, Together::Record)),
            Err(error) => self.refused(error),
        };
        let result = done.result.map(|value| value.to_json());
        MutationOutcome {
            result,
            writes: done.writes,
            ts: done.ts,
            log_lines: done.log_lines,
            storage_failed: done.storage_failed,
        }
    }

    /// The recorded answer to a request that has been answered before.
    fn replay(&mut self, request: &SessionRequest) -> Option<MutationOutcome> {
        let outcome = |result, ts| MutationOutcome {
            result,
            writes: WriteSet::default(),
            ts,
            log_lines: Vec::new(),
            storage_failed: false,
        };
        let found = self.with_store(|store| store.record(request));
        let latest = self.latest_ts();
        match found {
            Ok(None) => None,
            Ok(Some((text, ts))) => Some(match Value::parse(&text) {
                Ok(value) => outcome(Ok(value.to_json()), ts),
                Err(error) => outcome(Err(internal(&error)), latest),
            }),
            // Running it without knowing whether it has run would break the promise.
            Err(error) => {
                self.trouble.failed(&error.to_string());
                Some(MutationOutcome {
                    storage_failed: true,
                    ..outcome(Err(internal(&error)), latest)
                })
            }
        }
    }

    fn ready<'a>(&self, call: &'a Call, kind: Kind) -> Result<Ready<'a>, FunctionError> {
        let path = call.path.as_str();
        let function = self.host.function(path).filter(|function| function.public).ok_or_else(|| {
            let message = format!(
                "Could not find public function for '{path}'. Did you forget to run `npx convex dev` or `npx convex \
                 deploy`?"
            );
            FunctionError { message, data: None }
        })?;
        if function.kind != kind {
            let (asked, is) = (kind.title(), function.kind.title());
            let message =
                format!("Trying to execute {path} as {asked}, but it is defined as {is}.");
            return Err(FunctionError {
                message,
                data: None,
            });
        }
        let args = Value::from_json(&call.args)
            .map_err(|problem| format!("ArgumentValidationError: {problem}"))
            .and_then(|args| self.check_args(&function, &args).map(|()| args))
            .map_err(|message| FunctionError {
                message,
                data: None,
            })?;
        let now_ms = now_ns() / 1_000_000;
        Ok(Ready {
            path,
            function,
            args,
            identity: call.identity.clone(),
            now_ms,
        })
    }

    pub(super) fn check_args(&self, function: &FunctionInfo, args: &Value) -> Result<(), String> {
        let schema = Rc::clone(&self.host.state().schema);
        function.check_args(args, &schema, &self.limits)
    }

    /// Runs a checked call. A panic in here leaves an open transaction and no runtime: the next call rolls the one
    /// back and loads the other.
    pub(super) fn execute(&mut self, ready: Ready<'_>, together: &Together<'_>) -> Done {
        let kind = ready.function.kind;
        if kind == Kind::Mutation && self.trouble.is_damaged() {
            return Done {
                storage_failed: true,
                ..self.refused(internal(&DAMAGED))
            };
        }
        let (scripts, begun) = match self
            .take_scripts()
            .map(|scripts| (scripts, self.begin(kind, together)))
        {
            Ok(started) => started,
            Err(error) => return self.failed_here(error),
        };
        match begun {
            Ok(true) => {}
            Ok(false) => return self.give_back(scripts, uncaught("the job is not there any more")),
            Err(error) => {
                self.storage_failed(&error);
                let done = self.give_back(scripts, internal(&error));
                return Done {
                    storage_failed: true,
                    internal: !error.is_damage(),
                    ..done
                };
            }
        }
        let args = ready.args.to_text();
        let call = Transaction::new(kind, ready.now_ms, ready.identity, self.limits);
        self.host.state().call = Some(call);
        let ended = scripts.run(&self.host, ready.path, &args);
        let call = self.host.state().call.take();
        if !ended.spoiled && scripts.sweep(&self.host) {
            self.scripts = Some(scripts);
        }
        let Some(call) = call else {
            return self.failed_here(internal(&"the call is lost"));
        };
        let result = self.accept(&ready.function, ended.result, &call);
        let mut storage_failed = call.storage_failed;
        if let (true, Some(reason)) = (storage_failed, &call.fatal) {
            if call.damaged {
                // What to do about it comes with the trouble itself.
                self.trouble
                    .damaged(reason.split(';').next().unwrap_or(reason));
            } else {
                self.trouble.failed(reason);
            }
        }
        let internal_failure = ended.internal || (call.storage_failed && !call.damaged);
        let jobs_changed = call.jobs_changed || matches!(together, Together::Job(_));
        let (read_set, writes, log_lines) = call.finish();
        let (result, writes, ts) = match (kind, result) {
            (Kind::Query, result) => (result, WriteSet::default(), self.latest_ts()),
            (Kind::Mutation, Ok(value)) => {
                let idle =
                    writes.is_empty() && !jobs_changed && matches!(together, Together::Nothing);
                match self.with_store(|store| commit(store, idle, together, &value)) {
                    Ok(ts) => {
                        if !idle {
                            self.trouble.worked();
                        }
                        if jobs_changed {
                            self.refresh_due();
                        }
                        if matches!(together, Together::Record(_)) {
                            self.recorded(ts / 1_000_000);
                        }
                        (Ok(value), writes, ts)
                    }
                    Err(error) => {
                        storage_failed = true;
                        self.storage_failed(&error);
                        (Err(internal(&error)), WriteSet::default(), self.latest_ts())
                    }
                }
            }
            (Kind::Mutation, Err(error)) => {
                let error = match self.with_store(|store| store.rollback()) {
                    Ok(()) => error,
                    Err(failed) => internal(&failed),
                };
                (Err(error), WriteSet::default(), self.latest_ts())
            }
        };
        Done {
            result,
            reads: read_set,
            writes,
            ts,
            log_lines,
            storage_failed,
            internal: internal_failure,
        }
    }

    fn storage_failed(&mut self, error: &StorageError) {
        if error.is_damage() {
            self.trouble.damaged(&error.0.to_string());
        } else {
            self.trouble.failed(&error.to_string());
        }
    }

    /// The function's own end, unless something decided otherwise that it cannot catch.
    fn accept(
        &self,
        function: &FunctionInfo,
        result: Result<String, FunctionError>,
        call: &Transaction,
    ) -> Result<Value, FunctionError> {
        if let Some(fatal) = &call.fatal {
            return Err(uncaught(fatal));
        }
        let text = result?;
        if call.has_open_parts() {
            return Err(uncaught(
                "the function ended before a `ctx.runMutation` that it had started: await it",
            ));
        }
        let plain = |message: String| FunctionError {
            message,
            data: None,
        };
        let value = Value::parse(&text)
            .map_err(|problem| plain(format!("ReturnsValidationError: {problem}")))?;
        let schema = Rc::clone(&self.host.state().schema);
        function
            .check_result(&value, &schema, &self.limits)
            .map_err(plain)?;
        Ok(value)
    }

    /// `false`: the job to run has been cancelled meanwhile.
    fn begin(&self, kind: Kind, together: &Together<'_>) -> Result<bool, StorageError> {
        self.with_store(|store| {
            if kind == Kind::Query {
                return store.rollback().map(|()| true);
            }
            store.begin()?;
            match together {
                Together::Job(job) if !store.remove_job(&job.id)? => {
                    store.rollback().map(|()| false)
                }
                _ => Ok(true),
            }
        })
    }

    fn take_scripts(&mut self) -> Result<Scripts, FunctionError> {
        if let Some(scripts) = self.scripts.take() {
            return Ok(scripts);
        }
        // What an unfinished call has left must not be visible to modules while they load.
        self.host.state().call = None;
        match Scripts::load(&self.functions, &self.host, &self.limits) {
            Ok((scripts, _)) => Ok(scripts),
            Err(error) => Err(internal(&error)),
        }
    }

    fn give_back(&mut self, scripts: Scripts, error: FunctionError) -> Done {
        self.scripts = Some(scripts);
        self.refused(error)
    }

    fn refused(&self, error: FunctionError) -> Done {
        Done {
            result: Err(error),
            reads: ReadSet::default(),
            writes: WriteSet::default(),
            ts: self.latest_ts(),
            log_lines: Vec::new(),
            storage_failed: false,
            internal: false,
        }
    }

    fn failed_here(&self, error: FunctionError) -> Done {
        Done {
            internal: true,
            ..self.refused(error)
        }
    }

    pub(super) fn with_store<R>(
        &self,
        operation: impl FnOnce(&mut Store) -> Result<R, StorageError>,
    ) -> Result<R, StorageError> {
        match &mut self.host.state().store {
            Some(store) => operation(store),
            None => Err(StorageError(rusqlite::Error::InvalidQuery)),
        }
    }
}

/// Ends a mutation's transaction; a mutation that did nothing has no timestamp of its own.
fn commit(
    store: &mut Store,
    idle: bool,
    together: &Together<'_>,
    value: &Value,
) -> Result<u64, StorageError> {
    if idle {
        store.rollback()?;
        return Ok(store.latest_ts());
    }
    let ts = store.next_ts(now_ns());
    if let Together::Record(request) = together
        && let Err(error) = store.add_record(request, ts, &value.to_text())
    {
        store.rollback()?;
        return Err(error);
    }
    store.commit(ts)?;
    Ok(ts)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use serde_json::json;

    use super::super::{EngineConfig, Functions, Limits, Store as Place};
    use super::*;

    const SCHEMA: &str = "import { defineSchema, defineTable } from 'convex/server'; import { v } from 'convex/values';
        export default defineSchema({ rows: defineTable(v.any()) });";
    const MODULE: &str = "import { mutationGeneric, queryGeneric } from 'convex/server';
        export const add = mutationGeneric({ handler: (ctx) => ctx.db.insert('rows', {}) });
        export const fill = mutationGeneric({ handler: async (ctx) => {
            for (let i = 0; i < 50; i++) try { await ctx.db.insert('rows', { text: 'x'.repeat(9000) }); } catch {} } });
        export const later = mutationGeneric({ handler: (ctx) => ctx.scheduler.runAfter(0, 'm:fill', {}) });
        export const count = queryGeneric({ handler: async (ctx) => (await ctx.db.query('rows').collect()).length });";

    fn open() -> Engine {
        let config = EngineConfig {
            store: Place::Memory,
            functions: Functions::new([("schema", SCHEMA), ("m", MODULE)]),
            limits: Limits::default(),
        };
        Engine::open(config).unwrap()
    }

    #[test]
    fn a_full_disk_fails_the_call_and_not_the_engine() {
        let mut engine = open();
        let call = call("m:fill");
        engine.with_store(|store| store.limit_pages(1)).unwrap();
        let outcome = engine.mutation(&call, None);
        let error = outcome.result.unwrap_err().message;
        assert!(error.contains("disk is full"), "{error}");
        assert!(outcome.writes.is_empty());
        engine
            .with_store(|store| store.limit_pages(1_000_000))
            .unwrap();
        engine.mutation(&call, None).result.unwrap();
    }

    fn call(path: &str) -> Call {
        Call {
            path: path.into(),
            args: json!({}),
            identity: None,
        }
    }

    #[test]
    fn a_query_that_the_store_failed_is_no_answer() {
        let mut engine = open();
        let store = engine.host.state().store.take();
        let outcome = engine.query(&call("m:count"));
        assert!(outcome.result.is_err() && outcome.internal);
        engine.host.state().store = store;
        let outcome = engine.query(&call("m:count"));
        assert!(outcome.result.is_ok() && !outcome.internal);
        // What the caller or the function did wrong is one.
        let outcome = engine.query(&call("m:add"));
        assert!(outcome.result.is_err() && !outcome.internal);
    }

    #[test]
    fn a_scheduled_function_that_finds_a_full_disk_waits_and_runs_once() {
        let mut engine = open();
        engine.mutation(&call("m:later"), None).result.unwrap();
        let due = engine.next_due_ms().unwrap();
        engine.with_store(|store| store.limit_pages(1)).unwrap();
        assert!(engine.run_due_jobs(due).is_empty());
        // Not a failure of the function's: nobody would ever run it again.
        assert_eq!(engine.job_failures(9).unwrap(), []);
        let again = engine.next_due_ms().unwrap();
        assert!(again > due);
        assert_eq!(engine.query(&call("m:count")).result.unwrap(), json!(0));
        engine
            .with_store(|store| store.limit_pages(1_000_000))
            .unwrap();
        assert_eq!(engine.run_due_jobs(again).len(), 1);
        assert_eq!(engine.query(&call("m:count")).result.unwrap(), json!(50));
        assert_eq!(engine.next_due_ms(), None);
    }

    #[test]
    fn a_scheduled_function_that_the_engine_itself_could_not_run_is_not_dropped() {
        let mut engine = open();
        engine.mutation(&call("m:later"), None).result.unwrap();
        let due = engine.next_due_ms().unwrap();
        // The next runtime does not come up.
        let broken = Functions::new([("schema", SCHEMA), ("m", "export const = ;")]);
        let functions = std::mem::replace(&mut engine.functions, broken);
        engine.scripts = None;
        assert!(engine.run_due_jobs(due).is_empty());
        assert_eq!(engine.job_failures(9).unwrap(), []);
        let again = engine.next_due_ms().unwrap();
        assert!(again > due);
        engine.functions = functions;
        assert_eq!(engine.run_due_jobs(again).len(), 1);
        assert_eq!(engine.query(&call("m:count")).result.unwrap(), json!(50));
        assert_eq!(engine.next_due_ms(), None);
    }

    #[test]
    fn a_panic_in_the_middle_of_a_mutation_leaves_nothing_behind() {
        let mut engine = open();
        engine.mutation(&call("m:add"), None).result.unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let scripts = engine.take_scripts().unwrap();
            engine.begin(Kind::Mutation, &Together::Nothing).unwrap();
            engine.host.state().call =
                Some(Transaction::new(Kind::Mutation, 1, None, engine.limits));
            assert!(scripts.run(&engine.host, "m:add", "{}").result.is_ok());
            let _held = engine.host.state();
            std::panic::resume_unwind(Box::new("in the middle"));
        }));
        assert!(panicked.is_err());
        assert_eq!(engine.query(&call("m:count")).result.unwrap(), json!(1));
        engine.mutation(&call("m:add"), None).result.unwrap();
        assert_eq!(engine.query(&call("m:count")).result.unwrap(), json!(2));
    }
}
