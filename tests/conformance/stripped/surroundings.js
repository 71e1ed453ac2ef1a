// Generated from tests/conformance/functions/surroundings.ts by `npm run strip`: change that file, not this one.
// What a function finds around it: identity, time, chance, digests, text, the log.

import { internalQueryGeneric as internalQuery, mutationGeneric as mutation, queryGeneric as query } from "convex/server";
import { v } from "convex/values";

export const identity = query({
  handler: async (ctx     ) => {
    const found = await ctx.auth.getUserIdentity();
    return found === null ? null : [found.issuer, found.subject, found.tokenIdentifier];
  },
});

export const identityInMutation = mutation({ handler: async (ctx     ) => (await ctx.auth.getUserIdentity())?.subject ?? null });

export const hidden = internalQuery({ handler: () => "internal" });

/** Time stands still during a call. */
export const time = query({
  handler: () => {
    const start = Date.now();
    let spin = 0;
    while (spin < 2e6) spin += 1;
    const plausible = start > 1.7e12 && start < 4e12;
    return [Date.now() - start, new Date().getTime() - start, plausible, new Date(86_400_000).toISOString()];
  },
});

export const chance = query({
  handler: () => {
    const drawn = Array.from({ length: 50 }, () => Math.random());
    const inside = drawn.every((number) => number >= 0 && number < 1);
    return [inside, new Set(drawn).size];
  },
});

export const randomBytes = query({
  handler: () => {
    const array = new Uint8Array(64);
    const same = crypto.getRandomValues(array) === array;
    const other = crypto.getRandomValues(new Uint32Array(4));
    return [same, array.some((byte) => byte !== 0), other.length, /^[0-9a-f-]{36}$/.test(crypto.randomUUID())];
  },
});

export const tooManyRandomBytes = query({ handler: () => crypto.getRandomValues(new Uint8Array(65_537)).length });

const hex = (buffer             ) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

export const digest = query({
  args: { text: v.string() },
  handler: async (_ctx     , { text }     ) => {
    const data = new TextEncoder().encode(text);
    const digests = ["SHA-1", "SHA-256", "SHA-384", { name: "sha-512" }].map((name) => crypto.subtle.digest(name, data));
    return (await Promise.all(digests)).map(hex);
  },
});

export const text = query({
  args: { text: v.string() },
  handler: (_ctx     , { text }     ) => {
    const encoded = new TextEncoder().encode(text);
    return [Array.from(encoded), new TextDecoder().decode(encoded) === text, [...text].length, text.normalize("NFD").length];
  },
});

export const base64 = query({ handler: () => [btoa("\u0000\u00ffabc"), atob("AP9hYmM=").length, atob(btoa("plain"))] });

export const language = query({
  handler: async () => {
    const collected           = [];
    async function* count() {
      yield 1;
      yield 2;
    }
    for await (const one of count()) collected.push(one);
    const settled = await Promise.allSettled([Promise.resolve(1), Promise.reject(new Error("no"))]);
    return [
      collected,
      settled.map((one) => one.status),
      structuredCloneLike({ a: [1, { b: 2 }] }),
      ([3, 1, 2]       ).toSorted(),
      "abc".at(-1) ?? null,
      Object.fromEntries(new Map([["k", 1]])),
      /(?<year>\d{4})/u.exec("in 2024")?.groups?.year ?? null,
      ([1, 2, 3, 4]       ).findLast((n        ) => n % 2 === 1) ?? null,
      JSON.stringify({ b: 1, a: [undefined, NaN] }),
    ];
  },
});

const structuredCloneLike =    (value   )    => JSON.parse(JSON.stringify(value));

/** Lines of the call's log. */
export const speak = query({
  handler: () => {
    console.log("text", 1, true, null, { a: [1, "x"] });
    console.warn("careful");
    console.error("bad");
    console.debug("detail");
    console.info("by the way");
    return "spoken";
  },
});

export const speakAndFail = mutation({
  handler: () => {
    console.log("before");
    throw new Error("after the line");
  },
});
