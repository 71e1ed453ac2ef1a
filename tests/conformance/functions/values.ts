// Values on the way in and out.

import { queryGeneric as query } from "convex/server";
import { v } from "convex/values";

/** Gives back what it got. */
export const echo = query({ args: { value: v.any() }, handler: (_ctx: any, { value }: any) => value });

/** What a function sees of a value. */
export const kind = query({
  args: { value: v.any() },
  handler: (_ctx: any, { value }: any) => {
    if (value instanceof ArrayBuffer) return `bytes ${[...new Uint8Array(value)].join(" ")}`;
    if (typeof value === "bigint") return `bigint ${value}`;
    if (Object.is(value, -0)) return "number -0";
    if (typeof value === "number") return `number ${value}`;
    return typeof value;
  },
});

const MADE: Record<string, () => unknown> = {
  undefined: () => undefined,
  "undefined field": () => ({ kept: 1, gone: undefined }),
  nothing: () => {},
  NaN: () => NaN,
  "-0": () => -0,
  infinities: () => [Infinity, -Infinity],
  bigint: () => 2n ** 62n,
  "large bigint": () => 2n ** 63n,
  bytes: () => new Uint8Array([1, 2, 255]).buffer,
  "proto field": () => JSON.parse('{"__proto__": 1, "a": 2}'),
  "null prototype": () => Object.assign(Object.create(null), { a: 1 }),
  date: () => new Date(0),
  map: () => new Map(),
  class: () => new (class Thing {})(),
  function: () => () => 1,
  symbol: () => Symbol("s"),
  "undefined in array": () => [undefined],
  "typed array": () => new Uint8Array([1]),
  "dollar field": () => ({ $bad: 1 }),
  "unicode field": () => ({ ключ: 1 }),
  "empty field": () => ({ "": 1 }),
  "lone surrogate": () => "\ud800",
  "whole numbers": () => [1, 2 ** 53, -(2 ** 53), 1e21, 0.1, 5e-324],
  text: () => "\u0000\u001f\"\\/é漢😀\u2028",
  nested: () => ({ a: [{ b: [null, true, "x", 1.5] }] }),
};

/** Returns a value that scenarios cannot write down. */
export const made = query({
  args: { name: v.string() },
  handler: (_ctx: any, { name }: any) => {
    const make = MADE[name];
    if (make === undefined) throw new Error(`no value is called ${name}`);
    return make() as any;
  },
});
