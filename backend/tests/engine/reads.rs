//! Read sets: what a query has looked at, and nothing else, is what wakes its subscription.

use orchestrator_backend::engine::{Engine, ReadSet, WriteSet};
use serde_json::{Value, json};

use crate::support::{Calls as _, engine};

const MODULE: &str = r#"
export const add = mutation({ handler: (ctx, { author, seq }) => ctx.db.insert("notes", { author, seq }) });
export const fill = mutation({ handler: async (ctx, { author, count }) => {
  for (let seq = 0; seq < count; seq++) await ctx.db.insert("notes", { author, seq });
} });
export const set = mutation({ handler: (ctx, { id, fields }) => ctx.db.patch(id, fields) });
export const nothing = mutation({ handler: async () => null });
export const get = query({ handler: (ctx, { id }) => ctx.db.get(id) });
export const take = query({ handler: (ctx, { author, count, order }) => ctx.db.query("notes")
  .withIndex("by_author_seq", (q) => q.eq("author", author)).order(order ?? "asc").take(count) });
export const window = query({ handler: (ctx, { author, from, to }) => ctx.db.query("notes")
  .withIndex("by_author_seq", (q) => q.eq("author", author).gte("seq", from).lt("seq", to)).collect() });
export const walk = query({ handler: async (ctx, { author, count, order }) => {
  for await (const _ of ctx.db.query("notes").withIndex("by_author_seq", (q) => q.eq("author", author)).order(order)) {
    if (--count <= 0) return null;
  }
  return null;
} });
export const all = query({ handler: async (ctx) => (await ctx.db.query("notes").collect()).length });
"#;

fn reads(engine: &mut Engine, path: &str, args: Value) -> ReadSet {
    let outcome = engine.ask(path, args);
    outcome.result.unwrap();
    outcome.reads
}

fn add(engine: &mut Engine, author: &str, seq: f64) -> WriteSet {
    let outcome = engine.tell("m:add", json!({"author": author, "seq": seq}));
    outcome.result.unwrap();
    outcome.writes
}

#[test]
fn a_window_is_hit_only_from_inside() {
    let mut engine = engine(MODULE);
    engine.done("m:fill", json!({"author": "ann", "count": 1000}));
    let window = reads(
        &mut engine,
        "m:window",
        json!({"author": "ann", "from": 100, "to": 132}),
    );
    assert_eq!(window.ranges.len(), 1);
    assert_eq!(&*window.ranges[0].index, "notes.by_author_seq");
    assert!(window.hit_by(&add(&mut engine, "ann", 100.0)));
    assert!(window.hit_by(&add(&mut engine, "ann", 131.5)));
    for (author, seq) in [("ann", 99.9), ("ann", 132.0), ("bob", 110.0), ("", 110.0)] {
        assert!(
            !window.hit_by(&add(&mut engine, author, seq)),
            "{author} {seq}"
        );
    }
}

#[test]
fn a_limited_read_ends_at_its_last_row() {
    let mut engine = engine(MODULE);
    for (path, author) in [("m:take", "ann"), ("m:walk", "eve")] {
        engine.done("m:fill", json!({"author": author, "count": 10}));
        let up = reads(
            &mut engine,
            path,
            json!({"author": author, "count": 3, "order": "asc"}),
        );
        let down = reads(
            &mut engine,
            path,
            json!({"author": author, "count": 3, "order": "desc"}),
        );
        let low = add(&mut engine, author, 1.5);
        let middle = add(&mut engine, author, 5.5);
        assert!(up.hit_by(&low) && !down.hit_by(&low), "{path}");
        assert!(!up.hit_by(&middle) && !down.hit_by(&middle), "{path}");
        let high = add(&mut engine, author, 8.5);
        assert!(!up.hit_by(&high) && down.hit_by(&high), "{path}");
        // One that found all there is has also read that there is no more.
        let whole = reads(
            &mut engine,
            path,
            json!({"author": author, "count": 100, "order": "desc"}),
        );
        assert!(
            whole.hit_by(&add(&mut engine, author, 1e9))
                && whole.hit_by(&add(&mut engine, author, -1.0)),
            "{path}"
        );
        assert!(!whole.hit_by(&add(&mut engine, "bob", 1.0)), "{path}");
    }
}

#[test]
fn a_get_reads_one_id() {
    let mut engine = engine(MODULE);
    let id = engine.done("m:add", json!({"author": "ann", "seq": 1}));
    let other = engine.done("m:add", json!({"author": "ann", "seq": 2}));
    let read = reads(&mut engine, "m:get", json!({"id": id}));
    assert_eq!(&*read.ranges[0].index, "notes.by_id");
    let mut set = |id: &Value, fields: Value| {
        engine
            .tell("m:set", json!({"id": id, "fields": fields}))
            .writes
    };
    assert!(read.hit_by(&set(&id, json!({"text": "new"}))));
    assert!(!read.hit_by(&set(&other, json!({"text": "new"}))));
}

#[test]
fn a_moved_row_hits_where_it_was_and_where_it_goes() {
    let mut engine = engine(MODULE);
    let id = engine.done("m:add", json!({"author": "ann", "seq": 1}));
    let window = |engine: &mut Engine, from: i32| {
        reads(
            engine,
            "m:window",
            json!({"author": "ann", "from": from, "to": from + 5}),
        )
    };
    let (old, new, far) = (
        window(&mut engine, 0),
        window(&mut engine, 10),
        window(&mut engine, 20),
    );
    let moved = engine
        .tell("m:set", json!({"id": id, "fields": {"seq": 12}}))
        .writes;
    assert!(old.hit_by(&moved) && new.hit_by(&moved) && !far.hit_by(&moved));
}

#[test]
fn a_full_scan_is_hit_by_everything_in_its_table() {
    let mut engine = engine(MODULE);
    let all = reads(&mut engine, "m:all", json!({}));
    assert!(all.hit_by(&add(&mut engine, "ann", 1.0)));
}

#[test]
fn a_mutation_without_writes_commits_nothing() {
    let mut engine = engine(MODULE);
    add(&mut engine, "ann", 1.0);
    let before = engine.latest_ts();
    let outcome = engine.tell("m:nothing", json!({}));
    assert!(outcome.writes.is_empty());
    assert_eq!((outcome.ts, engine.latest_ts()), (before, before));
}
