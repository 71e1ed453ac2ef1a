// `ctx.scheduler`: what is scheduled runs once and without an identity, exactly when its transaction commits.

import { anyApi, internalMutationGeneric as internalMutation, mutationGeneric as mutation, queryGeneric as query } from "convex/server";
import { v } from "convex/values";

const api = anyApi as any;

export const note = internalMutation({
  args: { scope: v.string(), seq: v.number() },
  handler: async (ctx: any, { scope, seq }: any) => {
    const identity = await ctx.auth.getUserIdentity();
    await ctx.db.insert("notes", { scope, seq, author: identity?.subject ?? "nobody" });
  },
});

export const noted = query({
  args: { scope: v.string() },
  handler: async (ctx: any, { scope }: any) => {
    const rows = await ctx.db.query("notes").withIndex("by_seq", (q: any) => q.eq("scope", scope)).collect();
    return rows.map((row: any) => [row.seq, row.author]);
  },
});

export const after = mutation({
  handler: async (ctx: any, { scope, seq, ms }: any) => typeof (await ctx.scheduler.runAfter(ms, api.jobs.note, { scope, seq })),
});

export const at = mutation({
  handler: async (ctx: any, { scope, seq, ms, date }: any) => {
    const time = Date.now() + ms;
    await ctx.scheduler.runAt(date ? new Date(time) : time, api.jobs.note, { scope, seq });
  },
});

/** The first is cancelled in the transaction that scheduled it, the second one runs. */
export const cancelAtOnce = mutation({
  handler: async (ctx: any, { scope }: any) => {
    const id = await ctx.scheduler.runAfter(0, api.jobs.note, { scope, seq: 1 });
    await ctx.scheduler.cancel(id);
    await ctx.scheduler.runAfter(20, api.jobs.note, { scope, seq: 2 });
  },
});

export const later = mutation({ handler: (ctx: any, { scope, seq, ms }: any) => ctx.scheduler.runAfter(ms, api.jobs.note, { scope, seq }) });

export const cancel = mutation({ handler: (ctx: any, { id }: any) => ctx.scheduler.cancel(id) });

/** A transaction that fails schedules nothing. */
export const scheduleAndFail = mutation({
  handler: async (ctx: any, { scope }: any) => {
    await ctx.scheduler.runAfter(0, api.jobs.note, { scope, seq: 1 });
    throw new Error("on purpose");
  },
});

/** One that runs and fails leaves nothing; the next one is not held up by it. */
export const failing = internalMutation({
  handler: async (ctx: any, { scope }: any) => {
    await ctx.db.insert("notes", { scope, seq: 0, author: "never seen" });
    throw new Error("in the job");
  },
});

export const failFirst = mutation({
  handler: async (ctx: any, { scope }: any) => {
    await ctx.scheduler.runAfter(0, api.jobs.failing, { scope });
    await ctx.scheduler.runAfter(5, api.jobs.note, { scope, seq: 1 });
  },
});

/** Schedules itself until it has counted down. */
export const countdown = internalMutation({
  handler: async (ctx: any, { scope, left }: any) => {
    await ctx.db.insert("notes", { scope, seq: left, author: "countdown" });
    if (left > 1) await ctx.scheduler.runAfter(0, api.jobs.countdown, { scope, left: left - 1 });
    else await ctx.scheduler.runAfter(0, api.jobs.done, { scope });
  },
});

export const done = internalMutation({
  handler: async (ctx: any, { scope }: any) => {
    const rows = await ctx.db.query("notes").withIndex("by_seq", (q: any) => q.eq("scope", scope)).collect();
    await ctx.db.insert("notes", { scope: `${scope} done`, seq: rows.length, author: "done" });
  },
});

export const startCountdown = mutation({ handler: (ctx: any, given: any) => ctx.scheduler.runAfter(0, api.jobs.countdown, given) });

export const negative = mutation({ handler: (ctx: any, { scope }: any) => ctx.scheduler.runAfter(-1, api.jobs.note, { scope, seq: 1 }) });

export const endless = mutation({ handler: (ctx: any, { scope }: any) => ctx.scheduler.runAfter(Infinity, api.jobs.note, { scope, seq: 1 }) });

export const inQuery = query({ handler: (ctx: any) => ctx.scheduler.runAfter(0, api.jobs.note, {}) });
