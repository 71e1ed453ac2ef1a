//! The real engine on a file of its own, with the rows and the vices that tests need, and a count of the queries it ran.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use orchestrator_backend::Deployment;
use orchestrator_backend::engine::{
    Call, EngineConfig, Functions, Limits, MutationOutcome, QueryOutcome, SessionRequest, Store,
    WriteSet,
};
use orchestrator_backend::server::{Executor, open_engine};

use super::any_port;

const SCHEMA: &str = r#"
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({
  rows: defineTable({ group: v.string(), seq: v.number(), text: v.string() }).index("by_group_seq", ["group", "seq"]),
});
"#;

const ROWS: &str = r#"
import { queryGeneric as query, mutationGeneric as mutation, makeFunctionReference } from "convex/server";
import { v } from "convex/values";

export const fail = mutation({ handler: async () => { throw new Error("no fold"); } });
export const failLater = mutation({ handler: (ctx) => ctx.scheduler.runAfter(0, makeFunctionReference("rows:fail"), {}) });

const at = (ctx, group, from, to) => ctx.db.query("rows")
  .withIndex("by_group_seq", (q) => q.eq("group", group).gte("seq", from).lt("seq", to));
const window = { group: v.string(), from: v.number(), to: v.number() };

export const fill = mutation({ args: { group: v.string(), count: v.number() }, handler: async (ctx, { group, count }) => {
  for (let seq = 0; seq < count; seq++) await ctx.db.insert("rows", { group, seq, text: "old" });
} });
export const put = mutation({ args: { group: v.string(), seq: v.number(), text: v.string() },
  handler: async (ctx, { group, seq, text }) => {
    const row = await at(ctx, group, seq, seq + 1).first();
    if (row) await ctx.db.patch(row._id, { text });
    else await ctx.db.insert("rows", { group, seq, text });
  } });
export const page = query({ args: window, handler: async (ctx, { group, from, to }) =>
  (await at(ctx, group, from, to).collect()).map((row) => row.text) });
export const sequence = query({ args: window, handler: async (ctx, { group, from, to }) =>
  (await at(ctx, group, from, to).collect()).map((row) => row.seq) });
export const count = query({ args: { group: v.string() }, handler: async (ctx, { group }) =>
  (await at(ctx, group, 0, 1e9).collect()).length });

export const spin = query({ handler: async () => { for (;;); } });
export const spinAndWrite = mutation({ args: { group: v.string() }, handler: async (ctx, { group }) => {
  await ctx.db.insert("rows", { group, seq: 0, text: "" });
  for (;;);
} });
export const hoard = query({ handler: async () => new ArrayBuffer(4 * 2 ** 30).byteLength });
export const hoardText = query({ handler: async () => "x".repeat(2 ** 29 - 24).length });
export const hoardSlowly = mutation({ handler: async () => { const all = []; for (;;) all.push(new Array(100000).fill(1.5)); } });
export const large = query({ args: { megabytes: v.number() }, handler: async (ctx, { megabytes }) =>
  Array.from({ length: megabytes }, () => "x".repeat(2 ** 20)) });
export const size = mutation({ args: { text: v.string() }, handler: async (ctx, { text }) => text.length });
"#;

/// How many queries the engine ran.
#[derive(Clone, Default)]
pub struct Queries(Arc<AtomicUsize>);

impl Queries {
    pub fn ran(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct Counting {
    engine: Box<dyn Executor>,
    queries: Queries,
}

/// A deployment with the module `rows`.
pub async fn real(folder: &Path) -> (Deployment, Queries) {
    let config = EngineConfig {
        store: Store::File(folder.join("local.sqlite3")),
        functions: Functions::new([("schema", SCHEMA), ("rows", ROWS)]),
        limits: Limits::default(),
    };
    let open = open_engine(config);
    let queries = Queries::default();
    let counted = queries.clone();
    let factory = Arc::new(move || {
        open().map(|engine| {
            let queries = counted.clone();
            Box::new(Counting { engine, queries }) as Box<dyn Executor>
        })
    });
    let deployment = Deployment::start_with(any_port(), factory).await.unwrap();
    (deployment, queries)
}

impl Executor for Counting {
    fn query(&mut self, call: &Call) -> QueryOutcome {
        self.queries.0.fetch_add(1, Ordering::SeqCst);
        self.engine.query(call)
    }

    fn mutation(&mut self, call: &Call, record: Option<&SessionRequest>) -> MutationOutcome {
        self.engine.mutation(call, record)
    }

    fn latest_ts(&self) -> u64 {
        self.engine.latest_ts()
    }

    fn run_due_jobs(&mut self, now_ms: u64) -> Vec<WriteSet> {
        self.engine.run_due_jobs(now_ms)
    }

    fn next_due_ms(&self) -> Option<u64> {
        self.engine.next_due_ms()
    }

    fn failed_job(&self) -> Option<String> {
        self.engine.failed_job()
    }

    fn checkpoint(&mut self) -> Result<(), String> {
        self.engine.checkpoint()
    }
}
