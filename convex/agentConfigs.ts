// Which assistant plays which role of which room on a machine, where, and whether it runs. A supervisor (or a command
// beside it) reports it with its worker's token; the owner reads it, and starts from it.

import { v } from "convex/values";
import { endRuns } from "./lib/commanding";
import { configOf, configsOf, runAfter, shownConfig } from "./lib/enrolling";
import { refusal } from "./lib/errors";
import { AGENT_CONFIGS_PER_MACHINE, NAME_CHARS, PATH_CHARS, checkId, checkLine } from "./lib/limits";
import { ownedMachine, requireOwner } from "./lib/owners";
import { mutation, query } from "./lib/server";
import { requireApproved, requireServing } from "./lib/tokens";
import { agentConfig, runReport } from "./lib/values";

/**
 * One row a role: the last report stands. A worker reaches its own roles alone: one of another worker's becomes its own
 * when it takes that worker's owner's `start-agent`. How a role runs is for the worker's present supervisor to say, with
 * its epoch; without `run` what is known of a running assistant stays.
 */
export const update = mutation({
  args: {
    token: v.string(),
    epoch: v.optional(v.number()),
    room: v.string(),
    role: v.string(),
    /** Without it, as it was reported before. */
    agentType: v.optional(v.string()),
    workingDirectory: v.string(),
    run: v.optional(runReport),
  },
  returns: v.null(),
  handler: async (ctx, { token, epoch, run, ...told }) => {
    if (run !== undefined && epoch === undefined) throw refusal("invalid", "how a role runs is reported with an epoch");
    const worker = epoch === undefined ? await requireApproved(ctx, token) : await requireServing(ctx, token, epoch);
    checkId("room", told.room);
    checkId("role", told.role);
    checkLine("workingDirectory", told.workingDirectory, PATH_CHARS);
    const { machineId, workerId, owner } = worker;
    const known = await configOf(ctx, machineId, told.room, told.role);
    const report = { ...told, agentType: told.agentType ?? known?.agentType ?? "unknown" };
    checkLine("agentType", report.agentType, NAME_CHARS);
    if (known && known.workerId !== workerId) {
      throw refusal("forbidden", `${report.role} of room ${report.room} is worker ${known.workerId}'s: its owner moves it with start-agent`);
    }
    const now = Date.now();
    const fields = { ...report, updatedAt: now, ...(run === undefined ? {} : { run: runAfter(known?.run, run, now) }) };
    if (known) {
      await ctx.db.patch(known._id, fields);
      return null;
    }
    if ((await configsOf(ctx, machineId)).length === AGENT_CONFIGS_PER_MACHINE) {
      throw refusal("queue_full", `machine ${machineId} has ${AGENT_CONFIGS_PER_MACHINE} roles already`);
    }
    await ctx.db.insert("machineAgentConfigs", { run: { state: "none" }, ...fields, machineId, workerId, owner });
    return null;
  },
});

/** A worker's actor that starts after a crash knows of no assistant, and those of the one before went with it. */
export const endRunning = mutation({
  args: { token: v.string(), epoch: v.number() },
  returns: v.null(),
  handler: async (ctx, { token, epoch }) => {
    const worker = await requireServing(ctx, token, epoch);
    await endRuns(ctx, worker, "the worker's actor crashed, and its assistants went with it");
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
