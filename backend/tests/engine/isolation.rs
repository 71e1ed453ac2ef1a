//! Nothing of a failed call is left: not its writes, not its jobs, not its promises.

use serde_json::json;

use crate::support::{Calls as _, call, engine, request};

const MODULE: &str = r#"
export const count = query({ handler: async (ctx) => (await ctx.db.query("any").collect()).length });
export const addAndFail = mutation({ handler: async (ctx) => {
  await ctx.db.insert("any", { a: 1 });
  await ctx.scheduler.runAfter(0, makeFunctionReference("m:add"), {});
  throw new Error("after the write");
} });
export const addAndReturnBadly = mutation({ returns: v.null(), handler: async (ctx) => { await ctx.db.insert("any", {}); return 5; } });
export const add = mutation({ handler: (ctx, args) => ctx.db.insert("any", args) });
export const later = mutation({ handler: async (ctx) => {
  (async () => { for (let i = 0; i < 50; i++) await null; await ctx.db.insert("any", { a: "late" }); })();
  return null;
} });
export const leaves = mutation({ handler: async () => { (async () => { for (;;) await null; })(); return 1; } });
export const inner = internalMutation({ args: { fail: v.boolean() }, returns: v.string(), handler: async (ctx, { fail }) => {
  await ctx.db.insert("any", { a: "inner" });
  if (fail) throw new ConvexError("inner failed");
  return "inner done";
} });
export const outer = mutation({ handler: async (ctx, { fail }) => {
  await ctx.db.insert("any", { a: "outer" });
  try { return await ctx.runMutation(anyApi.m.inner, { fail }); }
  catch (error) { return [error.data, await ctx.runQuery(makeFunctionReference("m:count"), {})]; }
} });
export const nestedBadly = mutation({ handler: (ctx) => ctx.runMutation(anyApi.m.inner, {}) });
export const nestedTogether = mutation({ handler: (ctx) => Promise.all([false, false].map((fail) => ctx.runMutation(anyApi.m.inner, { fail }))) });
export const unawaited = mutation({ handler: async (ctx) => { ctx.runMutation(anyApi.m.inner, { fail: false }); await null; return 1; } });
"#;

#[test]
fn a_failed_mutation_leaves_nothing() {
    let mut engine = engine(MODULE);
    let before = engine.latest_ts();
    let outcome = engine.tell("m:addAndFail", json!({}));
    assert!(
        outcome
            .result
            .unwrap_err()
            .message
            .starts_with("Uncaught Error: after the write")
    );
    assert!(outcome.writes.is_empty());
    assert!(
        engine
            .mutation_error("m:addAndReturnBadly", json!({}))
            .message
            .starts_with("ReturnsValidationError")
    );
    assert_eq!(engine.get("m:count", json!({})), json!(0));
    assert_eq!((engine.next_due_ms(), engine.latest_ts()), (None, before));
}

#[test]
fn what_a_function_leaves_running_touches_nothing() {
    let mut engine = engine(MODULE);
    engine.done("m:later", json!({}));
    assert_eq!(engine.done("m:leaves", json!({})), json!(1));
    engine.done("m:add", json!({"a": 1}));
    assert_eq!(engine.get("m:count", json!({})), json!(1));
}

#[test]
fn a_nested_mutation_is_undone_alone() {
    let mut engine = engine(MODULE);
    assert_eq!(
        engine.done("m:outer", json!({"fail": false})),
        json!("inner done")
    );
    assert_eq!(engine.get("m:count", json!({})), json!(2));
    let outcome = engine.tell("m:outer", json!({"fail": true}));
    assert_eq!(outcome.result.unwrap(), json!(["inner failed", 3]));
    assert_eq!(outcome.writes.keys.len(), 4, "one document in four indexes");
    let error = engine.mutation_error("m:nestedBadly", json!({})).message;
    assert!(
        error.contains("ArgumentValidationError: Object is missing the required field `fail`"),
        "{error}"
    );
    assert_eq!(
        engine.done("m:nestedTogether", json!({})),
        json!(["inner done", "inner done"])
    );
    let before = engine.get("m:count", json!({}));
    let _ = engine.tell("m:unawaited", json!({}));
    let after = engine.get("m:count", json!({}));
    assert!(after == before || after.as_f64() == before.as_f64().map(|count| count + 1.0));
}

#[test]
fn a_replayed_request_is_answered_from_its_record() {
    let mut engine = engine(MODULE);
    let add = call("m:add", json!({"a": 1}));
    let first = engine.mutation(&add, Some(&request("s", 0)));
    let again = engine.mutation(&add, Some(&request("s", 0)));
    assert_eq!(
        (again.result.as_ref(), again.ts),
        (first.result.as_ref(), first.ts)
    );
    assert!(!first.writes.is_empty() && again.writes.is_empty());
    assert_eq!(engine.get("m:count", json!({})), json!(1));
    engine
        .mutation(&add, Some(&request("s", 1)))
        .result
        .unwrap();
    engine
        .mutation(&add, Some(&request("t", 0)))
        .result
        .unwrap();
    assert_eq!(engine.get("m:count", json!({})), json!(3));
    // A failure is not recorded: it may be tried again.
    let fails = call("m:addAndFail", json!({}));
    assert!(
        engine
            .mutation(&fails, Some(&request("s", 2)))
            .result
            .is_err()
    );
    engine
        .mutation(&add, Some(&request("s", 2)))
        .result
        .unwrap();
    assert_eq!(engine.get("m:count", json!({})), json!(4));
}
