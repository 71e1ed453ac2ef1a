// Generated from convex/lib/turns.ts by `npm run strip`: change that file, not this one.
// The life of a turn: queued → claimed → closed. A turn is the assistant's row in `messages`, and the open ones are
// the only work queue there is. Per session they are served strictly in order: only the oldest open one can be claimed.

import { INBOX_SESSIONS } from "./limits";
import { withdrawRequests } from "./permitting";





/** The row as a turn; null for a user's message. */
export function asTurn(message                        )              {
  return message?.role === "assistant" ? (message        ) : null;
}

export function isOpen(state           )                                {
  return state === "queued" || state === "claimed";
}

/** How the deployment, not the assistant, closes a turn. */
;




/**
 * Closes an open turn without an answer. Of a claimed turn the close is provisional: the store that claimed it may
 * hold an answer, and that replaces it. Its chunks then stay as they are, so that the answer can go on after them.
 */
export async function closeTurn(ctx             , turn      , closing         )                {
  const claimed = turn.state === "claimed";
  if (claimed) await withdrawRequests(ctx, turn.messageId);
  await ctx.db.patch(turn._id, {
    state: closing.state,
    error: closing.error,
    open: false,
    finishedAt: Date.now(),
    provisional: claimed,
    // Nobody has ever streamed into an unclaimed turn: readers need not look for chunks.
    ...(claimed ? {} : { folded: true, partsBytes: 0 }),
  });
}

/** Whether an answer from this worker's present store may still be written into the turn. */
export function takesAnswer(turn      , worker                )          {
  if (turn.state === "claimed") return true;
  return turn.provisional === true && turn.claimedStoreId !== undefined && turn.claimedStoreId === worker.storeId;
}

/** The session's open turns, oldest first. */
export async function openTurns(ctx          , sessionId        , most        )                  {
  const rows = await ctx.db
    .query("messages")
    .withIndex("by_session_open", (q) => q.eq("sessionId", sessionId).eq("open", true))
    .take(most);
  return rows          ;
}

/**
 * Of each session of the worker its oldest open turn. It skips from session to session in the index, so a session
 * with a hundred queued turns costs as much as one with a single one, and hides nobody.
 */
export async function oldestOpenTurns(ctx          , workerId        )                  {
  const turns         = [];
  let after = "";
  while (turns.length < INBOX_SESSIONS) {
    const oldest = await ctx.db
      .query("messages")
      .withIndex("by_worker_open", (q) => q.eq("workerId", workerId).eq("open", true).gt("sessionId", after))
      .first();
    if (!oldest) break;
    turns.push(oldest        );
    after = oldest.sessionId;
  }
  return turns;
}

export const OTHER_STORE          = {
  state: "interrupted",
  error: {
    code: "other_store",
    message: "the answer was begun on another machine or installation, which has handed this directory over: what it had said by then is kept; send the message again for a whole answer",
  },
};
