// Generated from convex/lib/connection.ts by `npm run strip`: change that file, not this one.
// How a supervisor takes a worker's token. An install is one state folder on one machine, a start one process of it.
// The same start keeps its epoch, a new start of the same install takes over at once (the one before is dead: the
// install's own lock says so), and another install only when nobody holds the token or its user insists.

import { endLeftBehind, endRuns } from "./commanding";
import { refusal } from "./errors";
import { SECOND } from "./limits";
import { findPresence, isFresh, markPresent } from "./presence";

import { OTHER_STORE, closeTurn, oldestOpenTurns } from "./turns";










/** The epoch under which the supervisor serves from now on. */
export async function takeConnection(
  ctx             ,
  worker                ,
  supervisor            ,
  takeOver         ,
)                  {
  if (worker.installId === supervisor.installId && worker.startId === supervisor.startId) {
    // Its store was lost while it runs, and it has another one now.
    if (worker.storeId !== supervisor.storeId) {
      await ctx.db.patch(worker._id, { storeId: supervisor.storeId });
      await closeClaimsOfOtherStores(ctx, worker.workerId, supervisor.storeId);
    }
    await markPresent(ctx, worker, worker.epoch);
    return worker.epoch;
  }
  if (worker.installId !== undefined && worker.installId !== supervisor.installId && !takeOver) {
    await refuseWhileHeld(ctx, worker);
  }
  const epoch = worker.epoch + 1;
  await ctx.db.patch(worker._id, { ...supervisor, epoch, connectedAt: Date.now() });
  await markPresent(ctx, worker, epoch);
  await closeClaimsOfOtherStores(ctx, worker.workerId, supervisor.storeId);
  await endLeftBehind(ctx, worker, epoch);
  await endRuns(ctx, worker, "the supervisor that ran it ended");
  return epoch;
}

async function refuseWhileHeld(ctx             , worker                )                {
  const presence = await findPresence(ctx, worker.workerId);
  if (!presence || !isFresh(presence, worker.epoch)) return;
  const seconds = Math.max(0, Math.round((Date.now() - presence.lastBeat) / SECOND));
  throw refusal(
    "held",
    `worker ${worker.workerId} is served by another installation, seen ${seconds} s ago`,
  );
}

/** What another store has begun cannot be looked up in this one: the truth about those turns is elsewhere. */
async function closeClaimsOfOtherStores(ctx             , workerId        , storeId        )                {
  // Only a session's oldest open turn can be claimed.
  for (const turn of await oldestOpenTurns(ctx, workerId)) {
    if (turn.state === "claimed" && turn.claimedStoreId !== storeId) await closeTurn(ctx, turn, OTHER_STORE);
  }
}
