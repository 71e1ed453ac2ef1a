// Devices: what an owner has paired, a phone's browser say. Each has a token of its own, an owner's JWT with the claim
// `device`, and every function that takes an owner's identity looks the device up: one that was revoked, or that is not known
// here, is refused at once, in live subscriptions too.
//
// A device comes in by a code that somebody with the owner's key has made. The code is traded once, within minutes by the
// deployment's clock; wrong ones are counted, and a code that was guessed at is void.

import { v } from "convex/values";
import { refusal } from "./lib/errors";
import { lapseCode } from "./lib/jobs";
import {
  CODE_ATTEMPTS,
  CODE_TTL_MS,
  LIST_DEVICES,
  LIVE_DEVICES,
  NAME_CHARS,
  OPEN_CODES,
  REVOKED_DEVICES,
  SEALED_CHARS,
  SECOND,
  checkId,
  checkLine,
} from "./lib/limits";
import { deviceOf, findDevice, requireOwner } from "./lib/owners";
import { parseCode, unseal } from "./lib/pairing";
import { dropSubscriptions } from "./lib/pushing";
import { hashSecret } from "./lib/secrets";
import { internalMutation, mutation, query, type Doc, type MutationCtx, type QueryCtx } from "./lib/server";

/** A visit within this of the last one is not written down. */
const VISIT_EVERY_MS = 60 * SECOND;

/** A claim is a secret: random, and of the caller's making. */
const CLAIM = /^[A-Za-z0-9_-]{22,128}$/;

const deviceFields = {
  deviceId: v.string(),
  name: v.string(),
  /** `open`: its code waits to be traded. */
  state: v.union(v.literal("open"), v.literal("paired"), v.literal("revoked")),
  createdAt: v.number(),
  /** Of an open one: when its code lapses. */
  openUntil: v.number(),
  /** When its token ends. */
  validUntil: v.number(),
  pairedAt: v.optional(v.number()),
  seenAt: v.optional(v.number()),
  revokedAt: v.optional(v.number()),
  /** It is the one that asks. */
  isThis: v.boolean(),
};

/** A code for one more device. Its token comes sealed: see lib/pairing.ts. */
export const invite = mutation({
  args: {
    deviceId: v.string(),
    name: v.optional(v.string()),
    codeHash: v.string(),
    sealed: v.string(),
    ttlMs: v.number(),
    validUntil: v.number(),
  },
  returns: v.object({ deviceId: v.string(), openUntil: v.number() }),
  handler: async (ctx, { deviceId, name, codeHash, sealed, ttlMs, validUntil }) => {
    const owner = await requireOwner(ctx);
    if ((await deviceOf(ctx)) !== null) throw refusal("forbidden", "a paired device cannot pair another one: the owner's key can");
    const known = await findDevice(ctx, deviceId);
    if (known) {
      if (known.owner !== owner || known.codeHash !== codeHash) throw refusal("conflict", "this device id is taken: make another code");
      return { deviceId, openUntil: known.openUntil };
    }
    checkId("deviceId", deviceId);
    if (name !== undefined) checkLine("name", name, NAME_CHARS);
    if (!/^[0-9a-f]{64}$/.test(codeHash)) throw refusal("invalid", "codeHash must be a SHA-256 in hex");
    if (sealed.length > SEALED_CHARS || !/^[A-Za-z0-9+/]+=*$/.test(sealed)) throw refusal("invalid", "sealed must be base64, and short");
    if (!(ttlMs >= SECOND && ttlMs <= CODE_TTL_MS)) throw refusal("invalid", "a code can last 1 second to 1 hour");
    if (!Number.isFinite(validUntil)) throw refusal("invalid", "validUntil must be a time");
    await makeRoom(ctx, owner);
    const now = Date.now();
    const openUntil = now + ttlMs;
    await ctx.db.insert("devices", {
      deviceId,
      owner,
      name: name ?? "",
      state: "open",
      codeHash,
      sealed,
      attempts: 0,
      openUntil,
      validUntil,
      createdAt: now,
    });
    await ctx.scheduler.runAfter(ttlMs, lapseCode, { deviceId });
    return { deviceId, openUntil };
  },
});

const traded = v.union(
  v.object({ status: v.literal("paired"), deviceId: v.string(), name: v.string(), token: v.string(), validUntil: v.number() }),
  v.object({ status: v.literal("refused"), code: v.string(), message: v.string() }),
);

/**
 * A code for a token, once. Needs nobody's identity. A refusal is an answer and no error: what it has counted must stay.
 * Whoever may lose the answer on the way gives a secret `claim` of its own and gets the same one again under it, until the code lapses.
 */
export const trade = mutation({
  args: { code: v.string(), name: v.optional(v.string()), claim: v.optional(v.string()) },
  returns: traded,
  handler: async (ctx, { code, name, claim }) => {
    const refused = (why: string, message: string) => ({ status: "refused" as const, code: why, message });
    const unknown = refused("unauthorized", "this pairing code is not known here: make another one with `orchestrator pair`");
    const deviceId = parseCode(code);
    if (deviceId === null) return refused("invalid", "this is not a pairing code: `orchestrator pair` prints one");
    const device = await findDevice(ctx, deviceId);
    if (!device) return unknown;
    if ((await hashSecret(code)) !== device.codeHash) {
      if (device.state !== "open") return unknown;
      const attempts = device.attempts + 1;
      if (attempts >= CODE_ATTEMPTS) await forget(ctx, device);
      else await ctx.db.patch(device._id, { attempts });
      return unknown;
    }
    if (device.state === "revoked") return refused("device_revoked", "this device was revoked: make another code with `orchestrator pair`");
    if (claim !== undefined && !CLAIM.test(claim)) throw refusal("invalid", "claim must be 22 to 128 letters, digits, - or _");
    const claimHash = claim === undefined ? undefined : await hashSecret(claim);
    if (device.state === "paired") {
      const isItself = claimHash !== undefined && claimHash === device.claimHash && Date.now() < device.openUntil;
      if (isItself && device.sealed !== undefined) return paired(device, device.name, await unseal(device.sealed, code));
      const called = device.name === "" ? device.deviceId : `${device.name} (${device.deviceId})`;
      return refused(
        "conflict",
        `this pairing code was used already, by ${called}. If that was not you: orchestrator device revoke ${device.deviceId}`,
      );
    }
    if (device.sealed === undefined || Date.now() >= device.openUntil) {
      return refused("expired", "this pairing code has expired: make another one with `orchestrator pair`");
    }
    if (name !== undefined) checkLine("name", name, NAME_CHARS);
    const token = await unseal(device.sealed, code);
    const called = device.name === "" ? (name ?? "") : device.name;
    const kept = claimHash === undefined ? { sealed: undefined } : { claimHash };
    await ctx.db.patch(device._id, { state: "paired", name: called, pairedAt: Date.now(), ...kept });
    return paired(device, called, token);
  },
});

/** Newest first; of the revoked ones the latest are kept. */
export const list = query({
  args: {},
  returns: v.array(v.object(deviceFields)),
  handler: async (ctx) => {
    const owner = await requireOwner(ctx);
    const self = await deviceOf(ctx);
    const rows = await ctx.db
      .query("devices")
      .withIndex("by_owner", (q) => q.eq("owner", owner))
      .order("desc")
      .take(LIST_DEVICES);
    const visits = await ctx.db
      .query("deviceVisits")
      .withIndex("by_owner", (q) => q.eq("owner", owner))
      .take(LIST_DEVICES);
    const seen = new Map(visits.map((visit) => [visit.deviceId, visit.at]));
    return rows.map((row) => shown(row, seen.get(row.deviceId), self?.deviceId));
  },
});

/** The device that asks; `null` for the owner's key and for tokens made with it. Says `device_revoked` when it was. */
export const self = query({
  args: {},
  returns: v.union(v.object({ deviceId: v.string(), name: v.string(), validUntil: v.number() }), v.null()),
  handler: async (ctx) => {
    await requireOwner(ctx);
    const device = await deviceOf(ctx);
    return device === null ? null : { deviceId: device.deviceId, name: device.name, validUntil: device.validUntil };
  },
});

/** The device that asks is in use. A row of its own: what looks the device up must not be woken. */
export const visit = mutation({
  args: {},
  returns: v.null(),
  handler: async (ctx) => {
    const owner = await requireOwner(ctx);
    const device = await deviceOf(ctx);
    if (device === null) return null;
    const now = Date.now();
    const known = await findVisit(ctx, device.deviceId);
    if (!known) await ctx.db.insert("deviceVisits", { deviceId: device.deviceId, owner, at: now });
    else if (known.at < now - VISIT_EVERY_MS) await ctx.db.patch(known._id, { at: now });
    return null;
  },
});

export const rename = mutation({
  args: { deviceId: v.string(), name: v.string() },
  returns: v.null(),
  handler: async (ctx, { deviceId, name }) => {
    const device = await mayChange(ctx, deviceId);
    checkLine("name", name, NAME_CHARS);
    await ctx.db.patch(device._id, { name });
    return null;
  },
});

/** Its token is worth nothing from now on; an open code neither. A device can revoke itself, and no other one. */
export const revoke = mutation({
  args: { deviceId: v.string() },
  returns: v.null(),
  handler: async (ctx, { deviceId }) => {
    const device = await mayChange(ctx, deviceId);
    if (device.state === "revoked") return null;
    await ctx.db.patch(device._id, { state: "revoked", sealed: undefined, claimHash: undefined, revokedAt: Date.now() });
    await dropSubscriptions(ctx, deviceId);
    const revoked = await devicesOf(ctx, device.owner, "revoked", REVOKED_DEVICES + OPEN_CODES);
    // One that is not known is refused as well, so the oldest need not be remembered.
    for (const old of revoked.slice(REVOKED_DEVICES)) await forget(ctx, old);
    return null;
  },
});

/** After its time no code keeps a token; that there was such a code is remembered until room is needed. */
export const lapse = internalMutation({
  args: { deviceId: v.string() },
  returns: v.null(),
  handler: async (ctx, { deviceId }) => {
    const device = await findDevice(ctx, deviceId);
    if (device?.sealed !== undefined) await ctx.db.patch(device._id, { sealed: undefined, claimHash: undefined });
    return null;
  },
});

function paired({ deviceId, validUntil }: Doc<"devices">, name: string, token: string) {
  return { status: "paired" as const, deviceId, name, token, validUntil };
}

async function makeRoom(ctx: MutationCtx, owner: string): Promise<void> {
  const now = Date.now();
  const open = await devicesOf(ctx, owner, "open", 2 * OPEN_CODES);
  const waiting = open.filter((device) => device.openUntil > now);
  for (const lapsed of open.filter((device) => device.openUntil <= now)) await forget(ctx, lapsed);
  if (waiting.length >= OPEN_CODES) {
    throw refusal("queue_full", `${waiting.length} pairing codes wait already: use one, or drop them with \`orchestrator device revoke\``);
  }
  const paired = await devicesOf(ctx, owner, "paired", LIVE_DEVICES);
  // A token that has ended takes no place.
  const ended = paired.filter((device) => device.validUntil <= now);
  for (const device of ended) await forget(ctx, device);
  if (paired.length - ended.length >= LIVE_DEVICES) {
    throw refusal("queue_full", `${LIVE_DEVICES} devices are paired: revoke one with \`orchestrator device revoke\``);
  }
}

/** Newest first. */
async function devicesOf(
  ctx: QueryCtx,
  owner: string,
  state: Doc<"devices">["state"],
  most: number,
): Promise<Doc<"devices">[]> {
  return await ctx.db
    .query("devices")
    .withIndex("by_state", (q) => q.eq("owner", owner).eq("state", state))
    .order("desc")
    .take(most);
}

async function mayChange(ctx: QueryCtx, deviceId: string): Promise<Doc<"devices">> {
  const owner = await requireOwner(ctx);
  const device = await findDevice(ctx, deviceId);
  if (!device || device.owner !== owner) throw refusal("not_found", `there is no device ${deviceId}: see \`orchestrator device list\``);
  const self = await deviceOf(ctx);
  if (self !== null && self.deviceId !== deviceId) {
    throw refusal("forbidden", "a paired device can change only itself: the owner's key can change any");
  }
  return device;
}

async function findVisit(ctx: QueryCtx, deviceId: string): Promise<Doc<"deviceVisits"> | null> {
  return await ctx.db
    .query("deviceVisits")
    .withIndex("by_device", (q) => q.eq("deviceId", deviceId))
    .unique();
}

async function forget(ctx: MutationCtx, device: Doc<"devices">): Promise<void> {
  const visit = await findVisit(ctx, device.deviceId);
  if (visit) await ctx.db.delete(visit._id);
  await dropSubscriptions(ctx, device.deviceId);
  await ctx.db.delete(device._id);
}

function shown(row: Doc<"devices">, seenAt: number | undefined, self: string | undefined) {
  return {
    deviceId: row.deviceId,
    name: row.name,
    state: row.state,
    createdAt: row.createdAt,
    openUntil: row.openUntil,
    validUntil: row.validUntil,
    ...(row.pairedAt === undefined ? {} : { pairedAt: row.pairedAt }),
    ...(seenAt === undefined ? {} : { seenAt }),
    ...(row.revokedAt === undefined ? {} : { revokedAt: row.revokedAt }),
    isThis: row.deviceId === self,
  };
}
