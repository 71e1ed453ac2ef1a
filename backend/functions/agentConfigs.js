// Generated from convex/agentConfigs.ts by `npm run strip`: change that file, not this one.
// Which assistant plays which role of which room on a machine, where, and whether it runs. A supervisor (or a command
// beside it) reports it with its worker's token; the owner reads it, and starts from it.

import { v } from "convex/values";
import { configsOf, runAfter, shownConfig } from "./lib/enrolling";
import { refusal } from "./lib/errors";
import { AGENT_CONFIGS_PER_MACHINE, NAME_CHARS, PATH_CHARS, checkId, checkText } from "./lib/limits";
import { ownedMachine, requireOwner } from "./lib/owners";
import { mutation, query } from "./lib/server";
import { requireToken } from "./lib/tokens";
import { agentConfig, runReport } from "./lib/values";

/** One row a role: the last report stands. Without `run` what is known of a running assistant stays. */
export const update = mutation({
  args: {
    token: v.string(),
    room: v.string(),
    role: v.string(),
    agentType: v.string(),
    workingDirectory: v.string(),
    run: v.optional(runReport),
  },
  returns: v.null(),
  handler: async (ctx, { token, run, ...report }) => {
    const worker = await requireToken(ctx, token);
    checkId("room", report.room);
    checkId("role", report.role);
    checkText("agentType", report.agentType, NAME_CHARS);
    checkText("workingDirectory", report.workingDirectory, PATH_CHARS);
    const { machineId, workerId, owner } = worker;
    const known = await ctx.db
      .query("machineAgentConfigs")
      .withIndex("by_role", (q) => q.eq("machineId", machineId).eq("room", report.room).eq("role", report.role))
      .unique();
    const now = Date.now();
    const fields = { ...report, workerId, updatedAt: now, ...(run === undefined ? {} : { run: runAfter(known?.run, run, now) }) };
    if (known) {
      await ctx.db.patch(known._id, fields);
      return null;
    }
    if ((await configsOf(ctx, machineId)).length === AGENT_CONFIGS_PER_MACHINE) {
      throw refusal("queue_full", `machine ${machineId} has ${AGENT_CONFIGS_PER_MACHINE} roles already`);
    }
    await ctx.db.insert("machineAgentConfigs", { run: { state: "none" }, ...fields, machineId, owner });
    return null;
  },
});

export const list = query({
  args: { machineId: v.optional(v.string()) },
  returns: v.array(agentConfig),
  handler: async (ctx, { machineId }) => {
    const owner = await requireOwner(ctx);
    if (machineId !== undefined) await ownedMachine(ctx, owner, machineId);
    const rows = await ctx.db
      .query("machineAgentConfigs")
      .withIndex("by_owner", (q) => {
        const all = q.eq("owner", owner);
        return machineId === undefined ? all : all.eq("machineId", machineId);
      })
      .take(AGENT_CONFIGS_PER_MACHINE);
    return rows.map(shownConfig);
  },
});
