// The life of a command: pending → processing → completed or failed. The first supervisor that takes it carries it out;
// what its end leaves behind is ended with a reason, so that an owner never waits for nobody.

import { configOf, configRows, runAfter } from "./enrolling";
import { refusal } from "./errors";
import { forgetCommand } from "./jobs";
import { COMMAND_ID_KEPT_MS, ENDED_COMMANDS_KEPT, OPEN_COMMANDS_PER_MACHINE, checkId } from "./limits";
import { ownedWorker } from "./owners";
import { initPrompt } from "./prompts";
import type { Doc, MutationCtx, QueryCtx } from "./server";
import type { CommandType, TurnError } from "./values";

export type Command = Doc<"machineCommands">;

export interface Asking {
  type: CommandType;
  workerId?: string | undefined;
  room?: string | undefined;
  role?: string | undefined;
  tool?: string | undefined;
}

/** What a command needs besides its type, from the request and from what the machine has reported of the role. */
export interface Target {
  workerId?: string;
  room?: string;
  role?: string;
  tool?: string;
  workingDirectory?: string;
  prompt?: string;
}

export async function target(ctx: QueryCtx, machine: Doc<"machines">, asking: Asking): Promise<Target> {
  const { type, workerId, room, role } = asking;
  if (type === "ping" || type === "status") {
    if (room !== undefined || role !== undefined || asking.tool !== undefined) {
      throw refusal("invalid", `${type} takes no room, role or tool`);
    }
    return workerId === undefined ? {} : { workerId: (await workerOf(ctx, machine, workerId)).workerId };
  }
  if (room === undefined || role === undefined) throw refusal("invalid", `${type} needs a room and a role`);
  checkId("room", room);
  checkId("role", role);
  const known = await configOf(ctx, machine.machineId, room, role);
  const chosen = workerId ?? known?.workerId;
  if (chosen === undefined) {
    const next = type === "stop-agent" ? "there is nothing to stop" : "name a worker and a tool";
    throw refusal("not_found", `machine ${machine.machineId} has no ${role} of room ${room} yet: ${next}`);
  }
  const worker = await workerOf(ctx, machine, chosen);
  if (type === "stop-agent") return { workerId: chosen, room, role };
  const tool = asking.tool ?? known?.agentType;
  if (tool === undefined) throw refusal("invalid", "start-agent needs a tool the first time");
  if (!machine.tools.includes(tool)) {
    throw refusal("unavailable", `machine ${machine.machineId} has no ${tool}; it has: ${machine.tools.join(", ") || "none"}`);
  }
  const sameWorker = known?.workerId === worker.workerId;
  const directory = sameWorker ? known.workingDirectory : worker.directory;
  const prompt = initPrompt({ room, role, machine: machine.name, directory });
  return { workerId: worker.workerId, room, role, tool, workingDirectory: directory, prompt };
}

async function workerOf(ctx: QueryCtx, machine: Doc<"machines">, workerId: string): Promise<Doc<"workers">> {
  const worker = await ownedWorker(ctx, machine.owner, workerId);
  if (worker.machineId !== machine.machineId) {
    throw refusal("forbidden", `worker ${workerId} is on machine ${worker.machineId}, not on ${machine.machineId}`);
  }
  if (worker.state !== "approved") {
    throw refusal(worker.state === "pending" ? "pending" : "revoked", `worker ${workerId} is ${worker.state}: approve it first`);
  }
  return worker;
}

export async function findCommand(ctx: QueryCtx, commandId: string): Promise<Command | null> {
  return await ctx.db
    .query("machineCommands")
    .withIndex("by_command", (q) => q.eq("commandId", commandId))
    .unique();
}

/** The id of a command that is not kept any more. */
export async function findUsed(ctx: QueryCtx, commandId: string): Promise<Doc<"usedCommands"> | null> {
  return await ctx.db
    .query("usedCommands")
    .withIndex("by_command", (q) => q.eq("commandId", commandId))
    .unique();
}

export async function openCommands(ctx: QueryCtx, machineId: string): Promise<Command[]> {
  return await ctx.db
    .query("machineCommands")
    .withIndex("by_machine", (q) => q.eq("machineId", machineId).eq("open", true))
    .take(OPEN_COMMANDS_PER_MACHINE);
}

/** The commands that the worker's present supervisor has to see: what it may take, and what it has taken. */
export async function commandsFor(ctx: QueryCtx, worker: Doc<"workers">): Promise<Command[]> {
  const open = await openCommands(ctx, worker.machineId);
  return open.filter((command) => {
    if (command.takenBy) return command.takenBy.workerId === worker.workerId;
    return command.workerId === undefined || command.workerId === worker.workerId;
  });
}

/** A role that another worker of the machine has had is the worker's that was told to start it. */
export async function moveRole(ctx: MutationCtx, { type, machineId, room, role, tool, workingDirectory }: Command, workerId: string): Promise<void> {
  if (type !== "start-agent" || room === undefined || role === undefined) return;
  const known = await configOf(ctx, machineId, room, role);
  if (!known || known.workerId === workerId) return;
  await ctx.db.patch(known._id, {
    workerId,
    agentType: tool ?? known.agentType,
    workingDirectory: workingDirectory ?? known.workingDirectory,
    run: { state: "none" },
    updatedAt: Date.now(),
  });
}

export async function end(ctx: MutationCtx, command: Command, how: { result: string } | { error: TurnError }): Promise<void> {
  const state = "result" in how ? "completed" : "failed";
  await ctx.db.patch(command._id, { ...how, state, open: false, finishedAt: Date.now() });
  await prune(ctx, command.machineId);
}

/** What an earlier supervisor of the worker was carrying out when it ended: it did not report, so nobody knows more. */
export async function endLeftBehind(ctx: MutationCtx, worker: Doc<"workers">, epoch: number): Promise<void> {
  const message = "the supervisor that carried the command out ended before it reported a result";
  for (const command of await openCommands(ctx, worker.machineId)) {
    if (command.takenBy?.workerId !== worker.workerId || command.takenBy.epoch === epoch) continue;
    await end(ctx, command, { error: { code: "crashed", message } });
  }
}

/** Assistants die with what runs them: what ran for a role of the worker is not running any more. */
export async function endRuns(ctx: MutationCtx, worker: Doc<"workers">, reason: string): Promise<void> {
  const now = Date.now();
  for (const config of await configRows(ctx, worker.machineId)) {
    if (config.workerId !== worker.workerId || config.run.state !== "running") continue;
    const run = runAfter(config.run, { state: "ended", reason }, now);
    await ctx.db.patch(config._id, { run, updatedAt: now });
  }
}

/** Its supervisor stops everything, and may not write any more how that went. */
export async function endAllOf(ctx: MutationCtx, worker: Doc<"workers">, reason: string): Promise<void> {
  await endRuns(ctx, worker, reason);
  for (const command of await openCommands(ctx, worker.machineId)) {
    if (command.takenBy?.workerId !== worker.workerId) continue;
    await end(ctx, command, { error: { code: "revoked", message: `${reason} while the command was carried out` } });
  }
}

/** Ended commands are kept for their owner to read, a bounded number of them; of others the id, for a time. */
async function prune(ctx: MutationCtx, machineId: string): Promise<void> {
  const ended = await ctx.db
    .query("machineCommands")
    .withIndex("by_machine", (q) => q.eq("machineId", machineId).eq("open", false))
    .take(ENDED_COMMANDS_KEPT + OPEN_COMMANDS_PER_MACHINE);
  for (const { _id, commandId } of ended.slice(0, Math.max(0, ended.length - ENDED_COMMANDS_KEPT))) {
    await ctx.db.delete(_id);
    await ctx.db.insert("usedCommands", { commandId });
    await ctx.scheduler.runAfter(COMMAND_ID_KEPT_MS, forgetCommand, { commandId });
  }
}
