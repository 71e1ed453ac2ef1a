//! What is too much ends one call, with a clear error, and nothing else.

use std::time::Duration;

use orchestrator_backend::engine::{Engine, Limits};
use serde_json::{Value, json};

use crate::support::{Calls as _, config};

const MODULE: &str = r#"
export const fine = mutation({ handler: (ctx) => ctx.db.insert("any", {}) });
export const count = query({ handler: async (ctx) => (await ctx.db.query("any").collect()).length });
export const spin = mutation({ handler: async (ctx) => { await ctx.db.insert("any", {}); for (;;); } });
export const spinAndCatch = query({ handler: async () => { for (;;) { try { for (;;); } catch {} } } });
export const spinAsync = query({ handler: async () => { for (;;) await null; } });
export const regex = query({ handler: async () => /^(a+)+$/.test("a".repeat(40) + "b") });
export const hog = query({ handler: async () => { const all = []; for (;;) all.push(new Array(10000).fill(1.5)); } });
export const hogAndCatch = query({ handler: async () => { const all = []; try { for (;;) all.push(new Array(10000).fill(1.5)); } catch { return all.length; } } });
export const recurse = query({ handler: async () => { const f = (n) => 1 + f(n + 1); return f(0); } });
export const echo = query({ handler: async (ctx, { value }) => value });
export const repeat = query({ handler: async (ctx, { count }) => "x".repeat(count) });
export const put = mutation({ handler: (ctx, { value }) => ctx.db.insert("any", { value }) });
export const putText = mutation({ handler: (ctx, { count }) => ctx.db.insert("any", { value: "x".repeat(count) }) });
export const many = mutation({ handler: async (ctx, { count }) => {
  for (let i = 0; i < count; i++) { try { await ctx.db.insert("any", {}); } catch {} }
} });
export const chatty = query({ handler: async () => { for (let i = 0; i < 1000; i++) console.log(i, "x".repeat(5000)); return 1; } });
export const schedule = mutation({ handler: async (ctx, { count }) => {
  for (let i = 0; i < count; i++) await ctx.scheduler.runAfter(1e6, anyApi.m.fine, {});
} });
export const lone = query({ handler: async () => "\ud800" });
"#;

fn engine() -> Engine {
    let mut config = config(MODULE);
    config.limits = Limits {
        user_time: Duration::from_millis(100),
        heap_bytes: 32 << 20,
        value_bytes: 1 << 20,
        document_bytes: 100_000,
        array_elements: 100,
        read_documents: 50,
        write_documents: 40,
        scheduled: 10,
        ..Limits::default()
    };
    Engine::open(config).unwrap()
}

/// After every trouble the next call is served.
fn assert_serves(engine: &mut Engine) {
    engine.done("m:fine", json!({}));
}

#[test]
fn endless_code_is_broken_off() {
    let mut engine = engine();
    for path in ["m:spinAndCatch", "m:spinAsync", "m:regex"] {
        let error = engine.query_error(path, json!({})).message;
        assert!(
            error.contains("timed out (maximum duration: 100ms)"),
            "{path}: {error}"
        );
        assert_serves(&mut engine);
    }
    let outcome = engine.tell("m:spin", json!({}));
    assert!(outcome.result.unwrap_err().message.contains("timed out"));
    assert!(outcome.writes.is_empty());
    assert_eq!(
        engine.get("m:count", json!({})),
        json!(3),
        "the write of the spinning function is gone"
    );
}

#[test]
fn memory_and_stack_are_bounded() {
    let mut engine = engine();
    let error = engine.query_error("m:hog", json!({})).message;
    assert!(error.contains("ran out of memory"), "{error}");
    assert_serves(&mut engine);
    assert!(engine.get("m:hogAndCatch", json!({})).as_f64().unwrap() > 10.0);
    assert_serves(&mut engine);
    let error = engine.query_error("m:recurse", json!({})).message;
    assert!(error.contains("stack"), "{error}");
    assert_serves(&mut engine);
}

/// How much was left when an allocation failed decides what QuickJS can still throw.
#[test]
fn memory_that_ran_out_to_the_last_bytes_was_an_uncaught_null() {
    let mut config = config(MODULE);
    for more in (0..64).map(|step| step * 4099) {
        config.limits = Limits {
            heap_bytes: (8 << 20) + more,
            ..Limits::default()
        };
        let mut engine = Engine::open(config.clone()).unwrap();
        let error = engine.query_error("m:hog", json!({})).message;
        assert!(error.contains("ran out of memory"), "{more}: {error}");
        assert_serves(&mut engine);
    }
}

#[test]
fn values_are_bounded() {
    let mut engine = engine();
    let mut fails = |path: &str, args: Value, says: &str| {
        let mutation = path.starts_with("m:put");
        let error = if mutation {
            engine.mutation_error(path, args)
        } else {
            engine.query_error(path, args)
        };
        assert!(error.message.contains(says), "{path}: {}", error.message);
    };
    fails(
        "m:echo",
        json!({"value": "x".repeat(2 << 20)}),
        "Arguments are too large",
    );
    fails(
        "m:repeat",
        json!({"count": 2 << 20}),
        "Return value is too large",
    );
    fails(
        "m:echo",
        json!({"value": vec![0; 101]}),
        "Array length is too long (101 > maximum length 100)",
    );
    fails(
        "m:putText",
        json!({"count": 100_001}),
        "Value is too large (1000",
    );
    fails(
        "m:put",
        json!({"value": vec![0; 99].into_iter().map(|_| json!([])).fold(json!(0), |all, _| json!([all]))}),
        "nested too deeply",
    );
    fails("m:lone", json!({}), "not valid Unicode");
    let deep = (0..17).fold(json!(0), |inner, _| json!([inner]));
    fails("m:put", json!({"value": deep}), "nested too deeply");
    assert_eq!(engine.get("m:count", json!({})), json!(0));
}

#[test]
fn transactions_are_bounded_and_the_limit_cannot_be_caught() {
    let mut engine = engine();
    engine.done("m:many", json!({"count": 40}));
    let error = engine
        .mutation_error("m:many", json!({"count": 41}))
        .message;
    assert!(
        error.contains("Too many documents written in a single function execution (limit: 40)"),
        "{error}"
    );
    assert_eq!(engine.get("m:count", json!({})), json!(40));
    engine.done("m:many", json!({"count": 11}));
    let error = engine.query_error("m:count", json!({})).message;
    assert!(
        error.contains("Too many documents read in a single function execution (limit: 50)"),
        "{error}"
    );
    engine.done("m:schedule", json!({"count": 10}));
    let error = engine
        .mutation_error("m:schedule", json!({"count": 11}))
        .message;
    assert!(error.contains("Too many functions scheduled"), "{error}");
}

#[test]
fn logs_are_bounded() {
    let mut config = config(MODULE);
    config.limits.user_time = Duration::from_secs(20);
    let mut engine = Engine::open(config).unwrap();
    let outcome = engine.ask("m:chatty", json!({}));
    outcome.result.unwrap();
    assert_eq!(outcome.log_lines.len(), 257);
    assert!(outcome.log_lines.iter().all(|line| line.len() < 4200));
    assert!(outcome.log_lines[256].contains("are dropped"));
}
