// Permissions and questions: what an assistant may not do, or cannot know, without its owner. A supervisor asks while
// the turn waits; the first answer of the owner stays, and whoever is late hears so. A request lives as long as its
// turn: whatever closes the turn closes it, too, and one that nobody answers expires by this deployment's clock.

import { v, type Infer } from "convex/values";
import { refusal } from "./lib/errors";
import { expireRequest } from "./lib/jobs";
import { LIST_REQUESTS, REQUESTS_PER_TURN, REQUEST_TIMEOUT_MAX_MS, SECOND, checkId } from "./lib/limits";
import { findMessage, ownedSession, requireOwner } from "./lib/owners";
import { checkAnswer, clean, closeRequest, findRequest, forgetOldest, insertRequest, isSameAnswer, liveRequests, shownRequest, standingOf, textOf } from "./lib/permitting";
import { internalMutation, mutation, query, type QueryCtx } from "./lib/server";
import { requireServing } from "./lib/tokens";
import { asTurn } from "./lib/turns";
import { answerFields, requestAnswer, requestFields, requestState, shownRequestFields } from "./lib/values";

const standing = v.object({ state: requestState, answer: v.optional(requestAnswer) });

/**
 * Puts a request before the owner. The same id again is the same request, in whatever state it is by now. Of a turn that
 * does not run any more, or is to stop, nothing is asked: the answer is `withdrawn`.
 */
export const ask = mutation({
  args: { token: v.string(), epoch: v.number(), requestId: v.string(), turnId: v.string(), timeoutMs: v.number(), ...requestFields },
  returns: standing,
  handler: async (ctx, { token, epoch, requestId, turnId, timeoutMs, ...asked }): Promise<Infer<typeof standing>> => {
    const worker = await requireServing(ctx, token, epoch);
    const known = await findRequest(ctx, requestId);
    if (known) {
      if (known.workerId !== worker.workerId || known.turnId !== turnId) {
        throw refusal("conflict", `request id ${requestId} is taken by another request: make a new id`);
      }
      return await standingOf(ctx, known);
    }
    checkId("requestId", requestId);
    if (!(timeoutMs >= SECOND && timeoutMs <= REQUEST_TIMEOUT_MAX_MS)) {
      throw refusal("invalid", `timeoutMs must be from ${SECOND} to ${REQUEST_TIMEOUT_MAX_MS}`);
    }
    const turn = asTurn(await findMessage(ctx, turnId));
    if (!turn) throw refusal("not_found", `turn ${turnId} does not exist here`);
    if (turn.workerId !== worker.workerId) throw refusal("forbidden", `turn ${turnId} belongs to another worker`);
    if (turn.state !== "claimed" || turn.abortRequested) return { state: "withdrawn" };
    if ((await liveRequests(ctx, turnId)).length >= REQUESTS_PER_TURN) {
      throw refusal("queue_full", `${REQUESTS_PER_TURN} requests of the turn wait for their answers already`);
    }
    const askedAt = Date.now();
    await insertRequest(ctx, turn, { requestId, askedAt, deadline: askedAt + timeoutMs }, clean(asked));
    await ctx.scheduler.runAfter(timeoutMs, expireRequest, { requestId });
    await forgetOldest(ctx, turn.sessionId);
    return { state: "open" };
  },
});

/** The assistant does not wait for it any more. One that has ended before stays as it is. */
export const withdraw = mutation({
  args: { token: v.string(), epoch: v.number(), requestId: v.string() },
  returns: standing,
  handler: async (ctx, { token, epoch, requestId }): Promise<Infer<typeof standing>> => {
    const request = await servedRequest(ctx, token, epoch, requestId);
    if (!request) return { state: "withdrawn" };
    if (request.state === "open") {
      await closeRequest(ctx, request, { state: "withdrawn", live: false });
      return { state: "withdrawn" };
    }
    if (request.live) await ctx.db.patch(request._id, { live: false });
    return await standingOf(ctx, request);
  },
});

/** How a request has ended, for its supervisor, which hears of the end by `work:inbox`: that names it no longer. */
export const take = mutation({
  args: { token: v.string(), epoch: v.number(), requestId: v.string() },
  returns: standing,
  handler: async (ctx, { token, epoch, requestId }): Promise<Infer<typeof standing>> => {
    const request = await servedRequest(ctx, token, epoch, requestId);
    if (!request) return { state: "withdrawn" };
    if (request.state !== "open" && request.live) await ctx.db.patch(request._id, { live: false });
    return await standingOf(ctx, request);
  },
});

/** Those that wait, longest first; with `ended` that many of the newest others after them. */
export const list = query({
  args: { sessionId: v.optional(v.string()), ended: v.optional(v.number()) },
  returns: v.array(v.object(shownRequestFields)),
  handler: async (ctx, { sessionId, ended = 0 }) => {
    const owner = await requireOwner(ctx);
    if (!Number.isSafeInteger(ended) || ended < 0 || ended > LIST_REQUESTS) {
      throw refusal("invalid", `ended must be a whole number from 0 to ${LIST_REQUESTS}`);
    }
    if (sessionId !== undefined) await ownedSession(ctx, owner, sessionId);
    const those = (open: boolean) =>
      sessionId === undefined
        ? ctx.db.query("permissions").withIndex("by_owner", (q) => q.eq("owner", owner).eq("open", open))
        : ctx.db.query("permissions").withIndex("by_session", (q) => q.eq("sessionId", sessionId).eq("open", open));
    const rows = await those(true).order("asc").take(LIST_REQUESTS);
    if (ended > 0) rows.push(...(await those(false).order("desc").take(ended)));
    return await Promise.all(rows.map((row) => shownRequest(ctx, row)));
  },
});

/**
 * The owner's answer: to a permission `once`, `always` or `reject`; to a question `answer` with an element for each
 * question, or `reject`. The first one stays; the same one again is taken for the same, anything else is `gone`.
 */
export const answer = mutation({
  args: { requestId: v.string(), ...answerFields },
  returns: v.object({ state: requestState }),
  handler: async (ctx, { requestId, ...given }) => {
    const owner = await requireOwner(ctx);
    const request = await findRequest(ctx, requestId);
    if (!request) {
      throw refusal("gone", `request ${requestId} is not there: its session may have asked much since, or the id is wrong`);
    }
    if (request.owner !== owner) throw refusal("forbidden", `request ${requestId} belongs to somebody else`);
    const text = await textOf(ctx, requestId);
    const checked = checkAnswer(request, text?.questions ?? [], given);
    if (request.state === "open") {
      await closeRequest(ctx, request, { state: "answered", live: true });
      if (text) await ctx.db.patch(text._id, { answer: checked });
      return { state: "answered" as const };
    }
    if (request.state === "answered" && isSameAnswer(text?.answer, checked)) {
      return { state: "answered" as const };
    }
    const how = {
      answered: "was answered before, and that answer stays",
      withdrawn: "is not waited for any more: its turn has ended, or it was answered in the assistant itself",
      expired: "expired before somebody answered",
    }[request.state];
    throw refusal("gone", `request ${requestId} ${how}`);
  },
});

/** Ends a request that nobody has answered in time. */
export const expire = internalMutation({
  args: { requestId: v.string() },
  returns: v.null(),
  handler: async (ctx, { requestId }) => {
    const request = await findRequest(ctx, requestId);
    if (request?.state === "open") await closeRequest(ctx, request, { state: "expired", live: true });
    return null;
  },
});

async function servedRequest(ctx: QueryCtx, token: string, epoch: number, requestId: string) {
  const worker = await requireServing(ctx, token, epoch);
  const request = await findRequest(ctx, requestId);
  if (request && request.workerId !== worker.workerId) {
    throw refusal("forbidden", `request ${requestId} belongs to another worker`);
  }
  return request;
}
