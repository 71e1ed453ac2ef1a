// Generated from tests/conformance/functions/nested.ts by `npm run strip`: change that file, not this one.
// `ctx.runQuery` and `ctx.runMutation`: the same transaction; a nested mutation that fails is undone alone.

import { anyApi, internalMutationGeneric as internalMutation, internalQueryGeneric as internalQuery } from "convex/server";
import { makeFunctionReference, mutationGeneric as mutation, queryGeneric as query } from "convex/server";
import { ConvexError, v } from "convex/values";

export const add = internalMutation({
  args: { scope: v.string(), seq: v.number(), fail: v.optional(v.any()) },
  returns: v.number(),
  handler: async (ctx     , { scope, seq, fail }     ) => {
    await ctx.db.insert("notes", { scope, author: "nested", seq });
    if (fail !== undefined) throw new ConvexError(fail);
    return seq * 10;
  },
});

export const seqs = internalQuery({
  args: { scope: v.string() },
  returns: v.array(v.number()),
  handler: async (ctx     , { scope }     ) =>
    (await ctx.db.query("notes").withIndex("by_seq", (q     ) => q.eq("scope", scope)).collect()).map((row     ) => row.seq),
});

export const who = internalQuery({ handler: async (ctx     ) => (await ctx.auth.getUserIdentity())?.subject ?? null });

const api = anyApi       ;

export const read = query({ handler: (ctx     , { scope }     ) => ctx.runQuery(api.nested.seqs, { scope }) });

export const write = mutation({
  handler: async (ctx     , { scope }     ) => {
    const given = await ctx.runMutation(makeFunctionReference            ("nested:add"), { scope, seq: 1 });
    return [given, await ctx.runQuery(api.nested.seqs, { scope })];
  },
});

/** The middle one fails and is caught: the others stay. */
export const survive = mutation({
  handler: async (ctx     , { scope }     ) => {
    await ctx.runMutation(api.nested.add, { scope, seq: 1 });
    let caught = null;
    try {
      await ctx.runMutation(api.nested.add, { scope, seq: 2, fail: { code: "held", list: [1] } });
    } catch (error) {
      caught = error instanceof ConvexError ? error.data : String(error);
    }
    await ctx.runMutation(api.nested.add, { scope, seq: 3 });
    return [caught, await ctx.runQuery(api.nested.seqs, { scope })];
  },
});

/** Not caught: nothing stays. */
export const fall = mutation({
  handler: async (ctx     , { scope }     ) => {
    await ctx.runMutation(api.nested.add, { scope, seq: 1 });
    await ctx.runMutation(api.nested.add, { scope, seq: 2, fail: "all of it" });
  },
});

/** Arguments of a nested call are validated, too. */
export const mistaken = mutation({ handler: (ctx     , { scope }     ) => ctx.runMutation(api.nested.add, { scope, seq: "one" }) });

export const unknown = mutation({ handler: (ctx     ) => ctx.runMutation(api.nested.nowhere, {}) });

export const identity = query({ handler: (ctx     ) => ctx.runQuery(api.nested.who, {}) });

export const parallel = mutation({
  handler: async (ctx     , { scope }     ) => {
    const given = await Promise.all([5, 4].map((seq) => ctx.runMutation(api.nested.add, { scope, seq })));
    return [given, await ctx.runQuery(api.nested.seqs, { scope })];
  },
});

export const mutationInQuery = query({ handler: (ctx     , { scope }     ) => ctx.runMutation(api.nested.add, { scope, seq: 1 }) });
