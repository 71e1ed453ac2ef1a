// Generated from convex/notices.ts by `npm run strip`: change that file, not this one.
// What an owner may want to be told: what waits for an answer, and which turns have just ended, how. For whoever tells it on
// the worker's machine, and for open pages. What is told, to whom and when is decided there.

import { v,            } from "convex/values";
import { LIST_NOTICES } from "./lib/limits";
import { findSession, requireOwner } from "./lib/owners";
import { query,                         } from "./lib/server";
import { requireCredential } from "./lib/tokens";
import { turnState } from "./lib/values";

const titled = { sessionId: v.string(), title: v.string() };

const lists = {
  /** Open requests, oldest first. */
  waiting: v.array(v.object({ ...titled, requestId: v.string(), kind: v.string(), askedAt: v.number() })),
  /** Turns that have ended, newest first; `createdAt` is when one was begun. */
  ended: v.array(
    v.object({ ...titled, turnId: v.string(), state: turnState, code: v.optional(v.string()), createdAt: v.number(), finishedAt: v.number() }),
  ),
};
const notices = v.object(lists);

/** Of one worker, for the installation that serves it. */
export const list = query({
  args: { token: v.string(), installId: v.string() },
  /** An installation that does not serve the worker is told so, and that nothing is its to tell: its lists say nothing. */
  returns: v.object({ served: v.boolean(), ...lists }),
  handler: async (ctx, { token, installId }) => {
    const { worker } = await requireCredential(ctx, token);
    // Another installation serves the worker, and tells.
    if (worker.installId !== installId || worker.state !== "approved") return { served: false, waiting: [], ended: [] };
    const { workerId } = worker;
    const requests = await ctx.db
      .query("permissions")
      .withIndex("by_worker", (q) => q.eq("workerId", workerId).eq("live", true))
      .take(LIST_NOTICES);
    const turns = await ctx.db
      .query("messages")
      .withIndex("by_worker_finished", (q) => q.eq("workerId", workerId).gt("finishedAt", 0))
      .order("desc")
      .take(LIST_NOTICES);
    return { served: true, ...(await shown(ctx, requests, turns)) };
  },
});

/** Of all of an owner's workers. */
export const recent = query({
  args: {},
  returns: notices,
  handler: async (ctx) => {
    const owner = await requireOwner(ctx);
    const requests = await ctx.db
      .query("permissions")
      .withIndex("by_owner", (q) => q.eq("owner", owner).eq("open", true))
      .take(LIST_NOTICES);
    const turns = await ctx.db
      .query("messages")
      .withIndex("by_owner_finished", (q) => q.eq("owner", owner).gt("finishedAt", 0))
      .order("desc")
      .take(LIST_NOTICES);
    return await shown(ctx, requests, turns);
  },
});

async function shown(ctx          , requests                      , turns                   )                                 {
  const titles = new Map                ();
  for (const sessionId of new Set([...requests, ...turns].map((row) => row.sessionId))) {
    titles.set(sessionId, (await findSession(ctx, sessionId))?.title ?? "");
  }
  const named = (sessionId        ) => ({ sessionId, title: titles.get(sessionId) ?? "" });
  return {
    waiting: requests
      .filter((row) => row.state === "open")
      .map((row) => ({ ...named(row.sessionId), requestId: row.requestId, kind: row.kind, askedAt: row.askedAt })),
    ended: turns.flatMap((row) =>
      row.state === undefined || row.finishedAt === undefined
        ? []
        : [
            {
              ...named(row.sessionId),
              turnId: row.messageId,
              state: row.state,
              ...(row.error === undefined ? {} : { code: row.error.code }),
              createdAt: row.claimedAt ?? row.createdAt,
              finishedAt: row.finishedAt,
            },
          ],
    ),
  };
}
