// Web Push: which devices are told what waits when their page is closed. A subscription is a paired device's, made with the public
// key of one sender (an installation of the supervisor), and nobody but that sender is given it: the deployment has no network,
// so whoever serves the workers sends. The endpoint is as good as a secret, so no owner's query shows it. What a device has
// here ends with the device, in the same transaction.

import { v } from "convex/values";
import { refusal } from "./lib/errors";
import { LIVE_DEVICES, PUSH_ENDPOINT_CHARS, PUSH_SENDERS, HOUR, checkId } from "./lib/limits";
import { deviceOf, findDevice, findMachine, requireOwner } from "./lib/owners";
import { dropSubscriptions } from "./lib/pushing";
import { mutation, query, type Doc, type MutationCtx, type QueryCtx } from "./lib/server";
import { requireCredential } from "./lib/tokens";

/** A sender that is still there says so no oftener. */
const OFFER_EVERY_MS = HOUR;

/** An uncompressed point of P-256, and 16 bytes, in base64url. */
const POINT = /^B[A-Za-z0-9_-]{86}$/;
const AUTH = /^[A-Za-z0-9_-]{22}$/;

/** The owner's installations that send, and whether the device that asks is told by them. */
export const senders = query({
  args: {},
  returns: v.object({
    /** Only a paired device can be told: what it has here ends when it is revoked. */
    isDevice: v.boolean(),
    senders: v.array(v.object({ installId: v.string(), machine: v.string(), publicKey: v.string(), isSubscribed: v.boolean() })),
  }),
  handler: async (ctx) => {
    const owner = await requireOwner(ctx);
    const device = await deviceOf(ctx);
    const told = new Set(device === null ? [] : (await subscriptionsOf(ctx, device.deviceId)).map((row) => row.installId));
    const rows = await sendersOf(ctx, owner);
    return {
      isDevice: device !== null,
      senders: await Promise.all(
        rows.map(async ({ installId, machineId, publicKey }) => ({
          installId,
          machine: (await findMachine(ctx, machineId))?.name ?? machineId,
          publicKey,
          isSubscribed: told.has(installId),
        })),
      ),
    };
  },
});

/** The device that asks is to be told by this sender; what it had of it before is replaced. */
export const subscribe = mutation({
  args: { installId: v.string(), publicKey: v.string(), endpoint: v.string(), p256dh: v.string(), auth: v.string() },
  returns: v.null(),
  handler: async (ctx, { installId, publicKey, endpoint, p256dh, auth }) => {
    const owner = await requireOwner(ctx);
    const device = await deviceOf(ctx);
    if (device === null) {
      throw refusal("forbidden", "only a paired device can be told while its page is closed: pair it with `orchestrator pair`");
    }
    checkId("installId", installId);
    checkEndpoint(endpoint);
    if (!POINT.test(p256dh)) throw refusal("invalid", "p256dh must be a point of P-256 in base64url");
    if (!AUTH.test(auth)) throw refusal("invalid", "auth must be 16 bytes in base64url");
    const sender = await findSender(ctx, owner, installId);
    if (!sender) throw refusal("not_found", `no installation ${installId} sends to your devices`);
    if (sender.publicKey !== publicKey) throw refusal("conflict", "this installation has another key by now: subscribe with that one");
    const same = await byEndpoint(ctx, endpoint);
    for (const row of await subscriptionsOf(ctx, device.deviceId)) {
      if (row.installId !== installId) continue;
      if (row.endpoint === endpoint && row.p256dh === p256dh && row.auth === auth) return null;
      await ctx.db.delete(row._id);
    }
    // A browser that was paired anew is one browser, and is not told twice; one that has gone over to another owner hears nothing of the first.
    for (const row of same) {
      if (row.deviceId !== device.deviceId) await ctx.db.delete(row._id);
    }
    await ctx.db.insert("pushSubscriptions", { owner, deviceId: device.deviceId, installId, endpoint, p256dh, auth, createdAt: Date.now() });
    return null;
  },
});

/** The device that asks is told nothing more. */
export const unsubscribe = mutation({
  args: {},
  returns: v.null(),
  handler: async (ctx) => {
    await requireOwner(ctx);
    const device = await deviceOf(ctx);
    if (device !== null) await dropSubscriptions(ctx, device.deviceId);
    return null;
  },
});

/** By a supervisor: the key that it signs with. Subscriptions of another key are void. Whether it stands: not before the installation serves the worker. */
export const offer = mutation({
  args: { token: v.string(), installId: v.string(), publicKey: v.string() },
  returns: v.boolean(),
  handler: async (ctx, { token, installId, publicKey }) => {
    const worker = await served(ctx, token, installId);
    if (worker === null) return false;
    checkId("installId", installId);
    if (!POINT.test(publicKey)) throw refusal("invalid", "publicKey must be a point of P-256 in base64url");
    const { owner, machineId } = worker;
    const now = Date.now();
    const known = await findSender(ctx, owner, installId);
    if (known) {
      if (known.publicKey !== publicKey) await forgetSubscriptionsTo(ctx, owner, installId);
      else if (known.machineId === machineId && known.at > now - OFFER_EVERY_MS) return true;
      await ctx.db.patch(known._id, { machineId, publicKey, at: now });
      return true;
    }
    const rows = await sendersOf(ctx, owner);
    if (rows.length >= PUSH_SENDERS) {
      const [oldest] = rows.sort((a, b) => a.at - b.at);
      if (oldest) {
        await forgetSubscriptionsTo(ctx, owner, oldest.installId);
        await ctx.db.delete(oldest._id);
      }
    }
    await ctx.db.insert("pushSenders", { owner, installId, machineId, publicKey, at: now });
    return true;
  },
});

/** By a supervisor: whom to send to what it tells the worker's owner. */
export const targets = query({
  args: { token: v.string(), installId: v.string() },
  returns: v.array(v.object({ endpoint: v.string(), p256dh: v.string(), auth: v.string() })),
  handler: async (ctx, { token, installId }) => {
    const worker = await served(ctx, token, installId);
    if (worker === null) return [];
    const now = Date.now();
    const rows = await subscriptionsTo(ctx, worker.owner, installId);
    const live = await Promise.all(
      rows.map(async (row) => {
        const device = await findDevice(ctx, row.deviceId);
        return device?.state === "paired" && device.validUntil > now;
      }),
    );
    return rows.filter((_, at) => live[at]).map(({ endpoint, p256dh, auth }) => ({ endpoint, p256dh, auth }));
  },
});

/** By a supervisor: the push service does not know the subscription any more. */
export const gone = mutation({
  args: { token: v.string(), installId: v.string(), endpoint: v.string() },
  returns: v.null(),
  handler: async (ctx, { token, installId, endpoint }) => {
    const worker = await served(ctx, token, installId);
    if (worker === null) return null;
    for (const row of await byEndpoint(ctx, endpoint)) {
      if (row.owner === worker.owner && row.installId === installId) await ctx.db.delete(row._id);
    }
    return null;
  },
});

/** The worker, if it is approved and this installation serves it. */
async function served(ctx: QueryCtx, token: string, installId: string): Promise<Doc<"workers"> | null> {
  const { worker } = await requireCredential(ctx, token);
  return worker.installId === installId && worker.state === "approved" ? worker : null;
}

function checkEndpoint(endpoint: string): void {
  if (endpoint.length > PUSH_ENDPOINT_CHARS) throw refusal("invalid", `endpoint can have ${PUSH_ENDPOINT_CHARS} characters`);
  // What the name leads to is the sender's to judge, who resolves it.
  if (!/^https:\/\/[A-Za-z0-9.-]+\.[A-Za-z]{2,}(:443)?\/[\x21-\x7e]+$/.test(endpoint)) {
    throw refusal("invalid", "endpoint must be an https:// address of a push service");
  }
}

async function sendersOf(ctx: QueryCtx, owner: string): Promise<Doc<"pushSenders">[]> {
  return await ctx.db
    .query("pushSenders")
    .withIndex("by_install", (q) => q.eq("owner", owner))
    .take(PUSH_SENDERS);
}

async function findSender(ctx: QueryCtx, owner: string, installId: string): Promise<Doc<"pushSenders"> | null> {
  return await ctx.db
    .query("pushSenders")
    .withIndex("by_install", (q) => q.eq("owner", owner).eq("installId", installId))
    .unique();
}

async function subscriptionsOf(ctx: QueryCtx, deviceId: string): Promise<Doc<"pushSubscriptions">[]> {
  return await ctx.db
    .query("pushSubscriptions")
    .withIndex("by_device", (q) => q.eq("deviceId", deviceId))
    .take(PUSH_SENDERS);
}

async function subscriptionsTo(ctx: QueryCtx, owner: string, installId: string): Promise<Doc<"pushSubscriptions">[]> {
  return await ctx.db
    .query("pushSubscriptions")
    .withIndex("by_sender", (q) => q.eq("owner", owner).eq("installId", installId))
    .take(2 * LIVE_DEVICES);
}

async function forgetSubscriptionsTo(ctx: MutationCtx, owner: string, installId: string): Promise<void> {
  for (const row of await subscriptionsTo(ctx, owner, installId)) await ctx.db.delete(row._id);
}

async function byEndpoint(ctx: QueryCtx, endpoint: string): Promise<Doc<"pushSubscriptions">[]> {
  return await ctx.db
    .query("pushSubscriptions")
    .withIndex("by_endpoint", (q) => q.eq("endpoint", endpoint))
    .take(LIVE_DEVICES);
}
