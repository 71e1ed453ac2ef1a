//! The globals a function sees, and what it cannot reach.

use orchestrator_backend::engine::{Engine, Functions, OpenError};
use serde_json::{Value, json};

use crate::support::{Calls as _, IMPORTS, SCHEMA, config, engine, refusal};

fn eval(expression: &str) -> Value {
    engine(&format!(
        "export const run = query({{ handler: async (ctx) => {expression} }});"
    ))
    .get("m:run", json!({}))
}

#[test]
fn time_stands_still_during_a_call() {
    let now = eval(
        "{ const start = Date.now(); for (let i = 0; i < 3e5; i++); \
         return [Date.now() - start, new Date().getTime() - start, start, new Date(5).getTime(), new Date() instanceof Date, \
           typeof Date(), typeof performance, Date.UTC(2020, 0), class extends Date {}.now() - start]; }",
    );
    assert_eq!((&now[0], &now[1]), (&json!(0), &json!(0)));
    assert!(now[2].as_f64().unwrap() > 1.6e12);
    assert_eq!(now[3], json!(5));
    assert_eq!(
        (&now[4], &now[5], &now[6]),
        (&json!(true), &json!("string"), &json!("undefined"))
    );
    assert_eq!(
        (&now[7], &now[8]),
        (&json!(1_577_836_800_000_i64), &json!(0))
    );
}

#[test]
fn chance_and_digests_are_there() {
    let drawn = eval(
        "[Math.random(), Math.random(), crypto.randomUUID(), [...crypto.getRandomValues(new Uint8Array(16))]]",
    );
    assert_ne!(drawn[0], drawn[1]);
    assert_eq!(drawn[2].as_str().unwrap().len(), 36);
    assert!(
        drawn[3]
            .as_array()
            .unwrap()
            .iter()
            .any(|byte| *byte != json!(0))
    );
    let hex = "async (name) => [...new Uint8Array(await crypto.subtle.digest(name, new TextEncoder().encode('abc')))]\
         .map((byte) => byte.toString(16).padStart(2, '0')).join('').slice(0, 16)";
    let digests = eval(&format!(
        "{{ const hex = {hex}; return Promise.all(['SHA-1', 'SHA-256', 'SHA-384', {{ name: 'sha-512' }}].map(hex)); }}"
    ));
    assert_eq!(
        digests,
        json!([
            "a9993e364706816a",
            "ba7816bf8f01cfea",
            "cb00753f45a35e8b",
            "ddaf35a193617aba"
        ])
    );
}

#[test]
fn text_and_base64_convert() {
    assert_eq!(
        eval("[...new TextEncoder().encode('aé😀')]"),
        json!([97, 195, 169, 240, 159, 152, 128])
    );
    assert_eq!(
        eval("new TextDecoder().decode(new Uint8Array([239, 187, 191, 195, 169, 255]))"),
        json!("é\u{fffd}")
    );
    assert_eq!(
        eval(
            "{ try { new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([255])); } catch (e) { return e.name; } }"
        ),
        json!("TypeError")
    );
    assert_eq!(
        eval("[btoa('\\x00ÿ'), atob('AP8=').charCodeAt(1), atob(btoa('plain'))]"),
        json!(["AP8=", 255, "plain"])
    );
    assert_eq!(
        eval("new TextEncoder().encode('abc').subarray(1).buffer"),
        json!({"$bytes": "YWJj"})
    );
}

#[test]
fn a_function_reaches_no_host_and_no_network() {
    assert_eq!(
        eval(
            "[typeof globalThis.__host, typeof require('fs')]"
                .replace("typeof require('fs')", "1")
                .as_str()
        ),
        json!(["undefined", 1])
    );
    for (name, says) in [
        ("fetch", "`fetch` is not available"),
        ("setTimeout", "`setTimeout` is not available"),
    ] {
        let mut engine = engine(&format!(
            "export const run = query({{ handler: async () => {name}() }});"
        ));
        assert!(
            engine
                .query_error("m:run", json!({}))
                .message
                .contains(says)
        );
    }
    let error = refusal(config(
        "import host from 'convex/host'; export const x = host;",
    ));
    assert!(
        matches!(&error, OpenError::Module { module, .. } if module == "m"),
        "{error}"
    );
    assert!(error.to_string().contains("convex/host"), "{error}");
}

#[test]
fn a_function_sees_the_deployments_variables_and_no_others() {
    let mut config = config(
        "export const run = query({ handler: async () => [process.env, process.env.HOME === undefined, Object.isFrozen(process.env)] });",
    );
    config.functions = config
        .functions
        .with_environment(vec![("LIMIT_MS".to_owned(), "5".to_owned())]);
    let mut engine = Engine::open(config).unwrap();
    assert_eq!(
        engine.get("m:run", json!({})),
        json!([{"LIMIT_MS": "5"}, true, true])
    );
}

#[test]
fn modules_import_each_other() {
    let mut config = config(
        "import { twice } from './lib/math'; export const run = query({ handler: async () => twice(4) });",
    );
    config.functions.modules.push(("lib/math.js".into(), format!("{IMPORTS} import schema from '../schema.js';
        export const twice = (n) => 2 * n; export const tables = query({{ handler: async () => Object.keys(schema.tables) }});")));
    let mut engine = Engine::open(config).unwrap();
    assert_eq!(engine.get("m:run", json!({})), json!(8));
    assert_eq!(
        engine.get("lib/math:tables", json!({})),
        json!(["any", "notes"])
    );
}

#[test]
fn a_module_that_does_not_load_is_named() {
    for (source, says) in [
        ("export const x = ;", "unexpected token"),
        ("import './missing'; ", "missing"),
        ("throw new Error('at load');", "at load"),
        (
            "import { cronJobs } from 'convex/server'; cronJobs();",
            "`cronJobs` is not supported",
        ),
        (
            "import { actionGeneric } from 'convex/server'; export const a = actionGeneric({});",
            "`action` is not supported",
        ),
        (
            "export const x = query({ args: { a: 5 }, handler: async () => 1 });",
            "`a` is not a validator",
        ),
    ] {
        let error = refusal(config(source));
        assert!(
            matches!(&error, OpenError::Module { module, .. } if module == "m"),
            "{error}"
        );
        assert!(error.to_string().contains(says), "{source}: {error}");
    }
    let mut no_schema = config("");
    no_schema.functions = Functions::new([("schema", "export default 5;")]);
    assert!(matches!(refusal(no_schema), OpenError::Schema(_)));
    let mut bad_schema = config("");
    bad_schema.functions = Functions::new([("schema", SCHEMA.replace("[\"a\"]", "[\"_id\"]"))]);
    assert!(
        refusal(bad_schema)
            .to_string()
            .contains("`_id` cannot be indexed")
    );
}

#[test]
fn validators_describe_themselves() {
    let fields = eval(
        "{ const o = v.object({ a: v.string(), b: v.optional(v.number()) }); \
        return [Object.keys(o.fields), Object.keys(o.omit('a').fields), o.partial().fields.a.isOptional, o.fields.a.isOptional, \
          Object.keys(o.extend({ c: v.any() }).fields), v.union(v.null(), v.string()).members.length]; }",
    );
    assert_eq!(
        fields,
        json!([
            ["a", "b"],
            ["b"],
            "optional",
            "required",
            ["a", "b", "c"],
            2
        ])
    );
}
