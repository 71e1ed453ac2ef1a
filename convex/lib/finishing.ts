// Finishing: one transaction stores what is left of a turn's stream and closes it. The first finish stays. What was
// closed without asking the store that claimed the turn, by the deployment or by a supervisor that says so, is only
// provisional: an answer from that store replaces it.

import { continueTurn } from "./continuing";
import { refusal } from "./errors";
import { foldClosedTurn } from "./fold";
import { FINISH_BYTES, ITEMS_PER_CALL, cut, exceeds } from "./limits";
import { findSession } from "./owners";
import { withdrawRequests } from "./permitting";
import type { Doc, MutationCtx } from "./server";
import { appendItems } from "./stream";
import { takesAnswer, type Turn } from "./turns";
import type { Following, Item, Outcome, TurnError } from "./values";

export interface Ending {
  outcome: Outcome;
  error?: TurnError | undefined;
  usage?: Doc<"messages">["usage"];
  then?: Following | undefined;
}

export type Finished = { status: "closed" } | { status: "already"; state: Outcome };

export async function finishTurn(
  ctx: MutationCtx,
  worker: Doc<"workers">,
  turn: Turn,
  ending: Ending,
  items: Item[],
): Promise<Finished> {
  const provisional = ending.then === "provisional" && turn.state === "claimed";
  const isOpen = turn.open === true;
  if (turn.state !== "queued" && turn.state !== "claimed" && (ending.then === "provisional" || !takesAnswer(turn, worker))) {
    return { status: "already", state: turn.state };
  }
  // A turn that was claimed under another store is settled when its claim or the connection is looked at.
  await storeRest(ctx, turn, items);
  await withdrawRequests(ctx, turn.messageId);
  const now = Date.now();
  const { outcome, usage } = ending;
  // What its owner stopped stays stopped; only a whole answer says more than that.
  const staysAborted = turn.state === "aborted" && outcome !== "complete";
  const error = staysAborted ? turn.error : ending.error;
  await ctx.db.patch(turn._id, {
    state: staysAborted ? "aborted" : outcome,
    open: false,
    finishedAt: now,
    // Undefined removes the field: what a provisional close left there does not survive the answer.
    error: error && { code: cut(error.code), message: cut(error.message) },
    usage,
    provisional: provisional ? true : undefined,
  });
  // The chunks of a provisional end stay as they are, so that the answer can go on after them.
  if (!provisional) await foldClosedTurn(ctx, turn);
  const session = await findSession(ctx, turn.sessionId);
  if (session) {
    const sum = summed(session.usage, turn.usage, usage);
    await ctx.db.patch(session._id, { lastActivityAt: now, ...(sum === undefined ? {} : { usage: sum }) });
  }
  const goesOn = ending.then === "continue" && outcome === "interrupted" && isOpen;
  if (goesOn && session) await continueTurn(ctx, session, turn);
  return { status: "closed" };
}

type Usage = Doc<"messages">["usage"];

/** The session's sum with this end's usage in it, and without that of the provisional end which it replaces. */
function summed(sum: Usage, replaced: Usage, usage: Usage): Usage {
  if (replaced === undefined && usage === undefined) return undefined;
  const added = (field: keyof NonNullable<Usage>) =>
    Math.max(0, (sum?.[field] ?? 0) - (replaced?.[field] ?? 0) + (usage?.[field] ?? 0));
  return {
    inputTokens: added("inputTokens"),
    outputTokens: added("outputTokens"),
    reasoningTokens: added("reasoningTokens"),
    cacheReadTokens: added("cacheReadTokens"),
    cacheWriteTokens: added("cacheWriteTokens"),
    cost: added("cost"),
  };
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
