// Generated from convex/machines.ts by `npm run strip`: change that file, not this one.
// Machines: where workers live. A machine is a name for people and a place for what its supervisors report about it;
// it proves nothing by itself, its workers' tokens do.

import { v } from "convex/values";
import { openCommands } from "./lib/commanding";
import { enrolPage, enrolment } from "./lib/enrolling";
import { refusal } from "./lib/errors";
import { AGENT_CONFIGS_PER_MACHINE, ENDED_COMMANDS_KEPT, LIST_MACHINES, NAME_CHARS, checkId, checkLine, checkTools } from "./lib/limits";
import { deleteMachineTokens, forgetMachineTokens, mintMachineToken, requireMachineToken, revokeMachineTokens } from "./lib/machineTokens";
import { findMachine, ownedMachine, requireKeyholder, requireOwner } from "./lib/owners";
import { mutation, query,                            } from "./lib/server";

const machine = v.object({
  machineId: v.string(),
  name: v.string(),
  hostname: v.string(),
  os: v.string(),
  tools: v.array(v.string()),
  createdAt: v.number(),
  lastSeenAt: v.number(),
});

/** Makes the machine known, or brings what is known up to date. */
export const register = mutation({
  args: {
    machineId: v.string(),
    name: v.string(),
    hostname: v.string(),
    os: v.string(),
    tools: v.array(v.string()),
  },
  returns: v.object({ machineId: v.string() }),
  handler: async (ctx, args) => {
    const owner = await requireOwner(ctx);
    checkId("machineId", args.machineId);
    checkLine("name", args.name, NAME_CHARS);
    checkLine("hostname", args.hostname, NAME_CHARS);
    checkLine("os", args.os, NAME_CHARS);
    checkTools(args.tools);
    const now = Date.now();
    if (await findMachine(ctx, args.machineId)) {
      const known = await ownedMachine(ctx, owner, args.machineId);
      await ctx.db.patch(known._id, { ...args, lastSeenAt: now });
    } else {
      await ctx.db.insert("machines", { ...args, owner, createdAt: now, lastSeenAt: now });
    }
    return { machineId: args.machineId };
  },
});

export const list = query({
  args: {},
  returns: v.array(machine),
  handler: async (ctx) => {
    const owner = await requireOwner(ctx);
    const rows = await ctx.db
      .query("machines")
      .withIndex("by_owner", (q) => q.eq("owner", owner))
      .take(LIST_MACHINES);
    return rows.map(shown);
  },
});

export const get = query({
  args: { machineId: v.string() },
  returns: v.union(machine, v.null()),
  handler: async (ctx, { machineId }) => {
    const owner = await requireOwner(ctx);
    if (!(await findMachine(ctx, machineId))) return null;
    return shown(await ownedMachine(ctx, owner, machineId));
  },
});

/** Forgets a machine without workers. One that is not there is removed already. */
export const remove = mutation({
  args: { machineId: v.string() },
  returns: v.null(),
  handler: async (ctx, { machineId }) => {
    const owner = await requireOwner(ctx);
    if (!(await findMachine(ctx, machineId))) return null;
    const known = await ownedMachine(ctx, owner, machineId);
    const worker = await ctx.db
      .query("workers")
      .withIndex("by_owner", (q) => q.eq("owner", owner).eq("removed", false).eq("machineId", machineId))
      .first();
    if (worker) {
      throw refusal("conflict", `machine ${machineId} still has worker ${worker.workerId}: remove its workers first`);
    }
    await deleteMachineTokens(ctx, machineId);
    await forgetRoles(ctx, machineId);
    await ctx.db.delete(known._id);
    return null;
  },
});

/** A new machine token in place of all older ones. What was enrolled with those goes on: its workers have their own. */
export const rotate = mutation({
  args: { machineId: v.string() },
  returns: v.object({ token: v.string() }),
  handler: async (ctx, { machineId }) => {
    const known = await ownedMachine(ctx, await requireKeyholder(ctx), machineId);
    await revokeMachineTokens(ctx, known.machineId);
    await forgetMachineTokens(ctx, known.machineId);
    return { token: await mintMachineToken(ctx, known.machineId) };
  },
});

/** Gives an installation the machine's workers, with a credential each, and what is known of them. */
export const enrol = mutation({
  args: {
    token: v.string(),
    installId: v.string(),
    machine: v.object({ hostname: v.string(), os: v.string(), tools: v.array(v.string()) }),
    after: v.optional(v.string()),
  },
  returns: enrolment,
  handler: async (ctx, { token, installId, machine: report, after = "" }) => {
    const known = await requireMachineToken(ctx, token);
    checkLine("installId", installId, NAME_CHARS);
    checkLine("hostname", report.hostname, NAME_CHARS);
    checkLine("os", report.os, NAME_CHARS);
    checkTools(report.tools);
    await ctx.db.patch(known._id, { ...report, lastSeenAt: Date.now() });
    return await enrolPage(ctx, known, installId, after);
  },
});

/** What belongs to a machine that is gone. The bounds of both tables make this one transaction. */
async function forgetRoles(ctx             , machineId        )                {
  const configs = await ctx.db
    .query("machineAgentConfigs")
    .withIndex("by_role", (q) => q.eq("machineId", machineId))
    .take(AGENT_CONFIGS_PER_MACHINE);
  const ended = await ctx.db
    .query("machineCommands")
    .withIndex("by_machine", (q) => q.eq("machineId", machineId).eq("open", false))
    .take(ENDED_COMMANDS_KEPT);
  for (const row of [...configs, ...ended, ...(await openCommands(ctx, machineId))]) await ctx.db.delete(row._id);
}

function shown(row                 ) {
  const { machineId, name, hostname, os, tools, createdAt, lastSeenAt } = row;
  return { machineId, name, hostname, os, tools, createdAt, lastSeenAt };
}
