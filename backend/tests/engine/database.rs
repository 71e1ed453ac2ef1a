//! `ctx.db`: documents, indexes, order, and what is refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Calls as _, engine};

const MODULE: &str = r#"
export const insert = mutation({ handler: (ctx, { table, doc }) => ctx.db.insert(table, doc) });
export const get = query({ handler: (ctx, { id }) => ctx.db.get(id) });
export const getNamed = query({ handler: (ctx, { id }) => ctx.db.get("any", id) });
export const patch = mutation({ handler: (ctx, { id, set, unset }) => {
  for (const name of unset ?? []) set[name] = undefined;
  return ctx.db.patch(id, set);
} });
export const replace = mutation({ handler: (ctx, { id, doc }) => ctx.db.replace(id, doc) });
export const remove = mutation({ handler: (ctx, { id }) => ctx.db.delete(id) });
export const all = query({ handler: (ctx, { table, order }) => ctx.db.query(table).order(order ?? "asc").collect() });
export const range = query({ handler: (ctx, { index, steps, order, take }) => {
  const found = ctx.db.query("any").withIndex(index, (q) =>
    steps.reduce((q, [op, field, value]) => q[op](field, value), q)).order(order ?? "asc");
  return take === undefined ? found.collect() : found.take(take);
} });
export const missing = query({ handler: async (ctx) => (await ctx.db.query("any")
  .withIndex("by_a", (q) => q.eq("a", undefined)).collect()).length });
export const unique = query({ handler: (ctx, { a }) => ctx.db.query("any").withIndex("by_a", (q) => q.eq("a", a)).unique() });
export const first = query({ handler: (ctx) => ctx.db.query("any").order("desc").first() });
export const walk = query({ handler: async (ctx, { stop, order }) => {
  const seen = [];
  for await (const row of ctx.db.query("any").withIndex("by_a").order(order)) { seen.push(row.a); if (row.a === stop) break; }
  return seen;
} });
export const byId = query({ handler: (ctx, { id }) => ctx.db.query("any").withIndex("by_id", (q) => q.eq("_id", id)).unique() });
export const normalize = query({ handler: (ctx, { table, id }) => ctx.db.normalizeId(table, id) });
export const writes = query({ handler: (ctx) => ctx.db.insert("any", {}) });
export const own = mutation({ handler: async (ctx) => {
  const id = await ctx.db.insert("any", { a: 1 });
  await ctx.db.patch(id, { a: 2 });
  const found = await ctx.db.query("any").withIndex("by_a", (q) => q.eq("a", 2)).unique();
  await ctx.db.delete(id);
  return [found.a, await ctx.db.get(id)];
} });
export const several = mutation({ handler: async (ctx) => {
  const ids = await Promise.all([1, 2, 3].map((a) => ctx.db.insert("any", { a })));
  return ids.length;
} });
export const hostInsert = mutation({ handler: (ctx) => ctx.db.insert("any", { bad: new Date() }) });
export const filter = query({ handler: (ctx) => ctx.db.query("any").filter((q) => q.eq(q.field("a"), 1)).collect() });
export const paginate = query({ handler: (ctx) => ctx.db.query("any").paginate({}) });
export const system = query({ handler: (ctx) => ctx.db.system.get("x") });
export const storage = query({ handler: (ctx) => ctx.storage.getUrl("x") });
"#;

fn insert(engine: &mut orchestrator_backend::engine::Engine, doc: Value) -> String {
    engine
        .done("m:insert", json!({"table": "any", "doc": doc}))
        .as_str()
        .unwrap()
        .to_string()
}

#[test]
fn a_document_lives_from_insert_to_delete() {
    let mut engine = engine(MODULE);
    let id = insert(&mut engine, json!({"a": 1, "text": "x", "gone": true}));
    let stored = engine.get("m:get", json!({"id": id}));
    assert_eq!((&stored["a"], &stored["_id"]), (&json!(1), &json!(id)));
    assert!(stored["_creationTime"].as_f64().unwrap() > 1.6e12);
    engine.done(
        "m:patch",
        json!({"id": id, "set": {"a": 2, "_id": id}, "unset": ["gone"]}),
    );
    let patched = engine.get("m:getNamed", json!({"id": id}));
    assert_eq!(
        (&patched["a"], &patched["text"], patched.get("gone")),
        (&json!(2), &json!("x"), None)
    );
    assert_eq!(patched["_creationTime"], stored["_creationTime"]);
    engine.done("m:replace", json!({"id": id, "doc": {"b": 3}}));
    let replaced = engine.get("m:byId", json!({"id": id}));
    assert_eq!(
        (&replaced["b"], replaced.get("a"), &replaced["_id"]),
        (&json!(3), None, &json!(id))
    );
    engine.done("m:remove", json!({"id": id}));
    assert_eq!(engine.get("m:get", json!({"id": id})), json!(null));
    for path in ["m:remove", "m:patch", "m:replace"] {
        let error = engine
            .mutation_error(path, json!({"id": id, "set": {}, "doc": {}}))
            .message;
        assert!(error.contains("on nonexistent document ID"), "{error}");
    }
}

#[test]
fn documents_are_held_against_the_schema() {
    let mut engine = engine(MODULE);
    let good = json!({"table": "notes", "doc": {"author": "ann", "seq": 1}});
    let id = engine.done("m:insert", good);
    for (doc, says) in [
        (json!({"author": "ann"}), "missing the required field `seq`"),
        (json!({"author": 5, "seq": 1}), "Path: .author"),
        (
            json!({"author": "ann", "seq": 1, "more": 1}),
            "extra field `more`",
        ),
    ] {
        let error = engine
            .mutation_error("m:insert", json!({"table": "notes", "doc": doc}))
            .message;
        assert!(
            error.contains("in table \"notes\" because it does not match the schema"),
            "{error}"
        );
        assert!(error.contains(says), "{error}");
    }
    let error = engine
        .mutation_error("m:patch", json!({"id": id, "set": {}, "unset": ["seq"]}))
        .message;
    assert!(
        error.contains("missing the required field `seq`"),
        "{error}"
    );
    assert_eq!(
        engine
            .get("m:all", json!({"table": "notes"}))
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn what_is_no_use_of_the_database_is_refused_with_its_name() {
    let mut engine = engine(MODULE);
    let id = insert(&mut engine, json!({}));
    let mut refused = |path: &str, args: Value, says: &str| {
        let mutation = ![
            "m:get",
            "m:all",
            "m:range",
            "m:filter",
            "m:paginate",
            "m:system",
            "m:storage",
            "m:writes",
        ]
        .contains(&path);
        let error = if mutation {
            engine.mutation_error(path, args)
        } else {
            engine.query_error(path, args)
        };
        assert!(error.message.contains(says), "{path}: {}", error.message);
    };
    refused(
        "m:insert",
        json!({"table": "other", "doc": {}}),
        "Table \"other\" does not exist",
    );
    refused(
        "m:insert",
        json!({"table": "_storage", "doc": {}}),
        "system tables are not supported",
    );
    refused(
        "m:insert",
        json!({"table": "any", "doc": {"_id": "x"}}),
        "`_id` cannot be given",
    );
    refused(
        "m:insert",
        json!({"table": "any", "doc": 5}),
        "must be an object",
    );
    refused(
        "m:patch",
        json!({"id": id, "set": {"_creationTime": 1}}),
        "`_creationTime` cannot be changed",
    );
    refused(
        "m:patch",
        json!({"id": id, "set": {}, "unset": ["_id"]}),
        "`_id` cannot be changed",
    );
    refused(
        "m:get",
        json!({"id": "nonsense"}),
        "Invalid argument `id` for `db.get`",
    );
    refused("m:get", json!({"id": 5}), "must be a string");
    refused(
        "m:hostInsert",
        json!({}),
        "Date is not a supported Convex type (at path .bad)",
    );
    refused(
        "m:range",
        json!({"index": "by_x", "steps": []}),
        "Index \"any.by_x\" not found",
    );
    refused(
        "m:range",
        json!({"index": "by_a_b", "steps": [["eq", "b", 1]]}),
        "didn't use the index fields in order",
    );
    refused("m:writes", json!({}), "not available in a query");
    refused("m:filter", json!({}), "`filter` is not supported");
    refused("m:paginate", json!({}), "`paginate` is not supported");
    refused("m:system", json!({}), "`ctx.db.system` is not supported");
    refused("m:storage", json!({}), "`ctx.storage` is not supported");
}

#[test]
fn rows_come_in_index_order() {
    let mut engine = engine(MODULE);
    for (a, b) in [
        (json!(2), json!(1)),
        (json!(1), json!("x")),
        (json!(1), json!(null)),
        (json!("t"), json!(0)),
    ] {
        insert(&mut engine, json!({"a": a, "b": b}));
    }
    insert(&mut engine, json!({"b": 9}));
    let mut pairs = |args: Value| -> Vec<Value> {
        let rows = engine.get("m:range", args);
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| json!([row.get("a"), row["b"]]))
            .collect()
    };
    let all = pairs(json!({"index": "by_a_b", "steps": []}));
    assert_eq!(
        json!(all),
        json!([[null, 9], [1, null], [1, "x"], [2, 1], ["t", 0]])
    );
    let mut down = pairs(json!({"index": "by_a_b", "steps": [], "order": "desc"}));
    down.reverse();
    assert_eq!(down, all);
    assert_eq!(
        json!(pairs(
            json!({"index": "by_a_b", "steps": [["eq", "a", 1]], "take": 1})
        )),
        json!([[1, null]])
    );
    let between = json!({"index": "by_a", "steps": [["gt", "a", 1], ["lte", "a", 2]]});
    assert_eq!(json!(pairs(between)), json!([[2, 1]]));
    assert!(pairs(json!({"index": "by_a", "steps": [["gt", "a", 5], ["lt", "a", 1]]})).is_empty());
    assert_eq!(engine.get("m:missing", json!({})), json!(1));
}

#[test]
fn rows_of_one_moment_keep_the_order_of_their_insertion() {
    let mut engine = engine(MODULE);
    assert_eq!(engine.done("m:several", json!({})), json!(3));
    let rows = engine.get("m:all", json!({"table": "any"}));
    let order: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["a"].as_f64().unwrap())
        .collect();
    assert_eq!(order, [1.0, 2.0, 3.0]);
    assert_eq!(engine.get("m:first", json!({}))["a"], json!(3));
}

#[test]
fn single_rows_and_walks() {
    let mut engine = engine(MODULE);
    for a in [1, 2, 2, 3] {
        insert(&mut engine, json!({"a": a}));
    }
    assert_eq!(engine.get("m:unique", json!({"a": 1}))["a"], json!(1));
    assert_eq!(engine.get("m:unique", json!({"a": 9})), json!(null));
    assert!(
        engine
            .query_error("m:unique", json!({"a": 2}))
            .message
            .contains("more than one result from table any")
    );
    assert_eq!(
        engine.get("m:walk", json!({"order": "asc"})),
        json!([1, 2, 2, 3])
    );
    assert_eq!(
        engine.get("m:walk", json!({"order": "desc", "stop": 2})),
        json!([3, 2])
    );
}

#[test]
fn ids_are_normalized_by_table() {
    let mut engine = engine(MODULE);
    let id = insert(&mut engine, json!({}));
    assert_eq!(
        engine.get("m:normalize", json!({"table": "any", "id": id})),
        json!(id)
    );
    assert_eq!(
        engine.get("m:normalize", json!({"table": "notes", "id": id})),
        json!(null)
    );
    assert_eq!(
        engine.get("m:normalize", json!({"table": "notes", "id": "x"})),
        json!(null)
    );
}

#[test]
fn a_mutation_sees_its_own_writes() {
    let mut engine = engine(MODULE);
    assert_eq!(engine.done("m:own", json!({})), json!([2, null]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The index against a plain model: patches and deletes keep it in step with the documents.
    #[test]
    fn an_index_always_agrees_with_its_documents(steps in prop::collection::vec((0usize..4, 0i64..4, 0i64..4), 1..24)) {
        let mut engine = engine(MODULE);
        let mut model: Vec<(String, i64, i64)> = Vec::new();
        for (what, a, b) in steps {
            let at = a as usize;
            match (what, model.get_mut(at)) {
                (0 | 1, _) | (_, None) => {
                    let id = insert(&mut engine, json!({"a": a, "b": b}));
                    model.push((id, a, b));
                }
                (2, Some(row)) => {
                    engine.done("m:patch", json!({"id": row.0, "set": {"a": b}}));
                    row.1 = b;
                }
                (_, Some(row)) => {
                    engine.done("m:remove", json!({"id": row.0}));
                    model.remove(at);
                }
            }
        }
        for a in 0..4 {
            let steps = json!([["eq", "a", a], ["gte", "b", 1], ["lt", "b", 3]]);
            let rows = engine.get("m:range", json!({"index": "by_a_b", "steps": steps}));
            let mut found: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["_id"].as_str().unwrap().to_string()).collect();
            let mut expected: Vec<_> = model.iter().filter(|row| row.1 == a && (1..3).contains(&row.2)).map(|row| row.0.clone()).collect();
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }
}
