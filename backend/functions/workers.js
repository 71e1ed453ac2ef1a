// Generated from convex/workers.ts by `npm run strip`: change that file, not this one.
// Workers: one directory on one machine, served by whoever holds its token. The owner creates, approves, revokes and
// removes them; a supervisor connects with the token and gets an epoch, which every later call of it carries. One
// supervisor per token: a new one raises the epoch, and the one before is displaced.

import { v,            } from "convex/values";
import { dropChoices } from "./lib/choosing";
import { endAllOf } from "./lib/commanding";
import { takeConnection } from "./lib/connection";
import { refusal } from "./lib/errors";
import { closeTurns as scheduledCloseTurns, revokeReplaced as scheduledRevoke } from "./lib/jobs";
import { CLOSE_PAGE, KEEP_OLDER_MS, LIST_WORKERS, NAME_CHARS, PATH_CHARS, checkId, checkLine, checkTools } from "./lib/limits";
import { findWorker, ownedMachine, ownedWorker, requireKeyholder, requireOwner } from "./lib/owners";
import { findPresence } from "./lib/presence";
import { internalMutation, mutation, query,                            } from "./lib/server";
import { forgetCredentials, hasLiveCredential, liveCredentials, mintToken, requireCredential, requireEpoch, revokeCredentials, takeIntoUse } from "./lib/tokens";
import { closeTurn,           } from "./lib/turns";
import { workerState } from "./lib/values";

/** A new worker, waiting for approval. The token is shown this once. */
export const create = mutation({
  args: { workerId: v.string(), machineId: v.string(), name: v.string(), directory: v.string() },
  returns: v.object({ workerId: v.string(), token: v.string() }),
  handler: async (ctx, args) => {
    const owner = await requireKeyholder(ctx);
    checkId("workerId", args.workerId);
    checkLine("name", args.name, NAME_CHARS);
    checkLine("directory", args.directory, PATH_CHARS);
    await ownedMachine(ctx, owner, args.machineId);
    const known = await findWorker(ctx, args.workerId);
    if (known) {
      const whatElse = known.owner === owner ? ", or rotate its token" : "";
      throw refusal("conflict", `worker ${args.workerId} exists: choose another id${whatElse}`);
    }
    await ctx.db.insert("workers", {
      ...args,
      owner,
      state: "pending",
      removed: false,
      epoch: 0,
      createdAt: Date.now(),
    });
    return { workerId: args.workerId, token: await mintToken(ctx, args) };
  },
});

export const list = query({
  args: { machineId: v.optional(v.string()) },
  returns: v.array(
    v.object({
      workerId: v.string(),
      machineId: v.string(),
      name: v.string(),
      directory: v.string(),
      state: workerState,
      epoch: v.number(),
      connectedAt: v.optional(v.number()),
      createdAt: v.number(),
    }),
  ),
  handler: async (ctx, { machineId }) => {
    const owner = await requireOwner(ctx);
    if (machineId !== undefined) await ownedMachine(ctx, owner, machineId);
    const rows = await ctx.db
      .query("workers")
      .withIndex("by_owner", (q) => {
        const listed = q.eq("owner", owner).eq("removed", false);
        return machineId === undefined ? listed : listed.eq("machineId", machineId);
      })
      .take(LIST_WORKERS);
    return rows.map((row) => ({
      workerId: row.workerId,
      machineId: row.machineId,
      name: row.name,
      directory: row.directory,
      state: row.state,
      epoch: row.epoch,
      ...(row.connectedAt === undefined ? {} : { connectedAt: row.connectedAt }),
      createdAt: row.createdAt,
    }));
  },
});

export const approve = mutation({
  args: { workerId: v.string() },
  returns: v.null(),
  handler: async (ctx, { workerId }) => {
    const worker = await presentWorker(ctx, await requireOwner(ctx), workerId);
    if (worker.state === "approved") return null;
    if (!(await hasLiveCredential(ctx, workerId))) {
      throw refusal("conflict", `worker ${workerId} has no valid token: rotate it first, then approve`);
    }
    await ctx.db.patch(worker._id, { state: "approved" });
    return null;
  },
});

/** Cuts the worker off, its live supervisor included, until it is approved again. Its turns are closed. */
export const revoke = mutation({
  args: { workerId: v.string() },
  returns: v.null(),
  handler: async (ctx, { workerId }) => {
    const worker = await presentWorker(ctx, await requireOwner(ctx), workerId);
    if (worker.state === "revoked") return null;
    await ctx.db.patch(worker._id, { state: "revoked", epoch: worker.epoch + 1 });
    await endAllOf(ctx, worker, "the worker was revoked");
    await closePage(ctx, workerId, "revoked");
    return null;
  },
});

/**
 * A new token in place of all older ones. The worker's state stays as it is. With `keepOlderMs` the older ones are valid
 * for that time yet, so that a supervisor can change over in the middle of an answer.
 */
export const rotate = mutation({
  args: { workerId: v.string(), keepOlderMs: v.optional(v.number()) },
  returns: v.object({ token: v.string() }),
  handler: async (ctx, { workerId, keepOlderMs = 0 }) => {
    const worker = await presentWorker(ctx, await requireKeyholder(ctx), workerId);
    if (!(keepOlderMs >= 0 && keepOlderMs <= KEEP_OLDER_MS)) {
      throw refusal("invalid", `keepOlderMs must be from 0 to ${KEEP_OLDER_MS}`);
    }
    if (keepOlderMs === 0) {
      await revokeCredentials(ctx, workerId);
    } else {
      const credentials = await liveCredentials(ctx, workerId);
      await ctx.scheduler.runAfter(keepOlderMs, scheduledRevoke, { credentials });
    }
    await forgetCredentials(ctx, workerId);
    return { token: await mintToken(ctx, worker) };
  },
});

/** The end of tokens that a rotation has kept for a while. */
export const revokeReplaced = internalMutation({
  args: { credentials: v.array(v.id("credentials")) },
  returns: v.null(),
  handler: async (ctx, { credentials }) => {
    for (const id of credentials) {
      // Of many rotations in a row some were forgotten already.
      if (await ctx.db.get(id)) await ctx.db.patch(id, { revoked: true });
    }
    return null;
  },
});

export const remove = mutation({
  args: { workerId: v.string() },
  returns: v.null(),
  handler: async (ctx, { workerId }) => {
    const worker = await ownedWorker(ctx, await requireOwner(ctx), workerId);
    if (worker.state === "removed") return null;
    await ctx.db.patch(worker._id, { state: "removed", removed: true, epoch: worker.epoch + 1 });
    await endAllOf(ctx, worker, "the worker was removed");
    await revokeCredentials(ctx, workerId);
    const presence = await findPresence(ctx, workerId);
    if (presence) await ctx.db.delete(presence._id);
    await dropChoices(ctx, workerId);
    await closePage(ctx, workerId, "removed");
    return null;
  },
});

const connected = v.object({
  status: v.union(v.literal("approved"), v.literal("pending")),
  epoch: v.number(),
  workerId: v.string(),
  name: v.string(),
});

/** A supervisor starts to serve the worker. The same start gets the same epoch again, however often it asks. */
export const connect = mutation({
  args: {
    token: v.string(),
    installId: v.string(),
    startId: v.string(),
    bootId: v.string(),
    storeId: v.string(),
    takeOver: v.boolean(),
    machine: v.object({ hostname: v.string(), os: v.string(), tools: v.array(v.string()) }),
  },
  returns: connected,
  handler: async (ctx, { token, takeOver, machine, ...supervisor })                                   => {
    const { worker, credential } = await requireCredential(ctx, token);
    for (const [what, id] of Object.entries(supervisor)) checkLine(what, id, NAME_CHARS);
    checkLine("hostname", machine.hostname, NAME_CHARS);
    checkLine("os", machine.os, NAME_CHARS);
    checkTools(machine.tools);
    const epoch = await takeConnection(ctx, worker, supervisor, takeOver);
    await takeIntoUse(ctx, credential);
    const row = await ctx.db
      .query("machines")
      .withIndex("by_machine", (q) => q.eq("machineId", worker.machineId))
      .unique();
    if (row) await ctx.db.patch(row._id, { ...machine, lastSeenAt: Date.now() });
    const status = worker.state === "approved" ? "approved" : "pending";
    return { status, epoch, workerId: worker.workerId, name: worker.name };
  },
});

/** A supervisor has stopped: the token is free at once. */
export const disconnect = mutation({
  args: { token: v.string(), epoch: v.number() },
  returns: v.null(),
  handler: async (ctx, { token, epoch }) => {
    const worker = await requireEpoch(ctx, token, epoch);
    const presence = await findPresence(ctx, worker.workerId);
    if (presence && !presence.disconnected) await ctx.db.patch(presence._id, { disconnected: true });
    return null;
  },
});

/** Goes on closing the turns of a worker that was cut off with more of them than one transaction closes. */
export const closeTurns = internalMutation({
  args: { workerId: v.string() },
  returns: v.null(),
  handler: async (ctx, { workerId }) => {
    const worker = await findWorker(ctx, workerId);
    // Approved again in between: what is still open may be answered after all.
    if (worker?.state === "revoked" || worker?.state === "removed") await closePage(ctx, workerId, worker.state);
    return null;
  },
});

async function closePage(ctx             , workerId        , state                       )                {
  const rows = await ctx.db
    .query("messages")
    .withIndex("by_worker_open", (q) => q.eq("workerId", workerId).eq("open", true))
    .take(CLOSE_PAGE);
  const message = `the worker was ${state} before the turn was answered`;
  for (const turn of rows          ) {
    await closeTurn(ctx, turn, { state: "failed", error: { code: state, message } });
  }
  if (rows.length === CLOSE_PAGE) await ctx.scheduler.runAfter(0, scheduledCloseTurns, { workerId });
}

async function presentWorker(ctx             , owner        , workerId        )                          {
  const worker = await ownedWorker(ctx, owner, workerId);
  if (worker.state === "removed") {
    throw refusal("revoked", `worker ${workerId} was removed: create a new one`);
  }
  return worker;
}
