// Generated from convex/messages.ts by `npm run strip`: change that file, not this one.
// Messages and turns. A user's message and the assistant's row that will answer it are written together; the
// assistant's row is the turn, and its id the turn's id. Supervisors claim turns in order and finish them once; the
// deployment itself closes those that would hang.

import { v } from "convex/values";
import { attachmentShown } from "./lib/attaching";
import { claimTurn } from "./lib/claiming";
import { refusal } from "./lib/errors";
import { finishTurn } from "./lib/finishing";
import { checkClaim as scheduledCheckClaim } from "./lib/jobs";
import { LIST_MESSAGES_DEFAULT, LIST_MESSAGES_MAX, SECOND_LOOK_MS, checkIndex, checkSeq } from "./lib/limits";
import { findMessage, ownedSession, ownedTurn, requireOwner } from "./lib/owners";
import { withdrawRequests } from "./lib/permitting";
import { findPresence } from "./lib/presence";
import { readParts, showMessages, shownMessage } from "./lib/reading";
import { sendMessage } from "./lib/sending";
import { internalMutation, mutation, query,                            } from "./lib/server";
import { abandonedLimitMs, queuedLimitMs, spoken } from "./lib/settings";
import { requireServing } from "./lib/tokens";
import { asTurn, closeTurn,           } from "./lib/turns";
import { following, item, outcome, part, turnError, turnState, usage,                } from "./lib/values";

/** Sends a message to a session, or to a worker, which starts one. The id is the message's and makes it idempotent. */
export const send = mutation({
  args: {
    id: v.string(),
    sessionId: v.optional(v.string()),
    workerId: v.optional(v.string()),
    content: v.string(),
    model: v.optional(v.string()),
    agent: v.optional(v.string()),
    /** Ids of whole uploads: see attachments.ts. */
    attachments: v.optional(v.array(v.string())),
  },
  returns: v.object({ sessionId: v.string(), turnId: v.string(), seq: v.number() }),
  handler: async (ctx, args) => await sendMessage(ctx, await requireOwner(ctx), args),
});

/** The session's newest messages, oldest of them first. May give fewer than `limit` when they are large. */
export const list = query({
  args: { sessionId: v.string(), limit: v.optional(v.number()), beforeSeq: v.optional(v.number()) },
  returns: v.object({ messages: v.array(shownMessage) }),
  handler: async (ctx, { sessionId, limit = LIST_MESSAGES_DEFAULT, beforeSeq }) => {
    const owner = await requireOwner(ctx);
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > LIST_MESSAGES_MAX) {
      throw refusal("invalid", `limit must be a whole number from 1 to ${LIST_MESSAGES_MAX}`);
    }
    if (beforeSeq !== undefined) checkSeq("beforeSeq", beforeSeq);
    const rows = await ctx.db
      .query("messages")
      .withIndex("by_seq", (q) => {
        const all = q.eq("sessionId", sessionId);
        return beforeSeq === undefined ? all : all.lt("seq", beforeSeq);
      })
      .order("desc")
      .take(limit);
    // The rows carry their owner. The session's row is read only when there are none: it changes with every status.
    if (rows[0] === undefined) await ownedSession(ctx, owner, sessionId);
    else if (rows[0].owner !== owner) throw refusal("forbidden", `session ${sessionId} belongs to somebody else`);
    const messages = await showMessages(ctx, rows);
    return { messages: messages.reverse() };
  },
});

/** A page of a folded turn's parts. Rows with the same partId are one part: put their texts together. */
export const parts = query({
  args: { turnId: v.string(), from: v.number() },
  returns: v.object({ parts: v.array(part), next: v.union(v.number(), v.null()) }),
  handler: async (ctx, { turnId, from }) => {
    const turn = await ownedTurn(ctx, await requireOwner(ctx), turnId);
    checkIndex("from", from);
    return turn.folded ? await readParts(ctx, turnId, from) : { parts: [], next: null };
  },
});

/** Stops a turn: a queued one at once, a claimed one by a mark that its supervisor sees. */
export const abort = mutation({
  args: { turnId: v.string() },
  returns: v.object({ state: turnState }),
  handler: async (ctx, { turnId })                                => {
    const turn = await ownedTurn(ctx, await requireOwner(ctx), turnId);
    if (turn.state === "queued") {
      const error = { code: "aborted", message: "the message was withdrawn before its turn began" };
      await closeTurn(ctx, turn, { state: "aborted", error });
      return { state: "aborted" };
    }
    if (turn.state === "claimed" && !turn.abortRequested) {
      await ctx.db.patch(turn._id, { abortRequested: true });
      await withdrawRequests(ctx, turnId);
    }
    return { state: turn.state };
  },
});

/** Takes the session's oldest open turn to be run, with all that is needed for it. */
export const claim = mutation({
  args: { token: v.string(), epoch: v.number(), turnId: v.string() },
  returns: v.union(
    v.object({
      status: v.literal("claimed"),
      sessionId: v.string(),
      content: v.string(),
      attachments: v.optional(v.array(attachmentShown)),
      model: v.union(v.string(), v.null()),
      agent: v.union(v.string(), v.null()),
      title: v.string(),
      agentSessionId: v.union(v.string(), v.null()),
      abort: v.boolean(),
      nextIndex: v.number(),
      first: v.boolean(),
      claimedBootId: v.string(),
      unsettled: v.array(v.object({ turnId: v.string(), nextIndex: v.number() })),
    }),
    v.object({ status: v.literal("closed"), state: outcome }),
    v.object({ status: v.literal("not_next") }),
  ),
  handler: async (ctx, { token, epoch, turnId }) => {
    const worker = await requireServing(ctx, token, epoch);
    return await claimTurn(ctx, worker, await servedTurn(ctx, worker, turnId));
  },
});

/** The end of a turn's stream: the items not stored yet, and how it ended. The first finish stays. */
export const finish = mutation({
  args: {
    token: v.string(),
    epoch: v.number(),
    turnId: v.string(),
    outcome,
    error: v.optional(turnError),
    usage: v.optional(usage),
    then: v.optional(following),
    items: v.array(item),
  },
  returns: v.union(
    v.object({ status: v.literal("closed") }),
    v.object({ status: v.literal("already"), state: outcome }),
  ),
  handler: async (ctx, { token, epoch, turnId, items, ...ending }) => {
    const worker = await requireServing(ctx, token, epoch);
    return await finishTurn(ctx, worker, await servedTurn(ctx, worker, turnId), ending, items);
  },
});

/** Closes a turn that nobody has claimed in time: a day, if nothing else is set. */
export const expire = internalMutation({
  args: { turnId: v.string() },
  returns: v.null(),
  handler: async (ctx, { turnId }) => {
    const turn = asTurn(await findMessage(ctx, turnId));
    if (turn?.state !== "queued") return null;
    const message = `no supervisor took the message within ${spoken(queuedLimitMs())}: start one and send it again`;
    await closeTurn(ctx, turn, { state: "failed", error: { code: "expired", message } });
    return null;
  },
});

/**
 * Closes a claimed turn whose supervisor has been gone for an hour, or what is set; looks again later while it is there. What seems
 * gone is looked at twice: a deployment that was itself away, with its laptop asleep, runs this before it can have
 * heard from anybody.
 */
export const checkClaim = internalMutation({
  args: { turnId: v.string(), again: v.optional(v.boolean()) },
  returns: v.null(),
  handler: async (ctx, { turnId, again }) => {
    const turn = asTurn(await findMessage(ctx, turnId));
    if (turn?.state !== "claimed") return null;
    const presence = await findPresence(ctx, turn.workerId);
    const goneAt = (presence?.lastBeat ?? turn.claimedAt ?? 0) + abandonedLimitMs();
    if (Date.now() < goneAt) {
      await ctx.scheduler.runAt(goneAt, scheduledCheckClaim, { turnId });
    } else if (!again) {
      await ctx.scheduler.runAfter(SECOND_LOOK_MS, scheduledCheckClaim, { turnId, again: true });
    } else {
      const message = `the supervisor that ran the turn has not been seen for ${spoken(abandonedLimitMs())}`;
      await closeTurn(ctx, turn, { state: "interrupted", error: { code: "abandoned", message } });
    }
    return null;
  },
});

async function servedTurn(ctx             , worker                , turnId        )                {
  const turn = asTurn(await findMessage(ctx, turnId));
  if (!turn) throw refusal("not_found", `turn ${turnId} does not exist here`);
  if (turn.workerId !== worker.workerId) throw refusal("forbidden", `turn ${turnId} belongs to another worker`);
  return turn;
}
