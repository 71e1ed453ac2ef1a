// Sessions: one chat with one worker. The owner starts, names and ends them; the supervisor reports which it has
// running (`served`) and under which name the assistant keeps the conversation.

import { v } from "convex/values";
import { refusal } from "./lib/errors";
import { LIST_SESSIONS, MODEL_CHARS, NAME_CHARS, OPEN_TURNS_PER_SESSION, checkId, checkText, cut } from "./lib/limits";
import { findSession, ownedSession, ownedWorker, requireOwner, usableWorker } from "./lib/owners";
import { mutation, query, type Doc, type MutationCtx } from "./lib/server";
import { withdrawRequests } from "./lib/permitting";
import { insertSession } from "./lib/sending";
import { requireServing } from "./lib/tokens";
import { closeTurn, openTurns } from "./lib/turns";
import { sessionStatus, usage } from "./lib/values";

const sessionFields = {
  sessionId: v.string(),
  workerId: v.string(),
  title: v.string(),
  model: v.optional(v.string()),
  status: sessionStatus,
  reason: v.optional(v.string()),
  waiting: v.optional(v.number()),
  usage: v.optional(usage),
  createdAt: v.number(),
  lastActivityAt: v.number(),
};

export const start = mutation({
  args: { id: v.string(), workerId: v.string(), model: v.optional(v.string()), title: v.optional(v.string()) },
  returns: v.object({ sessionId: v.string() }),
  handler: async (ctx, { id, workerId, model, title }) => {
    const owner = await requireOwner(ctx);
    const known = await findSession(ctx, id);
    if (known) {
      // Nothing about what is somebody else's, only that the id will not do.
      if (known.owner !== owner) throw refusal("conflict", `session ${id} cannot be started: choose another id`);
      if (known.workerId !== workerId) {
        throw refusal("conflict", `session ${id} exists with another worker: choose another id`);
      }
      return { sessionId: id };
    }
    checkId("id", id);
    if (model !== undefined) checkText("model", model, MODEL_CHARS);
    if (title !== undefined) checkText("title", title, NAME_CHARS);
    await usableWorker(ctx, owner, workerId);
    await insertSession(ctx, { sessionId: id, owner, workerId, title: title ?? "", ...(model === undefined ? {} : { model }) });
    return { sessionId: id };
  },
});

/** Those with the latest activity first. */
export const list = query({
  args: { workerId: v.optional(v.string()), includeEnded: v.optional(v.boolean()) },
  returns: v.array(v.object(sessionFields)),
  handler: async (ctx, { workerId, includeEnded }) => {
    const owner = await requireOwner(ctx);
    if (workerId !== undefined) await ownedWorker(ctx, owner, workerId);
    const latest = (ended: boolean) => {
      const rows =
        workerId === undefined
          ? ctx.db.query("sessions").withIndex("by_owner", (q) => q.eq("owner", owner).eq("ended", ended))
          : ctx.db.query("sessions").withIndex("by_worker", (q) => q.eq("workerId", workerId).eq("ended", ended));
      return rows.order("desc").take(LIST_SESSIONS);
    };
    const rows = [...(await latest(false)), ...(includeEnded ? await latest(true) : [])];
    rows.sort((a, b) => b.lastActivityAt - a.lastActivityAt);
    return rows.slice(0, LIST_SESSIONS).map(shown);
  },
});

export const get = query({
  args: { sessionId: v.string() },
  returns: v.union(v.object({ ...sessionFields, agentSessionId: v.optional(v.string()) }), v.null()),
  handler: async (ctx, { sessionId }) => {
    const owner = await requireOwner(ctx);
    if (!(await findSession(ctx, sessionId))) return null;
    const row = await ownedSession(ctx, owner, sessionId);
    return { ...shown(row), ...(row.agentSessionId === undefined ? {} : { agentSessionId: row.agentSessionId }) };
  },
});

export const rename = mutation({
  args: { sessionId: v.string(), title: v.string() },
  returns: v.null(),
  handler: async (ctx, { sessionId, title }) => {
    const session = await ownedSession(ctx, await requireOwner(ctx), sessionId);
    checkText("title", title, NAME_CHARS);
    if (session.title !== title) await ctx.db.patch(session._id, { title });
    return null;
  },
});

/** No more turns: what waits is closed, what runs is asked to stop. */
export const end = mutation({
  args: { sessionId: v.string() },
  returns: v.null(),
  handler: async (ctx, { sessionId }) => {
    const session = await ownedSession(ctx, await requireOwner(ctx), sessionId);
    if (!session.ended) await endSession(ctx, session);
    return null;
  },
});

/** The assistant's name for the conversation. The first one stays, and everybody gets that one. */
export const confirm = mutation({
  args: { token: v.string(), epoch: v.number(), sessionId: v.string(), agentSessionId: v.string() },
  returns: v.object({ agentSessionId: v.string() }),
  handler: async (ctx, { token, epoch, sessionId, agentSessionId }) => {
    const session = await servedSession(ctx, await requireServing(ctx, token, epoch), sessionId);
    if (session.agentSessionId !== undefined) return { agentSessionId: session.agentSessionId };
    checkText("agentSessionId", agentSessionId, NAME_CHARS);
    await ctx.db.patch(session._id, { agentSessionId });
    return { agentSessionId };
  },
});

/** Somebody has named the conversation in the assistant itself. A name that is too long is cut. */
export const retitle = mutation({
  args: { token: v.string(), epoch: v.number(), sessionId: v.string(), title: v.string() },
  returns: v.null(),
  handler: async (ctx, { token, epoch, sessionId, title }) => {
    const session = await servedSession(ctx, await requireServing(ctx, token, epoch), sessionId);
    const given = title.trim().slice(0, NAME_CHARS);
    if (given !== "" && session.title !== given) await ctx.db.patch(session._id, { title: given });
    return null;
  },
});

/** What the supervisor has made of the session. An ended one stays ended, whatever is reported. */
export const setStatus = mutation({
  args: {
    token: v.string(),
    epoch: v.number(),
    sessionId: v.string(),
    status: v.union(v.literal("active"), v.literal("idle"), v.literal("failed"), v.literal("ended")),
    reason: v.optional(v.string()),
  },
  returns: v.null(),
  handler: async (ctx, { token, epoch, sessionId, status, reason }) => {
    const session = await servedSession(ctx, await requireServing(ctx, token, epoch), sessionId);
    const served = status === "active";
    if (session.served !== served) await ctx.db.patch(session._id, { served });
    if (session.ended) return null;
    const given = reason === undefined ? undefined : cut(reason);
    if (session.reason !== given) await ctx.db.patch(session._id, { reason: given });
    if (status === "ended") await endSession(ctx, session);
    else if (session.status !== status) await ctx.db.patch(session._id, { status });
    return null;
  },
});

async function endSession(ctx: MutationCtx, session: Doc<"sessions">): Promise<void> {
  await ctx.db.patch(session._id, { status: "ended", ended: true });
  for (const turn of await openTurns(ctx, session.sessionId, OPEN_TURNS_PER_SESSION)) {
    if (turn.state === "queued") {
      const error = { code: "ended", message: "the session was ended before the turn began" };
      await closeTurn(ctx, turn, { state: "aborted", error });
    } else if (!turn.abortRequested) {
      await ctx.db.patch(turn._id, { abortRequested: true });
      await withdrawRequests(ctx, turn.messageId);
    }
  }
}

async function servedSession(ctx: MutationCtx, worker: Doc<"workers">, sessionId: string): Promise<Doc<"sessions">> {
  const session = await findSession(ctx, sessionId);
  if (!session) throw refusal("not_found", `session ${sessionId} does not exist here`);
  if (session.workerId !== worker.workerId) throw refusal("forbidden", `session ${sessionId} belongs to another worker`);
  return session;
}

function shown(row: Doc<"sessions">) {
  return {
    sessionId: row.sessionId,
    workerId: row.workerId,
    title: row.title,
    ...(row.model === undefined ? {} : { model: row.model }),
    status: row.status,
    ...(row.reason === undefined ? {} : { reason: row.reason }),
    ...(row.waiting === undefined ? {} : { waiting: row.waiting }),
    ...(row.usage === undefined ? {} : { usage: row.usage }),
    createdAt: row.createdAt,
    lastActivityAt: row.lastActivityAt,
  };
}
