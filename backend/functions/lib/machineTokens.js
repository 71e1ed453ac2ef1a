// Generated from convex/lib/machineTokens.ts by `npm run strip`: change that file, not this one.
// Machine tokens: `machine_<id>:secret_<secret>`. One enrols an installation: it gives back what the deployment knows of
// the machine and mints a credential for each of its workers. It serves nothing by itself.

import { refusal } from "./errors";
import { CLOSE_PAGE, CREDENTIALS_PER_WORKER } from "./limits";
import { hashSecret, makeSecret } from "./secrets";


/** A further credential of the machine, as the whole token. It cannot be shown again. */
export async function mintMachineToken(ctx             , machineId        )                  {
  const secret = makeSecret();
  await ctx.db.insert("machineCredentials", {
    machineId,
    hash: await hashSecret(secret),
    revoked: false,
    createdAt: Date.now(),
  });
  return `machine_${machineId}:secret_${secret}`;
}

export async function revokeMachineTokens(ctx             , machineId        )                {
  const live = ctx.db
    .query("machineCredentials")
    .withIndex("by_machine", (q) => q.eq("machineId", machineId).eq("revoked", false));
  for await (const credential of live) {
    await ctx.db.patch(credential._id, { revoked: true });
  }
}

/** Of the revoked ones the newest stay, so that whoever still has one hears why it does not enrol. */
export async function forgetMachineTokens(ctx             , machineId        )                {
  const newestFirst = await ctx.db
    .query("machineCredentials")
    .withIndex("by_machine", (q) => q.eq("machineId", machineId).eq("revoked", true))
    .order("desc")
    .take(CREDENTIALS_PER_WORKER + CLOSE_PAGE);
  for (const old of newestFirst.slice(CREDENTIALS_PER_WORKER)) await ctx.db.delete(old._id);
}

/** All of them, with their machine. */
export async function deleteMachineTokens(ctx             , machineId        )                {
  for (const revoked of [false, true]) {
    const rows = ctx.db
      .query("machineCredentials")
      .withIndex("by_machine", (q) => q.eq("machineId", machineId).eq("revoked", revoked));
    for await (const credential of rows) await ctx.db.delete(credential._id);
  }
}

/** The machine that the token belongs to. */
export async function requireMachineToken(ctx          , text        )                           {
  const match = /^machine_([A-Za-z0-9_-]+):secret_([A-Za-z0-9_-]+)$/.exec(text);
  const [, machineId, secret] = match ?? [];
  if (!machineId || !secret) {
    throw refusal("unauthorized", "machine token must be in format: machine_<machine_id>:secret_<secret>");
  }
  const hash = await hashSecret(secret);
  const credential = await ctx.db
    .query("machineCredentials")
    .withIndex("by_hash", (q) => q.eq("machineId", machineId).eq("hash", hash))
    .unique();
  const machine = await ctx.db
    .query("machines")
    .withIndex("by_machine", (q) => q.eq("machineId", machineId))
    .unique();
  if (!credential || !machine) {
    throw refusal("unauthorized", "this deployment does not know the machine token: check token and URL");
  }
  if (credential.revoked) {
    throw refusal("revoked", "the machine token was replaced by a newer one: use that, or make another");
  }
  return machine;
}
