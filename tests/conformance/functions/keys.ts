// The order of index keys of every type. Scenarios name the values, because JSON has no word for some of them.

import { mutationGeneric as mutation, queryGeneric as query } from "convex/server";

const bytes = (...values: number[]) => new Uint8Array(values).buffer;

const VALUES: Record<string, () => unknown> = {
  undefined: () => undefined,
  null: () => null,
  "int -1": () => -1n,
  "int 0": () => 0n,
  "int 2^60": () => 2n ** 60n,
  "-inf": () => -Infinity,
  "-1.5": () => -1.5,
  "-0": () => -0,
  "0": () => 0,
  tiny: () => Number.MIN_VALUE,
  "1": () => 1,
  "2": () => 2,
  "10": () => 10,
  "1e300": () => 1e300,
  inf: () => Infinity,
  NaN: () => NaN,
  false: () => false,
  true: () => true,
  "text ''": () => "",
  "text NUL": () => "\u0000",
  "text NUL a": () => "\u0000a",
  "text A": () => "A",
  "text a": () => "a",
  "text aa": () => "aa",
  "text b": () => "b",
  "text é": () => "é",
  "text 漢": () => "漢",
  "text U+FFFF": () => "\uffff",
  "text emoji": () => "😀",
  "bytes ''": () => bytes(),
  "bytes 0": () => bytes(0),
  "bytes 1 2": () => bytes(1, 2),
  "bytes 255": () => bytes(255),
  "[]": () => [],
  "[null]": () => [null],
  "[1]": () => [1],
  "[1,2]": () => [1, 2],
  "[2]": () => [2],
  "['a']": () => ["a"],
  "{}": () => ({}),
  "{a:1}": () => ({ a: 1 }),
  "{a:1,b:0}": () => ({ b: 0, a: 1 }),
  "{a:2}": () => ({ a: 2 }),
  "{b:0}": () => ({ b: 0 }),
};

function valueOf(label: string): any {
  const make = VALUES[label];
  if (make === undefined) throw new Error(`no value is called ${label}`);
  return make();
}

export const fill = mutation({
  handler: async (ctx: any, { scope, labels }: any) => {
    for (const label of labels) await ctx.db.insert("keyed", { scope, label, key: valueOf(label) });
  },
});

/** Two keys each: labels come in pairs. */
export const fillPairs = mutation({
  handler: async (ctx: any, { scope, pairs }: any) => {
    for (const [key, then] of pairs) {
      await ctx.db.insert("keyed", { scope, label: `${key} | ${then}`, key: valueOf(key), then: valueOf(then) });
    }
  },
});

export const ordered = query({
  handler: async (ctx: any, { scope, order, index }: any) => {
    const rows = ctx.db.query("keyed").withIndex(index ?? "by_key", (q: any) => q.eq("scope", scope));
    return (await rows.order(order ?? "asc").collect()).map((row: any) => row.label);
  },
});

/** `steps` are [op, label] on the key. */
export const between = query({
  handler: async (ctx: any, { scope, steps, order }: any) => {
    const rows = ctx.db
      .query("keyed")
      .withIndex("by_key", (q: any) => steps.reduce((q: any, [op, label]: any) => q[op]("key", valueOf(label)), q.eq("scope", scope)));
    return (await rows.order(order ?? "asc").collect()).map((row: any) => row.label);
  },
});

/** A field inside of an object as a key; a row without it sorts as undefined. */
export const fillNested = mutation({
  handler: async (ctx: any, { scope, keys }: any) => {
    for (const key of keys) await ctx.db.insert("keyed", { scope, label: JSON.stringify(key), key });
  },
});

/** Comes back as it was stored. */
export const stored = mutation({
  handler: async (ctx: any, { scope, label }: any) => {
    const id = await ctx.db.insert("keyed", { scope, label, key: valueOf(label) });
    const row = await ctx.db.get(id);
    return "key" in row ? [row.key] : [];
  },
});
