//! Schema changes between two starts: all of it, or a refusal that leaves the file as it was.

use std::path::Path;

use orchestrator_backend::engine::{Engine, EngineConfig, Functions, Limits, OpenError, Store};
use serde_json::{Value, json};

use crate::support::{Calls as _, IMPORTS, refusal};

const MODULE: &str = r"
export const add = mutation({ handler: (ctx, { table, doc }) => ctx.db.insert(table, doc) });
export const by = query({ handler: async (ctx, { table, index }) =>
  (await ctx.db.query(table).withIndex(index).collect()).map((row) => row.name) });
";

fn config(path: &Path, tables: &str) -> EngineConfig {
    let schema = format!(
        "import {{ defineSchema, defineTable }} from 'convex/server'; import {{ v }} from 'convex/values';
         export default defineSchema({{ {tables} }});"
    );
    EngineConfig {
        store: Store::File(path.join("db.sqlite3")),
        functions: Functions::new([("schema", schema), ("m", format!("{IMPORTS}{MODULE}"))]),
        limits: Limits::default(),
    }
}

fn open(path: &Path, tables: &str) -> Engine {
    Engine::open(config(path, tables)).unwrap_or_else(|error| panic!("{error}"))
}

fn names(engine: &mut Engine, table: &str, index: &str) -> Value {
    engine.get("m:by", json!({"table": table, "index": index}))
}

const PEOPLE: &str = "people: defineTable({ name: v.string(), age: v.number() })";

fn with_people(path: &Path) {
    let mut engine = open(path, PEOPLE);
    for (name, age) in [("cat", 30), ("ann", 50), ("bob", 10)] {
        engine.done(
            "m:add",
            json!({"table": "people", "doc": {"name": name, "age": age}}),
        );
    }
}

#[test]
fn a_new_index_is_filled_and_a_removed_one_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    with_people(folder.path());
    let mut engine = open(
        folder.path(),
        &format!("{PEOPLE}.index('by_age', ['age']).index('by_x', ['name'])"),
    );
    assert_eq!(
        names(&mut engine, "people", "by_age"),
        json!(["bob", "cat", "ann"])
    );
    drop(engine);
    // The same name with other fields is another index.
    let mut engine = open(
        folder.path(),
        &format!("{PEOPLE}.index('by_x', ['age', 'name'])"),
    );
    assert_eq!(
        names(&mut engine, "people", "by_x"),
        json!(["bob", "cat", "ann"])
    );
    assert!(
        engine
            .query_error("m:by", json!({"table": "people", "index": "by_age"}))
            .message
            .contains("not found")
    );
}

#[test]
fn a_new_validator_is_held_against_what_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    with_people(folder.path());
    let strict = "people: defineTable({ name: v.string(), age: v.string() }).index('by_name', ['name']), more: defineTable({})";
    let error = refusal(config(folder.path(), strict));
    assert!(matches!(error, OpenError::Violation(_)), "{error}");
    assert!(
        error.to_string().contains("in table \"people\"")
            && error.to_string().contains("Path: .age"),
        "{error}"
    );
    // Nothing was applied: the old schema still fits, and the index does not exist.
    let mut engine = open(folder.path(), PEOPLE);
    assert_eq!(
        names(&mut engine, "people", "by_creation_time"),
        json!(["cat", "ann", "bob"])
    );
    drop(engine);
    let wider =
        "people: defineTable({ name: v.string(), age: v.number(), mail: v.optional(v.string()) })";
    let mut engine = open(folder.path(), wider);
    assert_eq!(
        names(&mut engine, "people", "by_id")
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn a_table_that_comes_back_has_its_documents() {
    let folder = tempfile::tempdir().unwrap();
    with_people(folder.path());
    let mut engine = open(
        folder.path(),
        "other: defineTable({ name: v.string() }).index('by_name', ['name'])",
    );
    engine.done("m:add", json!({"table": "other", "doc": {"name": "x"}}));
    assert!(
        engine
            .query_error("m:by", json!({"table": "people", "index": "by_id"}))
            .message
            .contains("does not exist")
    );
    drop(engine);
    assert!(matches!(
        refusal(config(
            folder.path(),
            "people: defineTable({ name: v.null() })"
        )),
        OpenError::Violation(_)
    ));
    let mut engine = open(
        folder.path(),
        &format!("{PEOPLE}.index('by_name', ['name'])"),
    );
    assert_eq!(
        names(&mut engine, "people", "by_name"),
        json!(["ann", "bob", "cat"])
    );
}

#[test]
fn ids_in_documents_belong_to_their_tables() {
    let folder = tempfile::tempdir().unwrap();
    let tables = "a: defineTable({}), b: defineTable({ ref: v.id('a') }), c: defineTable(v.union(v.object({ k: v.literal(1) }), v.object({ k: v.literal(2), x: v.bytes() })))";
    let mut engine = open(folder.path(), tables);
    let a = engine.done("m:add", json!({"table": "a", "doc": {}}));
    let b = engine.done("m:add", json!({"table": "b", "doc": {"ref": a}}));
    let error = engine
        .mutation_error("m:add", json!({"table": "b", "doc": {"ref": b}}))
        .message;
    assert!(error.contains("does not match v.id(\"a\")"), "{error}");
    engine.done("m:add", json!({"table": "c", "doc": {"k": 1}}));
    engine.done(
        "m:add",
        json!({"table": "c", "doc": {"k": 2, "x": {"$bytes": "AA=="}}}),
    );
    assert!(
        engine
            .mutation_error("m:add", json!({"table": "c", "doc": {"k": 2}}))
            .message
            .contains("does not match")
    );
}
