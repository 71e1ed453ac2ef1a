// What a function can throw.

import { mutationGeneric as mutation, queryGeneric as query } from "convex/server";
import { ConvexError, v } from "convex/values";

/** ConvexErrors with data of any shape. */
export const refuse = query({
  args: { data: v.any() },
  handler: (_ctx: any, { data }: any) => {
    throw new ConvexError(data);
  },
});

export const refuseInMutation = mutation({
  args: { data: v.any(), scope: v.optional(v.string()) },
  handler: async (ctx: any, { data, scope }: any) => {
    if (scope !== undefined) await ctx.db.insert("notes", { scope, author: "never seen", seq: 1 });
    throw new ConvexError(data);
  },
});

const DATA: Record<string, () => unknown> = {
  undefined: () => undefined,
  NaN: () => NaN,
  bigint: () => 7n,
  bytes: () => new Uint8Array([1, 2]).buffer,
  "undefined field": () => ({ kept: 1, gone: undefined }),
};

/** Data that scenarios cannot write down. */
export const refuseMade = query({
  args: { name: v.string() },
  handler: (_ctx: any, { name }: any) => {
    throw new ConvexError(DATA[name]!() as any);
  },
});

class Refusal extends ConvexError<string> {
  override name = "Refusal";
}

class Mishap extends Error {
  override name = "Mishap";
}

const THROWN: Record<string, () => unknown> = {
  error: () => new Error("went wrong"),
  "type error": () => new TypeError("not a thing"),
  "own class": () => new Mishap("of its own"),
  "own ConvexError": () => new Refusal("held"),
  "no message": () => new Error(),
  "two lines": () => new Error("first\nsecond"),
  text: () => "plain text",
  number: () => 42,
};

export const fail = query({
  args: { name: v.string() },
  handler: (_ctx: any, { name }: any) => {
    throw THROWN[name]!();
  },
});

export const mistake = query({ handler: (_ctx: any, given: any) => given.missing.deeper });

/** A promise that nobody awaited. */
export const rejectLater = query({ handler: async () => await Promise.reject(new Error("later")) });
