// Claiming: a supervisor takes a turn to run it. The first claim records the machine's boot and the assistant's store,
// because they decide later what a lookup in that store proves; a claim after a restart gets the recorded ones.

import type { Attachment } from "./attaching";
import { checkClaim } from "./jobs";
import { UNSETTLED_PER_CLAIM } from "./limits";
import { findMessage, findSession } from "./owners";
import { contentOf } from "./sending";
import type { Doc, MutationCtx } from "./server";
import { abandonedLimitMs } from "./settings";
import { nextIndex } from "./stream";
import { OTHER_STORE, closeTurn, openTurns, type Turn } from "./turns";
import type { Outcome } from "./values";

export type Claim =
  | {
      status: "claimed";
      sessionId: string;
      content: string;
      /** Without their bytes. */
      attachments?: Attachment[];
      model: string | null;
      agent: string | null;
      title: string;
      agentSessionId: string | null;
      abort: boolean;
      nextIndex: number;
      first: boolean;
      claimedBootId: string;
      /** Earlier turns of the session whose end is provisional and whose answers the claiming store may hold. */
      unsettled: { turnId: string; nextIndex: number }[];
    }
  | { status: "closed"; state: Outcome }
  | { status: "not_next" };

export async function claimTurn(ctx: MutationCtx, worker: Doc<"workers">, turn: Turn): Promise<Claim> {
  if (turn.state !== "queued" && turn.state !== "claimed") return { status: "closed", state: turn.state };
  const [oldest] = await openTurns(ctx, turn.sessionId, 1);
  if (oldest?.messageId !== turn.messageId) return { status: "not_next" };
  if (turn.state === "claimed" && turn.claimedStoreId !== worker.storeId) {
    await closeTurn(ctx, turn, OTHER_STORE);
    return { status: "closed", state: OTHER_STORE.state };
  }
  const first = turn.state === "queued";
  if (first) await recordClaim(ctx, worker, turn);
  const session = await findSession(ctx, turn.sessionId);
  const attachments = (await findMessage(ctx, turn.promptId))?.attachments;
  return {
    status: "claimed",
    sessionId: turn.sessionId,
    content: (await contentOf(ctx, turn.promptId)) ?? "",
    ...(attachments === undefined ? {} : { attachments }),
    model: turn.model ?? session?.model ?? null,
    agent: turn.agent ?? null,
    title: session?.title ?? "",
    agentSessionId: session?.agentSessionId ?? null,
    abort: turn.abortRequested === true,
    nextIndex: await nextIndex(ctx, turn.messageId),
    first,
    claimedBootId: (first ? worker.bootId : turn.claimedBootId) ?? "",
    unsettled: await unsettledTurns(ctx, worker, turn.sessionId),
  };
}

async function unsettledTurns(ctx: MutationCtx, worker: Doc<"workers">, sessionId: string) {
  if (worker.storeId === undefined) return [];
  const rows = await ctx.db
    .query("messages")
    .withIndex("by_session_provisional", (q) =>
      q.eq("sessionId", sessionId).eq("provisional", true).eq("claimedStoreId", worker.storeId),
    )
    .take(UNSETTLED_PER_CLAIM);
  return await Promise.all(
    rows.map(async (row) => ({ turnId: row.messageId, nextIndex: await nextIndex(ctx, row.messageId) })),
  );
}

async function recordClaim(ctx: MutationCtx, worker: Doc<"workers">, turn: Turn): Promise<void> {
  const { bootId, storeId } = worker;
  if (bootId === undefined || storeId === undefined) throw new Error(`worker ${worker.workerId} has an epoch but never connected`);
  await ctx.db.patch(turn._id, {
    state: "claimed",
    claimedAt: Date.now(),
    claimedBootId: bootId,
    claimedStoreId: storeId,
  });
  await ctx.scheduler.runAfter(abandonedLimitMs(), checkClaim, { turnId: turn.messageId });
}
