// Generated from tests/conformance/functions/schema.ts by `npm run strip`: change that file, not this one.
// The product's tables beside those of the test modules, so that one deployment serves the scenarios of both.

import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import product from "./product";

export default defineSchema({
  ...product.tables,

  /** Rows under keys of every type. `scope` keeps scenarios apart. */
  keyed: defineTable({ scope: v.string(), key: v.optional(v.any()), then: v.optional(v.any()), label: v.optional(v.string()) })
    .index("by_key", ["scope", "key"])
    .index("by_key_then", ["scope", "key", "then"])
    .index("by_nested", ["scope", "key.inner"]),

  /** Rows that a validator looks at. */
  notes: defineTable({
    scope: v.string(),
    author: v.string(),
    seq: v.number(),
    tags: v.optional(v.array(v.string())),
    mood: v.optional(v.union(v.literal("good"), v.literal("bad"), v.null())),
    about: v.optional(v.id("notes")),
    extra: v.optional(v.object({ a: v.number(), b: v.optional(v.boolean()) })),
    counts: v.optional(v.record(v.string(), v.number())),
  }).index("by_seq", ["scope", "seq"]),

  /** Rows of one of two shapes. */
  shapes: defineTable(
    v.union(
      v.object({ kind: v.literal("circle"), radius: v.number() }),
      v.object({ kind: v.literal("square"), side: v.number() }),
    ),
  ),
});
