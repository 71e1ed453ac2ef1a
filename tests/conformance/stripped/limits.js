// Generated from tests/conformance/functions/limits.ts by `npm run strip`: change that file, not this one.
// Convex's limits, and what crosses them.

import { mutationGeneric as mutation, queryGeneric as query } from "convex/server";

const KIB = 1024;

/** A document with a text of so many bytes. */
export const document = mutation({
  handler: async (ctx     , { scope, bytes }     ) => {
    await ctx.db.insert("keyed", { scope, then: "x".repeat(bytes) });
    return "stored";
  },
});

export const array = mutation({
  handler: async (ctx     , { scope, length }     ) => {
    await ctx.db.insert("keyed", { scope, then: new Array(length).fill(0) });
    return "stored";
  },
});

export const fields = mutation({
  handler: async (ctx     , { scope, count }     ) => {
    await ctx.db.insert("keyed", { scope, then: Object.fromEntries(Array.from({ length: count }, (_, at) => [`f${at}`, 0])) });
    return "stored";
  },
});

const nest = (depth        )      => (depth === 0 ? 0 : [nest(depth - 1)]);

export const nesting = mutation({
  handler: async (ctx     , { scope, depth }     ) => {
    await ctx.db.insert("keyed", { scope, then: nest(depth) });
    return "stored";
  },
});

export const result = query({ handler: (_ctx     , { kib }     ) => "x".repeat(kib * KIB) });

export const resultArray = query({ handler: (_ctx     , { length }     ) => new Array(length).fill(0) });

export const length = query({ handler: (_ctx     , { list }     ) => list.length });

/** Writes more than a transaction may. */
export const write = mutation({
  handler: async (ctx     , { scope, documents, kib }     ) => {
    for (let at = 0; at < documents; at++) await ctx.db.insert("keyed", { scope, label: `${at}`, then: "x".repeat(kib * KIB) });
    return "written";
  },
});

export const writeCaught = mutation({
  handler: async (ctx     , { scope, documents, kib }     ) => {
    try {
      for (let at = 0; at < documents; at++) await ctx.db.insert("keyed", { scope, then: "x".repeat(kib * KIB) });
    } catch {
      return "caught";
    }
    return "written";
  },
});

export const count = query({
  handler: async (ctx     , { scope }     ) =>
    (await ctx.db.query("keyed").withIndex("by_key", (q     ) => q.eq("scope", scope)).collect()).length,
});

/** Index ranges of one call. */
export const ranges = query({
  handler: async (ctx     , { scope, count }     ) => {
    for (let at = 0; at < count; at++) {
      await ctx.db.query("keyed").withIndex("by_key", (q     ) => q.eq("scope", scope).eq("key", at)).first();
    }
    return "read";
  },
});

export const spin = query({
  handler: () => {
    for (;;);
  },
});

export const spinInMutation = mutation({
  handler: async (ctx     , { scope }     ) => {
    await ctx.db.insert("keyed", { scope });
    for (;;);
  },
});

export const hoard = query({
  handler: () => {
    const kept           = [];
    for (let at = 0; ; at++) kept.push(String.fromCharCode(65 + (at % 26)).repeat(1 << 20));
  },
});

export const recurse = query({
  handler: () => {
    const deeper = (n        )         => deeper(n + 1) + 1;
    return deeper(0);
  },
});
