// Machines: where workers live. A machine is a name for people and a place for what its supervisors report about it;
// it proves nothing by itself, its workers' tokens do.

import { v } from "convex/values";
import { refusal } from "./lib/errors";
import { LIST_MACHINES, NAME_CHARS, checkId, checkText, checkTools } from "./lib/limits";
import { findMachine, ownedMachine, requireOwner } from "./lib/owners";
import { mutation, query, type Doc } from "./lib/server";

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
    checkText("name", args.name, NAME_CHARS);
    checkText("hostname", args.hostname, NAME_CHARS);
    checkText("os", args.os, NAME_CHARS);
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
    await ctx.db.delete(known._id);
    return null;
  },
});

function shown(row: Doc<"machines">) {
  const { machineId, name, hostname, os, tools, createdAt, lastSeenAt } = row;
  return { machineId, name, hostname, os, tools, createdAt, lastSeenAt };
}
