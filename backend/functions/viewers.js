// Generated from convex/viewers.ts by `npm run strip`: change that file, not this one.
// Who is looking at a session right now, so that nobody is told what is in front of them. A row is worth something for a
// moment only, by this deployment's clock; pages and terminals write it again while they look. No query that others subscribe
// to reads it.

import { v } from "convex/values";
import { LIVE_VIEWERS, VIEWER_TTL_MS, checkId } from "./lib/limits";
import { findSession, ownedSession, requireOwner } from "./lib/owners";
import { mutation, query,               } from "./lib/server";
import { requireCredential } from "./lib/tokens";

/** The viewer (an open page, a terminal) looks at this session; without one, at none. */
export const look = mutation({
  args: { viewerId: v.string(), sessionId: v.optional(v.string()) },
  returns: v.null(),
  handler: async (ctx, { viewerId, sessionId }) => {
    const owner = await requireOwner(ctx);
    checkId("viewerId", viewerId);
    if (sessionId !== undefined) await ownedSession(ctx, owner, sessionId);
    const now = Date.now();
    const rows = await ctx.db
      .query("viewers")
      .withIndex("by_owner", (q) => q.eq("owner", owner))
      .take(LIVE_VIEWERS);
    const known = rows.find((row) => row.viewerId === viewerId);
    for (const row of rows) {
      if (row !== known && row.until <= now) await ctx.db.delete(row._id);
    }
    if (sessionId === undefined) {
      if (known) await ctx.db.delete(known._id);
    } else if (known) {
      await ctx.db.patch(known._id, { sessionId, until: now + VIEWER_TTL_MS });
    } else if (rows.filter((row) => row.until > now).length < LIVE_VIEWERS) {
      // Beyond the bound somebody is told of what they see: no harm.
      await ctx.db.insert("viewers", { owner, viewerId, sessionId, until: now + VIEWER_TTL_MS });
    }
    return null;
  },
});

/** Whether somebody looks at a session of the worker. */
export const looking = query({
  args: { token: v.string(), sessionId: v.string() },
  returns: v.boolean(),
  handler: async (ctx, { token, sessionId }) => {
    const { worker } = await requireCredential(ctx, token);
    const session = await findSession(ctx, sessionId);
    return session?.workerId === worker.workerId && (await isLookedAt(ctx, sessionId));
  },
});

/** The same of a session of the owner's. */
export const watched = query({
  args: { sessionId: v.string() },
  returns: v.boolean(),
  handler: async (ctx, { sessionId }) => {
    await ownedSession(ctx, await requireOwner(ctx), sessionId);
    return await isLookedAt(ctx, sessionId);
  },
});

async function isLookedAt(ctx          , sessionId        )                   {
  const rows = await ctx.db
    .query("viewers")
    .withIndex("by_session", (q) => q.eq("sessionId", sessionId).gt("until", Date.now()))
    .take(1);
  return rows.length > 0;
}
