//! Which functions can be called, how their arguments and results are checked, how their errors read.

use serde_json::json;

use crate::support::{Calls as _, as_user, engine};

const MODULE: &str = r#"
export const add = query({ args: { a: v.number(), b: v.optional(v.number()) }, returns: v.number(),
  handler: async (ctx, { a, b }) => a + (b ?? 10) });
export const wrong = query({ args: {}, returns: v.string(), handler: async () => 5 });
export const nothing = query({ handler: async () => {} });
export const bare = query(async (ctx, args) => args);
export const hidden = internalQuery({ args: {}, handler: async () => 1 });
export const change = mutation({ args: {}, handler: async () => "changed" });
function deep() { throw new Error("boom"); }
export const fails = query({ handler: async () => { await null; deep(); } });
export const refuses = mutation({ handler: async () => { throw new ConvexError({ code: "conflict", message: "no", n: 5n }); } });
export const refusesWithText = query({ handler: async () => { throw new ConvexError("plain"); } });
export const throwsText = query({ handler: async () => { throw "text"; } });
export const who = query({ handler: async (ctx) => await ctx.auth.getUserIdentity() });
export const hangs = query({ handler: () => new Promise(() => {}) });
export const says = query({ handler: async () => { console.log("hi", { a: [1, null] }); console.warn(5n); return null; } });
export default query({ handler: async () => "default" });
"#;

#[test]
fn arguments_and_results_are_checked() {
    let mut engine = engine(MODULE);
    assert_eq!(engine.get("m:add", json!({"a": 1})), json!(11));
    assert_eq!(engine.get("m:add", json!({"a": 1, "b": 2})), json!(3));
    let missing = engine.query_error("m:add", json!({})).message;
    assert!(
        missing.starts_with(
            "ArgumentValidationError: Object is missing the required field `a`. Consider wrapping"
        ),
        "{missing}"
    );
    let wrong = engine.query_error("m:add", json!({"a": "x"})).message;
    assert_eq!(
        wrong,
        "ArgumentValidationError: Value does not match validator.\nPath: .a\nValue: \"x\"\nValidator: v.float64()"
    );
    let extra = engine.query_error("m:add", json!({"a": 1, "c": 1})).message;
    assert!(
        extra.starts_with("ArgumentValidationError: Object contains extra field `c`"),
        "{extra}"
    );
    assert!(
        engine
            .query_error("m:add", json!([1]))
            .message
            .contains("must be one object")
    );
    let result = engine.query_error("m:wrong", json!({})).message;
    assert!(
        result.starts_with("ReturnsValidationError: Value does not match validator."),
        "{result}"
    );
    assert_eq!(engine.get("m:nothing", json!({})), json!(null));
    assert_eq!(engine.get("m:default", json!({})), json!("default"));
}

#[test]
fn every_kind_of_value_goes_in_and_out() {
    let mut engine = engine(MODULE);
    let args = json!({
        "number": 1.5, "whole": 3, "big": {"$integer": "BQAAAAAAAIA="}, "bytes": {"$bytes": "AQL/"},
        "nan": {"$float": "AAAAAAAA+H8="}, "negativeZero": {"$float": "AAAAAAAAAIA="},
        "text": "a\"$b\u{1F600}\u{0}", "list": [null, true, {"nested": {"$integer": "AQAAAAAAAAA="}}], "__proto__": {"x": 1}
    });
    assert_eq!(engine.get("m:bare", args.clone()), args);
}

#[test]
fn only_public_functions_of_the_right_kind_are_found() {
    let mut engine = engine(MODULE);
    for path in ["m:hidden", "m:missing", "other:add", "m", "schema:default"] {
        let error = engine.query_error(path, json!({})).message;
        assert_eq!(
            error,
            format!(
                "Could not find public function for '{path}'. Did you forget to run `npx convex dev` or `npx convex \
                 deploy`?"
            )
        );
    }
    assert!(
        engine
            .query_error("m:change", json!({}))
            .message
            .contains("as Query, but it is defined as Mutation")
    );
    assert!(
        engine
            .mutation_error("m:nothing", json!({}))
            .message
            .contains("as Mutation, but it is defined as Query")
    );
}

#[test]
fn errors_read_as_convexs_do() {
    let mut engine = engine(MODULE);
    let error = engine.query_error("m:fails", json!({}));
    assert!(
        error
            .message
            .starts_with("Uncaught Error: boom\n    at deep (../convex/m.js:"),
        "{}",
        error.message
    );
    assert!(
        !error.message.contains("convex/server"),
        "{}",
        error.message
    );
    assert_eq!(error.data, None);
    let error = engine.mutation_error("m:refuses", json!({}));
    assert!(
        error
            .message
            .starts_with(r#"Uncaught ConvexError: {"code":"conflict","message":"no","n":"#),
        "{}",
        error.message
    );
    assert_eq!(
        error.data,
        Some(json!({"code": "conflict", "message": "no", "n": {"$integer": "BQAAAAAAAAA="}}))
    );
    let error = engine.query_error("m:refusesWithText", json!({}));
    assert!(error.message.starts_with("Uncaught ConvexError: plain"));
    assert_eq!(error.data, Some(json!("plain")));
    assert_eq!(
        engine.query_error("m:throwsText", json!({})).message,
        "Uncaught 'text'"
    );
    assert!(
        engine
            .query_error("m:hangs", json!({}))
            .message
            .contains("nothing will ever settle")
    );
    assert_eq!(engine.get("m:add", json!({"a": 1})), json!(11));
}

#[test]
fn the_identity_is_the_callers() {
    let mut engine = engine(MODULE);
    assert_eq!(engine.get("m:who", json!({})), json!(null));
    let identity = engine
        .query(&as_user("m:who", json!({}), "ann"))
        .result
        .unwrap();
    assert_eq!(identity["tokenIdentifier"], "iss|ann");
    assert_eq!(engine.get("m:who", json!({})), json!(null));
}

#[test]
fn the_console_becomes_log_lines() {
    let mut engine = engine(MODULE);
    let outcome = engine.ask("m:says", json!({}));
    assert_eq!(
        outcome.log_lines,
        ["[LOG] 'hi' { a: [ 1, null ] }", "[WARN] 5n"]
    );
    assert!(engine.ask("m:nothing", json!({})).log_lines.is_empty());
}
