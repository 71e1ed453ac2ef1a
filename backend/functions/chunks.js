// Generated from convex/chunks.ts by `npm run strip`: change that file, not this one.
// Chunks: the streamed content of turns. Appending reads the token's worker, the turn and its last chunk, and writes
// chunk rows only; readers subscribe to windows of 32 indexes, so that only the last window is ever sent again.

import { v,            } from "convex/values";
import { refusal } from "./lib/errors";
import { dropNextPage, foldNextPage } from "./lib/fold";
import { APPEND_BYTES, ITEMS_PER_CALL, WINDOW, checkIndex, exceeds } from "./lib/limits";
import { findMessage, ownedTurn, requireOwner } from "./lib/owners";
import { internalMutation, mutation, query,                  } from "./lib/server";
import { appendItems, nextIndex } from "./lib/stream";
import { checkToken, isPresentEpoch,                   } from "./lib/tokens";
import { asTurn, isOpen, takesAnswer } from "./lib/turns";
import { item, turnState } from "./lib/values";

const batch = v.object({ token: v.string(), epoch: v.number(), turn: v.string(), items: v.array(item) });
const result = v.object({
  turn: v.string(),
  status: v.union(
    v.literal("ok"),
    v.literal("closed"),
    v.literal("displaced"),
    v.literal("unauthorized"),
    v.literal("revoked"),
    v.literal("unknown"),
    v.literal("invalid"),
  ),
  nextIndex: v.number(),
  message: v.optional(v.string()),
});




/** Appends to the streams of several turns at once. What is wrong with one batch is its result, and no other's. */
export const append = mutation({
  args: { batches: v.array(batch) },
  returns: v.object({ results: v.array(result) }),
  handler: async (ctx, { batches }) => {
    checkSize(batches);
    const verdicts = new Map                      ();
    const results           = [];
    for (const batch of batches) {
      const verdict = verdicts.get(batch.token) ?? (await checkToken(ctx, batch.token));
      verdicts.set(batch.token, verdict);
      results.push({ turn: batch.turn, ...(await appendBatch(ctx, verdict, batch)) });
    }
    return { results };
  },
});

/** One window of a turn's chunks. A full window never changes again until the turn is folded. */
export const page = query({
  args: { turnId: v.string(), from: v.number() },
  returns: v.object({ items: v.array(item), state: turnState, folded: v.boolean() }),
  handler: async (ctx, { turnId, from }) => {
    const turn = await ownedTurn(ctx, await requireOwner(ctx), turnId);
    checkIndex("from", from);
    if (from % WINDOW !== 0) throw refusal("invalid", `from must be a multiple of ${WINDOW}`);
    const rows = await ctx.db
      .query("chunks")
      .withIndex("by_turn", (q) => q.eq("turnId", turnId).gte("index", from).lt("index", from + WINDOW))
      .take(WINDOW);
    const items = rows.map(({ index, timestamp, partId, kind, content }) => ({ index, timestamp, partId, kind, content }));
    return { items, state: turn.state, folded: turn.folded === true };
  },
});

/** The next page of folding a long turn into its parts. */
export const fold = internalMutation({
  args: { turnId: v.string() },
  returns: v.null(),
  handler: async (ctx, { turnId }) => {
    const turn = asTurn(await findMessage(ctx, turnId));
    if (turn && !isOpen(turn.state) && !turn.provisional && !turn.folded) await foldNextPage(ctx, turn);
    return null;
  },
});

/** The next page of deleting a folded turn's chunks. */
export const drop = internalMutation({
  args: { turnId: v.string() },
  returns: v.null(),
  handler: async (ctx, { turnId }) => {
    const turn = asTurn(await findMessage(ctx, turnId));
    if (turn?.folded) await dropNextPage(ctx, turnId);
    return null;
  },
});

function checkSize(batches         )       {
  const contents = batches.flatMap((batch) => batch.items.map((item) => item.content));
  if (contents.length > ITEMS_PER_CALL || batches.length > ITEMS_PER_CALL || exceeds(contents, APPEND_BYTES)) {
    throw refusal("too_large", `one append can carry ${ITEMS_PER_CALL} items and ${APPEND_BYTES} bytes: send it in halves`);
  }
}

async function appendBatch(ctx             , verdict              , batch       )                                {
  // The turns of a worker that was removed are closed.
  if (verdict.status === "removed") return refused("closed", verdict.message);
  if (verdict.status !== "ok") return refused(verdict.status, verdict.message);
  const { worker } = verdict;
  if (!isPresentEpoch(worker, batch.epoch)) return refused("displaced", "another supervisor serves the worker now");
  const turn = asTurn(await findMessage(ctx, batch.turn));
  if (!turn || turn.workerId !== worker.workerId) return refused("unknown", "the worker has no such turn");
  if (turn.state === "queued") return refused("invalid", "the turn is not claimed: claim it first");
  if (!takesAnswer(turn, worker)) {
    const end = await nextIndex(ctx, batch.turn);
    return { status: "closed", nextIndex: end, message: `the turn is closed as ${turn.state}` };
  }
  return await appendItems(ctx, batch.turn, batch.items);
}

function refused(status                  , message        )                       {
  return { status, nextIndex: 0, message };
}
