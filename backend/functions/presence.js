// Generated from convex/presence.ts by `npm run strip`: change that file, not this one.
// Presence: a beat every 10 s from each supervisor, and the only list that shows them. Whether a worker is offline is
// judged by the reader from `lastBeat` (35 s), because a query does not run again when time passes.

import { v } from "convex/values";
import { LIST_WORKERS } from "./lib/limits";
import { requireOwner } from "./lib/owners";
import { markPresent } from "./lib/presence";
import { mutation, query } from "./lib/server";
import { requireEpoch } from "./lib/tokens";

export const beat = mutation({
  args: { token: v.string(), epoch: v.number() },
  returns: v.null(),
  handler: async (ctx, { token, epoch }) => {
    const worker = await requireEpoch(ctx, token, epoch);
    await markPresent(ctx, worker, epoch);
    return null;
  },
});

export const list = query({
  args: {},
  returns: v.array(v.object({ workerId: v.string(), lastBeat: v.number(), disconnected: v.boolean() })),
  handler: async (ctx) => {
    const owner = await requireOwner(ctx);
    const rows = await ctx.db
      .query("presence")
      .withIndex("by_owner", (q) => q.eq("owner", owner))
      .take(LIST_WORKERS);
    return rows.map(({ workerId, lastBeat, disconnected }) => ({ workerId, lastBeat, disconnected }));
  },
});
