// What the durability tests write: rows that tell by themselves when something ran twice, or not at all.

import { internalMutationGeneric as internalMutation, makeFunctionReference, mutationGeneric as mutation,
  queryGeneric as query } from "convex/server";
import { v } from "convex/values";

/** Idempotent: a key that is there stays, and the caller hears so. */
export const put = mutation({
  args: { key: v.string() },
  returns: v.boolean(),
  handler: async (ctx, { key }) => {
    if (await ctx.db.query("entries").withIndex("by_key", (q) => q.eq("key", key)).first()) return false;
    await ctx.db.insert("entries", { key });
    return true;
  },
});

/** Not idempotent: a second run leaves a second row, and a counter that is too high. */
export const add = mutation({
  args: { name: v.string(), key: v.string() },
  returns: v.number(),
  handler: async (ctx, { name, key }) => {
    await ctx.db.insert("entries", { key });
    const counter = await ctx.db.query("counters").withIndex("by_name", (q) => q.eq("name", name)).unique();
    const count = (counter?.count ?? 0) + 1;
    if (counter) await ctx.db.patch(counter._id, { count });
    else await ctx.db.insert("counters", { name, count });
    return count;
  },
});

/** Not idempotent either: what it schedules leaves a row for each of its runs. */
export const schedule = mutation({
  args: { key: v.string(), ms: v.number() },
  returns: v.null(),
  handler: async (ctx, { key, ms }) => {
    await ctx.db.insert("entries", { key });
    await ctx.scheduler.runAfter(ms, makeFunctionReference("ledger:run"), { key });
    return null;
  },
});

export const run = internalMutation({
  args: { key: v.string() },
  handler: async (ctx, { key }) => {
    await ctx.db.insert("runs", { key });
  },
});

export const count = query({
  args: { name: v.string() },
  returns: v.number(),
  handler: async (ctx, { name }) => {
    const counter = await ctx.db.query("counters").withIndex("by_name", (q) => q.eq("name", name)).unique();
    return counter?.count ?? 0;
  },
});

/** The keys of a table in order, a page at a time: `after` is the last key of the page before. Doubles are repeated. */
export const page = query({
  args: { table: v.union(v.literal("entries"), v.literal("runs")), after: v.string() },
  returns: v.array(v.string()),
  handler: async (ctx, { table, after }) => {
    const rows = await ctx.db.query(table).withIndex("by_key", (q) => q.gt("key", after)).take(4000);
    return rows.map((row) => row.key);
  },
});
