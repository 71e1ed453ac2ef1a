// Worker tokens: `machine_<id>:worker_<id>:secret_<secret>`. The deployment shows one when it makes it and stores
// only a hash of the secret, so nothing that reads the database can act as a worker.

import { refusal } from "./errors";
import { revokeReplaced } from "./jobs";
import { CREDENTIALS_PER_WORKER, CLOSE_PAGE, KEEP_OLDER_MS, LIVE_CREDENTIALS } from "./limits";
import { hashSecret, makeSecret } from "./secrets";
import type { Doc, MutationCtx, QueryCtx } from "./server";

interface Token {
  machineId: string;
  workerId: string;
  secret: string;
}

/** The token's three parts, or null when the text is not a token. */
export function parseToken(text: string): Token | null {
  const match = /^machine_([A-Za-z0-9_-]+):worker_([A-Za-z0-9_-]+):secret_([A-Za-z0-9_-]+)$/.exec(text);
  const [, machineId, workerId, secret] = match ?? [];
  if (!machineId || !workerId || !secret) return null;
  return { machineId, workerId, secret };
}

/** A further credential of the worker, as the whole token. It cannot be shown again. */
export async function mintToken(
  ctx: MutationCtx,
  worker: Pick<Doc<"workers">, "machineId" | "workerId">,
  installId?: string,
): Promise<string> {
  const secret = makeSecret();
  await ctx.db.insert("credentials", {
    workerId: worker.workerId,
    hash: await hashSecret(secret),
    revoked: false,
    ...(installId === undefined ? {} : { installId }),
    createdAt: Date.now(),
  });
  return `machine_${worker.machineId}:worker_${worker.workerId}:secret_${secret}`;
}

export async function revokeCredentials(ctx: MutationCtx, workerId: string): Promise<void> {
  const live = ctx.db
    .query("credentials")
    .withIndex("by_worker", (q) => q.eq("workerId", workerId).eq("revoked", false));
  for await (const credential of live) {
    await ctx.db.patch(credential._id, { revoked: true });
  }
}

/** Of the revoked credentials the newest stay, so that whoever still has one of them hears why it does not serve. */
export async function forgetCredentials(ctx: MutationCtx, workerId: string): Promise<void> {
  const newestFirst = await ctx.db
    .query("credentials")
    .withIndex("by_worker", (q) => q.eq("workerId", workerId).eq("revoked", true))
    .order("desc")
    .take(CREDENTIALS_PER_WORKER + CLOSE_PAGE);
  for (const old of newestFirst.slice(CREDENTIALS_PER_WORKER)) await ctx.db.delete(old._id);
}

/** The worker's valid credentials. */
export async function liveCredentials(ctx: QueryCtx, workerId: string): Promise<Doc<"credentials">["_id"][]> {
  const live = await ctx.db
    .query("credentials")
    .withIndex("by_worker", (q) => q.eq("workerId", workerId).eq("revoked", false))
    .take(LIVE_CREDENTIALS);
  return live.map((credential) => credential._id);
}

/**
 * A credential for an install that enrols. Those that the same install got before stay valid: its supervisor may be
 * serving with one, and whether the install can write the new one down is not known here. They go when a supervisor
 * connects with it (`takeIntoUse`). At the bound enrolled ones give way, first the oldest that never served.
 */
export async function mintForInstall(ctx: MutationCtx, worker: Doc<"workers">, installId: string): Promise<string> {
  const { workerId } = worker;
  const live = await ctx.db
    .query("credentials")
    .withIndex("by_worker", (q) => q.eq("workerId", workerId).eq("revoked", false))
    .take(CREDENTIALS_PER_WORKER);
  if (live.length === CREDENTIALS_PER_WORKER) {
    const enrolled = live.filter((credential) => credential.installId !== undefined);
    const [oldest] = [...enrolled.filter(({ used }) => !used), ...enrolled];
    if (!oldest) {
      throw refusal("queue_full", `worker ${workerId} has ${live.length} valid tokens already: rotate it to drop them`);
    }
    await ctx.db.patch(oldest._id, { revoked: true });
  }
  await forgetCredentials(ctx, workerId);
  return await mintToken(ctx, worker, installId);
}

/**
 * A supervisor has connected with the credential. The first time, those that its install enrolled for before have served
 * their time: they end after a while, so that a supervisor can change over in the middle of an answer.
 */
export async function takeIntoUse(ctx: MutationCtx, credential: Doc<"credentials">): Promise<void> {
  const { workerId, installId } = credential;
  if (credential.used) return;
  await ctx.db.patch(credential._id, { used: true });
  if (installId === undefined) return;
  const live = await ctx.db
    .query("credentials")
    .withIndex("by_install", (q) => q.eq("workerId", workerId).eq("installId", installId).eq("revoked", false))
    .take(LIVE_CREDENTIALS);
  const former = live.filter((other) => other._creationTime < credential._creationTime);
  if (former.length === 0) return;
  await ctx.scheduler.runAfter(KEEP_OLDER_MS, revokeReplaced, { credentials: former.map(({ _id }) => _id) });
}

export async function hasLiveCredential(ctx: QueryCtx, workerId: string): Promise<boolean> {
  const live = await ctx.db
    .query("credentials")
    .withIndex("by_worker", (q) => q.eq("workerId", workerId).eq("revoked", false))
    .first();
  return live !== null;
}

export type TokenVerdict =
  | { status: "ok"; worker: Doc<"workers">; credential: Doc<"credentials"> }
  | { status: "unauthorized" | "revoked" | "removed"; message: string };

/** Who the token is, as a value: callers that serve several tokens at once must not fail for one of them. */
export async function checkToken(ctx: QueryCtx, text: string): Promise<TokenVerdict> {
  const token = parseToken(text);
  if (!token) {
    return {
      status: "unauthorized",
      message: "worker token must be in format: machine_<machine_id>:worker_<worker_id>:secret_<secret>",
    };
  }
  const hash = await hashSecret(token.secret);
  const credential = await ctx.db
    .query("credentials")
    .withIndex("by_hash", (q) => q.eq("workerId", token.workerId).eq("hash", hash))
    .unique();
  const worker = await ctx.db
    .query("workers")
    .withIndex("by_worker", (q) => q.eq("workerId", token.workerId))
    .unique();
  if (!credential || !worker || worker.machineId !== token.machineId) {
    return { status: "unauthorized", message: "this deployment does not know the worker token: check token and URL" };
  }
  if (worker.state === "removed") {
    return { status: "removed", message: "the worker was removed: create a new one and use its token" };
  }
  if (worker.state === "revoked") {
    return { status: "revoked", message: "the worker was revoked: its owner can approve it again" };
  }
  if (credential.revoked) {
    return { status: "revoked", message: "the token was replaced by a newer one: use that, or make another" };
  }
  return { status: "ok", worker, credential };
}

/** The worker that the token belongs to. */
export async function requireToken(ctx: QueryCtx, text: string): Promise<Doc<"workers">> {
  return (await requireCredential(ctx, text)).worker;
}

/** The same, with what is known of the token itself. */
export async function requireCredential(ctx: QueryCtx, text: string) {
  const verdict = await checkToken(ctx, text);
  if (verdict.status !== "ok") throw refusal(verdict.status, verdict.message);
  return verdict;
}

/** Whether the epoch is that of the supervisor that connected last. */
export function isPresentEpoch(worker: Doc<"workers">, epoch: number): boolean {
  return worker.epoch >= 1 && worker.epoch === epoch;
}

/** The worker, by a supervisor that is still the present one. The worker may wait for approval. */
export async function requireEpoch(ctx: QueryCtx, text: string, epoch: number): Promise<Doc<"workers">> {
  const worker = await requireToken(ctx, text);
  if (!isPresentEpoch(worker, epoch)) {
    throw refusal("displaced", "another supervisor has connected with this token since: this one must stop serving it");
  }
  return worker;
}

/** The worker, if it is approved: for a command beside its supervisor, which has no epoch. */
export async function requireApproved(ctx: QueryCtx, text: string): Promise<Doc<"workers">> {
  return approved(await requireToken(ctx, text));
}

/** The worker, by its present supervisor, and approved: what every function that serves sessions asks for. */
export async function requireServing(ctx: QueryCtx, text: string, epoch: number): Promise<Doc<"workers">> {
  return approved(await requireEpoch(ctx, text, epoch));
}

function approved(worker: Doc<"workers">): Doc<"workers"> {
  if (worker.state !== "approved") {
    throw refusal("pending", "the worker waits for its owner's approval");
  }
  return worker;
}
