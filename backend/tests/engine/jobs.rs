//! Scheduled functions: when they run, that they run once, and what becomes of one that fails.

use orchestrator_backend::engine::{Engine, EngineConfig, Store};
use serde_json::json;

use crate::support::{Calls as _, config};

const MODULE: &str = r#"
export const later = mutation({ handler: (ctx, { ms, a }) => ctx.scheduler.runAfter(ms, anyApi.m.write, { a }) });
export const at = mutation({ handler: (ctx, { time, a }) => ctx.scheduler.runAt(new Date(time), makeFunctionReference("m:write"), { a }) });
export const cancel = mutation({ handler: (ctx, { id }) => ctx.scheduler.cancel(id) });
export const write = internalMutation({ args: { a: v.any() }, handler: async (ctx, { a }) => {
  if (a === "fail") { await ctx.db.insert("any", { a: "half" }); throw new Error("no luck"); }
  await ctx.db.insert("any", { a, now: Date.now(), who: await ctx.auth.getUserIdentity() });
  if (a === "again") await ctx.scheduler.runAfter(0, anyApi.m.write, { a: "second" });
} });
export const all = query({ handler: async (ctx) => (await ctx.db.query("any").collect()).map((row) => row.a) });
export const rows = query({ handler: (ctx) => ctx.db.query("any").collect() });
export const unknown = mutation({ handler: (ctx) => ctx.scheduler.runAfter(0, anyApi.m.missing, {}) });
export const aQuery = mutation({ handler: (ctx) => ctx.scheduler.runAfter(0, anyApi.m.all, {}) });
export const negative = mutation({ handler: (ctx) => ctx.scheduler.runAfter(-5, anyApi.m.write, {}) });
export const inQuery = query({ handler: (ctx) => ctx.scheduler.runAfter(5, anyApi.m.write, {}) });
"#;

const DAY: u64 = 24 * 3600 * 1000;

fn engine() -> Engine {
    crate::support::engine(MODULE)
}

#[test]
fn a_job_runs_once_when_it_is_due() {
    let mut engine = engine();
    assert_eq!(engine.next_due_ms(), None);
    engine.done("m:later", json!({"ms": 60_000, "a": 1}));
    let due = engine.next_due_ms().unwrap();
    assert!(engine.run_due_jobs(due - 1).is_empty());
    assert_eq!(engine.get("m:all", json!({})), json!([]));
    let before = engine.latest_ts();
    let commits = engine.run_due_jobs(due);
    assert_eq!(commits.len(), 1);
    assert!(!commits[0].is_empty() && engine.latest_ts() > before);
    assert!(engine.run_due_jobs(due + DAY).is_empty());
    assert_eq!(engine.next_due_ms(), None);
    let rows = engine.get("m:rows", json!({}));
    assert_eq!(
        (
            rows.as_array().unwrap().len(),
            &rows[0]["now"],
            &rows[0]["who"]
        ),
        (1, &json!(due), &json!(null))
    );
}

#[test]
fn jobs_run_in_the_order_of_their_times() {
    let mut engine = engine();
    let now = engine.latest_ts() / 1_000_000;
    for (days, a) in [(3, "c"), (1, "a"), (2, "b"), (9, "z"), (1, "a2")] {
        engine.done("m:later", json!({"ms": days * DAY, "a": a}));
    }
    let due = engine.next_due_ms().unwrap() + 4 * DAY;
    assert!(due > now);
    assert_eq!(engine.run_due_jobs(due).len(), 4);
    assert_eq!(engine.get("m:all", json!({})), json!(["a", "a2", "b", "c"]));
    assert!(engine.next_due_ms().unwrap() > due);
}

#[test]
fn a_job_may_schedule_the_next() {
    let mut engine = engine();
    engine.done("m:later", json!({"ms": 0, "a": "again"}));
    let due = engine.next_due_ms().unwrap();
    assert_eq!(engine.run_due_jobs(due).len(), 1);
    assert_eq!(engine.next_due_ms(), Some(due));
    assert_eq!(engine.run_due_jobs(due).len(), 1);
    assert_eq!(
        (engine.get("m:all", json!({})), engine.next_due_ms()),
        (json!(["again", "second"]), None)
    );
}

#[test]
fn a_failed_job_is_recorded_and_gone() {
    let mut engine = engine();
    engine.done("m:later", json!({"ms": 0, "a": "fail"}));
    engine.done("m:later", json!({"ms": 0, "a": "fine"}));
    assert_eq!(engine.run_due_jobs(u64::MAX / 2).len(), 1);
    assert_eq!(engine.get("m:all", json!({})), json!(["fine"]));
    assert_eq!(engine.next_due_ms(), None);
    let failures = engine.job_failures(10).unwrap();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].0, "m:write");
    assert!(
        failures[0].1.starts_with("Uncaught Error: no luck"),
        "{}",
        failures[0].1
    );
}

#[test]
fn a_cancelled_job_does_not_run() {
    let mut engine = engine();
    let id = engine.done("m:later", json!({"ms": 10, "a": 1}));
    engine.done("m:cancel", json!({"id": id}));
    assert_eq!(engine.next_due_ms(), None);
    assert!(engine.run_due_jobs(u64::MAX / 2).is_empty());
    engine.done("m:cancel", json!({"id": id}));
    assert!(
        engine
            .mutation_error("m:cancel", json!({"id": "x"}))
            .message
            .contains("not the ID of a scheduled function")
    );
}

#[test]
fn what_cannot_be_scheduled_is_refused() {
    let mut engine = engine();
    assert!(
        engine
            .mutation_error("m:unknown", json!({}))
            .message
            .contains("cannot schedule `m:missing`")
    );
    assert!(
        engine
            .mutation_error("m:aQuery", json!({}))
            .message
            .contains("cannot schedule `m:all`")
    );
    assert!(
        engine
            .mutation_error("m:negative", json!({}))
            .message
            .contains("non-negative number")
    );
    assert!(
        engine
            .query_error("m:inQuery", json!({}))
            .message
            .contains("`ctx.scheduler` is not available in a query")
    );
    assert!(
        engine
            .mutation_error("m:later", json!({"ms": 1e15, "a": 1}))
            .message
            .contains("five years")
    );
    let past = engine.done("m:at", json!({"time": 5, "a": 1}));
    assert!(past.is_string() && engine.next_due_ms().unwrap() > 1_600_000_000_000);
}

#[test]
fn jobs_survive_a_restart_and_a_lost_function() {
    let folder = tempfile::tempdir().unwrap();
    let file = Store::File(folder.path().join("db.sqlite3"));
    let at = |module: &str| EngineConfig {
        store: file.clone(),
        ..config(module)
    };
    let mut engine = Engine::open(at(MODULE)).unwrap();
    engine.done("m:later", json!({"ms": 0, "a": 1}));
    let due = engine.next_due_ms();
    drop(engine);
    let mut engine =
        Engine::open(at(&MODULE.replace("export const write", "const write"))).unwrap();
    assert_eq!(engine.next_due_ms(), due);
    assert!(engine.run_due_jobs(u64::MAX / 2).is_empty());
    assert!(
        engine.job_failures(1).unwrap()[0]
            .1
            .contains("Could not find a mutation 'm:write'")
    );
}
