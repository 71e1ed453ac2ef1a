// What an owner may touch: their own rows. A row of somebody else is `forbidden`, a missing one `not_found`.

import { refusal } from "./errors";
import type { Doc, QueryCtx } from "./server";
import { asTurn, type Turn } from "./turns";

/** The caller's identity, as the rows carry it. A paired device speaks for its owner until it is revoked. */
export async function requireOwner(ctx: QueryCtx): Promise<string> {
  const identity = await ctx.auth.getUserIdentity();
  if (!identity) {
    throw refusal("unauthorized", "an owner's identity is needed: sign in, or pass a token from `orchestrator owner token`");
  }
  if (identity["device"] !== undefined) {
    const device = await deviceOf(ctx);
    if (device?.state !== "paired" || device.owner !== identity.tokenIdentifier) {
      throw refusal("device_revoked", "this device is not paired any more: pair it again with `orchestrator pair`");
    }
  }
  return identity.tokenIdentifier;
}

/**
 * The same with the owner's key, or by the owner's provider: a device would keep what it makes with such a right (a token)
 * beyond its own end.
 */
export async function requireKeyholder(ctx: QueryCtx): Promise<string> {
  const owner = await requireOwner(ctx);
  if ((await deviceOf(ctx)) !== null) throw refusal("forbidden", "a paired device cannot do this: the owner's key can");
  return owner;
}

/** The paired device that calls, by the claim in its token; `null` for everybody else. */
export async function deviceOf(ctx: QueryCtx): Promise<Doc<"devices"> | null> {
  const claim = (await ctx.auth.getUserIdentity())?.["device"];
  return typeof claim === "string" ? await findDevice(ctx, claim) : null;
}

export async function findDevice(ctx: QueryCtx, deviceId: string): Promise<Doc<"devices"> | null> {
  return await ctx.db
    .query("devices")
    .withIndex("by_device", (q) => q.eq("deviceId", deviceId))
    .unique();
}

export async function findMachine(ctx: QueryCtx, machineId: string): Promise<Doc<"machines"> | null> {
  return await ctx.db
    .query("machines")
    .withIndex("by_machine", (q) => q.eq("machineId", machineId))
    .unique();
}

export async function findWorker(ctx: QueryCtx, workerId: string): Promise<Doc<"workers"> | null> {
  return await ctx.db
    .query("workers")
    .withIndex("by_worker", (q) => q.eq("workerId", workerId))
    .unique();
}

export async function findSession(ctx: QueryCtx, sessionId: string): Promise<Doc<"sessions"> | null> {
  return await ctx.db
    .query("sessions")
    .withIndex("by_session", (q) => q.eq("sessionId", sessionId))
    .unique();
}

export async function findMessage(ctx: QueryCtx, messageId: string): Promise<Doc<"messages"> | null> {
  return await ctx.db
    .query("messages")
    .withIndex("by_message", (q) => q.eq("messageId", messageId))
    .unique();
}

export async function ownedMachine(ctx: QueryCtx, owner: string, machineId: string): Promise<Doc<"machines">> {
  return owned(owner, `machine ${machineId}`, await findMachine(ctx, machineId));
}

/** The owner's worker, a removed one too. */
export async function ownedWorker(ctx: QueryCtx, owner: string, workerId: string): Promise<Doc<"workers">> {
  return owned(owner, `worker ${workerId}`, await findWorker(ctx, workerId));
}

/** The owner's worker, if it can be given work: pending ones can, it waits for them. */
export async function usableWorker(ctx: QueryCtx, owner: string, workerId: string): Promise<Doc<"workers">> {
  const worker = await ownedWorker(ctx, owner, workerId);
  if (worker.state === "revoked" || worker.state === "removed") {
    throw refusal("revoked", `worker ${workerId} was ${worker.state}: nothing can be sent to it, use another worker`);
  }
  return worker;
}

export async function ownedSession(ctx: QueryCtx, owner: string, sessionId: string): Promise<Doc<"sessions">> {
  return owned(owner, `session ${sessionId}`, await findSession(ctx, sessionId));
}

export async function ownedTurn(ctx: QueryCtx, owner: string, turnId: string): Promise<Turn> {
  const turn = asTurn(owned(owner, `turn ${turnId}`, await findMessage(ctx, turnId)));
  if (!turn) throw refusal("not_found", `${turnId} is a user's message, not a turn`);
  return turn;
}

function owned<Row extends { owner: string }>(owner: string, what: string, row: Row | null): Row {
  if (!row) throw refusal("not_found", `${what} does not exist here: check the id and the deployment`);
  if (row.owner !== owner) throw refusal("forbidden", `${what} belongs to somebody else`);
  return row;
}
