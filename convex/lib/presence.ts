// Who is there. The beats go to a row of their own, which only `presence:list` shows to readers: a beat must wake
// nobody who watches workers, sessions or work.

import { PRESENCE_FRESH_MS } from "./limits";
import type { Doc, MutationCtx, QueryCtx } from "./server";

export async function findPresence(ctx: QueryCtx, workerId: string): Promise<Doc<"presence"> | null> {
  return await ctx.db
    .query("presence")
    .withIndex("by_worker", (q) => q.eq("workerId", workerId))
    .unique();
}

/** Notes that the worker's supervisor of this epoch is there now. */
export async function markPresent(ctx: MutationCtx, worker: Doc<"workers">, epoch: number): Promise<void> {
  const beat = { epoch, lastBeat: Date.now(), disconnected: false };
  const row = await findPresence(ctx, worker.workerId);
  if (row) await ctx.db.patch(row._id, beat);
  else await ctx.db.insert("presence", { workerId: worker.workerId, owner: worker.owner, ...beat });
}

/** Whether the supervisor of this epoch is there, as far as its beats tell. */
export function isFresh(row: Doc<"presence"> | null, epoch: number): boolean {
  return row !== null && row.epoch === epoch && !row.disconnected && Date.now() - row.lastBeat < PRESENCE_FRESH_MS;
}
