// Generated from tests/conformance/functions/checked.ts by `npm run strip`: change that file, not this one.
// Validators of arguments, results and documents.

import { mutationGeneric as mutation, queryGeneric as query } from "convex/server";
import { v } from "convex/values";

const args = {
  text: v.string(),
  count: v.optional(v.number()),
  flag: v.optional(v.boolean()),
  nothing: v.optional(v.null()),
  list: v.optional(v.array(v.number())),
  object: v.optional(v.object({ a: v.number(), b: v.optional(v.string()) })),
  either: v.optional(v.union(v.literal("on"), v.literal("off"), v.literal(3))),
  record: v.optional(v.record(v.string(), v.boolean())),
  big: v.optional(v.int64()),
  bytes: v.optional(v.bytes()),
  note: v.optional(v.id("notes")),
};

export const take = query({ args, returns: v.array(v.string()), handler: (_ctx     , given     ) => Object.keys(given).sort() });

export const none = query({ args: {}, handler: () => "called" });

export const unchecked = query({ handler: (_ctx     , given     ) => given });

export const whole = query({
  args: v.union(v.object({ a: v.number() }), v.object({ b: v.string() })),
  handler: (_ctx     , given     ) => given,
});

/** Returns what it is told to, against a validator. */
export const give = query({
  args: { value: v.any() },
  returns: v.object({ name: v.string(), count: v.optional(v.number()) }),
  handler: (_ctx     , { value }     ) => value,
});

export const giveNull = query({ args: { value: v.any() }, returns: v.null(), handler: (_ctx     , { value }     ) => value });

/** A result that is refused undoes the mutation. */
export const writeAndGive = mutation({
  args: { scope: v.string(), value: v.any() },
  returns: v.null(),
  handler: async (ctx     , { scope, value }     ) => {
    await ctx.db.insert("notes", { scope, author: "w", seq: 1 });
    return value;
  },
});
