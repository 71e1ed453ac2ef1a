// Generated from convex/lib/presence.ts by `npm run strip`: change that file, not this one.
// Who is there. The beats go to a row of their own, which only `presence:list` shows to readers: a beat must wake
// nobody who watches workers, sessions or work.

import { PRESENCE_FRESH_MS } from "./limits";


export async function findPresence(ctx          , workerId        )                                  {
  return await ctx.db
    .query("presence")
    .withIndex("by_worker", (q) => q.eq("workerId", workerId))
    .unique();
}

/** Notes that the worker's supervisor of this epoch is there now. */
export async function markPresent(ctx             , worker                , epoch        )                {
  const beat = { epoch, lastBeat: Date.now(), disconnected: false };
  const row = await findPresence(ctx, worker.workerId);
  if (row) await ctx.db.patch(row._id, beat);
  else await ctx.db.insert("presence", { workerId: worker.workerId, owner: worker.owner, ...beat });
}

/** Whether the supervisor of this epoch is there, as far as its beats tell. */
export function isFresh(row                        , epoch        )          {
  return row !== null && row.epoch === epoch && !row.disconnected && Date.now() - row.lastBeat < PRESENCE_FRESH_MS;
}
