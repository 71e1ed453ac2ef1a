import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  rows: defineTable({ stream: v.string(), seq: v.number(), text: v.string() }).index("by_stream_seq", ["stream", "seq"]),
});
