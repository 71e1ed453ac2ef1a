// What the benches write and read: rows of a stream, like the chunks of an answer.

import { mutationGeneric as mutation, queryGeneric as query } from "convex/server";
import { v } from "convex/values";

const place = { stream: v.string(), seq: v.number() };
const at = (ctx, stream, seq) =>
  ctx.db.query("rows").withIndex("by_stream_seq", (q) => q.eq("stream", stream).eq("seq", seq));

/** As an append does it: is it there already, and if not, insert it (three index entries). */
export const add = mutation({
  args: { ...place, text: v.string() },
  returns: v.boolean(),
  handler: async (ctx, { stream, seq, text }) => {
    if (await at(ctx, stream, seq).first()) return false;
    await ctx.db.insert("rows", { stream, seq, text });
    return true;
  },
});

export const fill = mutation({
  args: { streams: v.array(v.string()), seqs: v.number(), text: v.string() },
  returns: v.null(),
  handler: async (ctx, { streams, seqs, text }) => {
    for (const stream of streams) {
      for (let seq = 0; seq < seqs; seq++) await ctx.db.insert("rows", { stream, seq, text });
    }
    return null;
  },
});

export const replace = mutation({
  args: { ...place, text: v.string() },
  returns: v.null(),
  handler: async (ctx, { stream, seq, text }) => {
    const row = await at(ctx, stream, seq).unique();
    await ctx.db.replace(row._id, { stream, seq, text });
    return null;
  },
});

/** The last row's number, -1 without one. */
export const latest = query({
  args: { stream: v.string() },
  returns: v.number(),
  handler: async (ctx, { stream }) => {
    const last = await ctx.db.query("rows").withIndex("by_stream_seq", (q) => q.eq("stream", stream)).order("desc").first();
    return last?.seq ?? -1;
  },
});

export const window = query({
  args: { stream: v.string(), from: v.number(), to: v.number() },
  returns: v.array(v.string()),
  handler: async (ctx, { stream, from, to }) => {
    const rows = await ctx.db
      .query("rows")
      .withIndex("by_stream_seq", (q) => q.eq("stream", stream).gte("seq", from).lt("seq", to))
      .collect();
    return rows.map((row) => row.text);
  },
});
