// Finishing: one transaction stores what is left of a turn's stream and closes it. The first finish stays. What the
// deployment closed on its own is only provisional: an answer from the store that claimed the turn replaces it.

import { refusal } from "./errors";
import { foldClosedTurn } from "./fold";
import { FINISH_BYTES, ITEMS_PER_CALL, cut, exceeds } from "./limits";
import { findSession } from "./owners";
import type { Doc, MutationCtx } from "./server";
import { appendItems } from "./stream";
import { takesAnswer, type Turn } from "./turns";
import type { Item, Outcome, TurnError } from "./values";

export interface Ending {
  outcome: Outcome;
  error?: TurnError | undefined;
  usage?: Doc<"messages">["usage"];
}

export type Finished = { status: "closed" } | { status: "already"; state: Outcome };

export async function finishTurn(
  ctx: MutationCtx,
  worker: Doc<"workers">,
  turn: Turn,
  ending: Ending,
  items: Item[],
): Promise<Finished> {
  if (turn.state !== "queued" && turn.state !== "claimed" && !takesAnswer(turn, worker)) {
    return { status: "already", state: turn.state };
  }
  // A turn that was claimed under another store is settled when its claim or the connection is looked at.
  await storeRest(ctx, turn, items);
  const now = Date.now();
  const { outcome, error, usage } = ending;
  await ctx.db.patch(turn._id, {
    state: outcome,
    open: false,
    finishedAt: now,
    // Undefined removes the field: what a provisional close left there does not survive the answer.
    error: error && { code: cut(error.code), message: cut(error.message) },
    usage,
    provisional: undefined,
  });
  await foldClosedTurn(ctx, turn);
  const session = await findSession(ctx, turn.sessionId);
  if (session) await ctx.db.patch(session._id, { lastActivityAt: now });
  return { status: "closed" };
}

async function storeRest(ctx: MutationCtx, turn: Turn, items: Item[]): Promise<void> {
  const contents = items.map((item) => item.content);
  if (items.length > ITEMS_PER_CALL || exceeds(contents, FINISH_BYTES)) {
    throw refusal(
      "too_large",
      `a finish can carry ${ITEMS_PER_CALL} items and ${FINISH_BYTES} bytes: send what comes before with chunks:append`,
    );
  }
  const appended = await appendItems(ctx, turn.messageId, items);
  if (appended.status === "invalid") throw refusal("invalid", appended.message);
}
