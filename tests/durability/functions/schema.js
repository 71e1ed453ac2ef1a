import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  entries: defineTable({ key: v.string() }).index("by_key", ["key"]),
  runs: defineTable({ key: v.string() }).index("by_key", ["key"]),
  counters: defineTable({ name: v.string(), count: v.number() }).index("by_name", ["name"]),
});
