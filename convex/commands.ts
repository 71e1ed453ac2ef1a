// What an owner asks of a machine from afar: start or stop an assistant for a role, ping, status. The request names
// things that the deployment knows; which program runs where, and what it is told, is decided here and on the machine.

import { v, type Infer } from "convex/values";
import { end, findCommand, findUsed, moveRole, openCommands, target, type Asking, type Command } from "./lib/commanding";
import { refusal } from "./lib/errors";
import { expireCommand } from "./lib/jobs";
import {
  COMMAND_PENDING_LIMIT_MS,
  COMMAND_PROCESSING_LIMIT_MS,
  LIST_COMMANDS,
  OPEN_COMMANDS_PER_MACHINE,
  RESULT_CHARS,
  SECOND,
  checkId,
  cut,
} from "./lib/limits";
import { ownedMachine, requireOwner } from "./lib/owners";
import { internalMutation, mutation, query } from "./lib/server";
import { requireServing } from "./lib/tokens";
import { commandState, commandType, turnError } from "./lib/values";

/** The same id again is the same command, in whatever state it is by now. */
export const send = mutation({
  args: {
    id: v.string(),
    machineId: v.string(),
    type: commandType,
    workerId: v.optional(v.string()),
    room: v.optional(v.string()),
    role: v.optional(v.string()),
    tool: v.optional(v.string()),
  },
  returns: v.object({ commandId: v.string(), state: commandState }),
  handler: async (ctx, { id, machineId, ...asking }) => {
    const owner = await requireOwner(ctx);
    checkId("id", id);
    const machine = await ownedMachine(ctx, owner, machineId);
    const known = await findCommand(ctx, id);
    if (known) {
      if (!sameAsking(known, owner, machineId, asking)) {
        throw refusal("conflict", `command id ${id} is taken by another command: make a new id`);
      }
      return { commandId: id, state: known.state };
    }
    if (await findUsed(ctx, id)) {
      throw refusal("conflict", `command id ${id} is taken by a command that ended a while ago: make a new id`);
    }
    const open = await openCommands(ctx, machineId);
    if (open.length === OPEN_COMMANDS_PER_MACHINE) {
      throw refusal("queue_full", `${open.length} commands wait for machine ${machineId} already: try again later`);
    }
    await ctx.db.insert("machineCommands", {
      commandId: id,
      machineId,
      owner,
      type: asking.type,
      state: "pending",
      open: true,
      ...(await target(ctx, machine, asking)),
      createdAt: Date.now(),
    });
    await ctx.scheduler.runAfter(COMMAND_PENDING_LIMIT_MS, expireCommand, { commandId: id });
    return { commandId: id, state: "pending" as const };
  },
});

export const list = query({
  args: { machineId: v.string(), limit: v.optional(v.number()) },
  returns: v.array(
    v.object({
      commandId: v.string(),
      machineId: v.string(),
      type: commandType,
      state: commandState,
      workerId: v.optional(v.string()),
      room: v.optional(v.string()),
      role: v.optional(v.string()),
      tool: v.optional(v.string()),
      result: v.optional(v.string()),
      error: v.optional(turnError),
      createdAt: v.number(),
      takenAt: v.optional(v.number()),
      finishedAt: v.optional(v.number()),
    }),
  ),
  handler: async (ctx, { machineId, limit = LIST_COMMANDS }) => {
    await ownedMachine(ctx, await requireOwner(ctx), machineId);
    if (!Number.isInteger(limit) || limit < 1 || limit > LIST_COMMANDS) {
      throw refusal("invalid", `limit must be a whole number from 1 to ${LIST_COMMANDS}`);
    }
    const newest = async (open: boolean) =>
      await ctx.db
        .query("machineCommands")
        .withIndex("by_machine", (q) => q.eq("machineId", machineId).eq("open", open))
        .order("desc")
        .take(limit);
    const rows = [...(await newest(true)), ...(await newest(false))];
    rows.sort((a, b) => b._creationTime - a._creationTime);
    return rows.slice(0, limit).map((row) => {
      const { _id, _creationTime, owner, open, prompt, takenBy, workingDirectory, ...shown } = row;
      return shown;
    });
  },
});

const taken = v.object({
  commandId: v.string(),
  type: commandType,
  room: v.optional(v.string()),
  role: v.optional(v.string()),
  tool: v.optional(v.string()),
  workingDirectory: v.optional(v.string()),
  prompt: v.optional(v.string()),
});

const acknowledged = v.union(
  /** Carry it out. The same supervisor gets this however often it asks. */
  v.object({ status: v.literal("taken"), command: taken }),
  /** The result is written down. */
  v.object({ status: v.literal("closed") }),
  /** Somebody else carries it out, or it has ended: do nothing. */
  v.object({ status: v.literal("passed"), state: commandState }),
);

export const ack = mutation({
  args: {
    token: v.string(),
    epoch: v.number(),
    commandId: v.string(),
    state: v.union(v.literal("processing"), v.literal("completed"), v.literal("failed")),
    result: v.optional(v.string()),
    error: v.optional(turnError),
  },
  returns: acknowledged,
  handler: async (ctx, args): Promise<Infer<typeof acknowledged>> => {
    const { token, epoch, commandId, state } = args;
    const worker = await requireServing(ctx, token, epoch);
    const command = await findCommand(ctx, commandId);
    if (!command || command.machineId !== worker.machineId) {
      throw refusal("not_found", `machine ${worker.machineId} has no command ${commandId}`);
    }
    const mine = command.takenBy?.workerId === worker.workerId && command.takenBy.epoch === epoch;
    const forMe = command.workerId === undefined || command.workerId === worker.workerId;
    if (state === "processing") {
      if (command.state === "pending" && forMe) {
        await ctx.db.patch(command._id, {
          state: "processing",
          takenBy: { workerId: worker.workerId, epoch },
          takenAt: Date.now(),
        });
        await ctx.scheduler.runAfter(COMMAND_PROCESSING_LIMIT_MS, expireCommand, { commandId });
        await moveRole(ctx, command, worker.workerId);
      } else if (command.state !== "processing" || !mine) {
        return { status: "passed", state: command.state };
      }
      return { status: "taken", command: shownTaken(command) };
    }
    if (command.state !== "processing" || !mine) return { status: "passed", state: command.state };
    const failure = args.error ?? { code: "failed", message: "the command failed without saying why" };
    await end(
      ctx,
      command,
      state === "completed"
        ? { result: (args.result ?? "").slice(0, RESULT_CHARS) }
        : { error: { code: failure.code, message: cut(failure.message) } },
    );
    return { status: "closed" };
  },
});

/** Ends a command that waited, or was carried out, for too long. */
export const expire = internalMutation({
  args: { commandId: v.string() },
  returns: v.null(),
  handler: async (ctx, { commandId }) => {
    const command = await findCommand(ctx, commandId);
    if (!command?.open) return null;
    const now = Date.now();
    if (command.state === "pending") {
      const message = `no supervisor of the machine took the command within ${COMMAND_PENDING_LIMIT_MS / SECOND} s`;
      await end(ctx, command, { error: { code: "expired", message } });
    } else if (command.takenAt !== undefined && now - command.takenAt >= COMMAND_PROCESSING_LIMIT_MS) {
      const message = `the supervisor that took the command did not report within ${COMMAND_PROCESSING_LIMIT_MS / SECOND} s`;
      await end(ctx, command, { error: { code: "abandoned", message } });
    }
    return null;
  },
});

/** An id that was remembered for long enough. */
export const forget = internalMutation({
  args: { commandId: v.string() },
  returns: v.null(),
  handler: async (ctx, { commandId }) => {
    const used = await findUsed(ctx, commandId);
    if (used) await ctx.db.delete(used._id);
    return null;
  },
});

/** What the caller leaves open may have been filled in; what it names must be what the command has. */
function sameAsking(known: Command, owner: string, machineId: string, asking: Asking): boolean {
  const { type, room, role, workerId, tool } = asking;
  return (
    known.owner === owner &&
    known.machineId === machineId &&
    known.type === type &&
    known.room === room &&
    known.role === role &&
    (workerId === undefined || known.workerId === workerId) &&
    (tool === undefined || known.tool === tool)
  );
}

function shownTaken(command: Command): Infer<typeof taken> {
  const { commandId, type, room, role, tool, workingDirectory, prompt } = command;
  return {
    commandId,
    type,
    ...(room === undefined ? {} : { room }),
    ...(role === undefined ? {} : { role }),
    ...(tool === undefined ? {} : { tool }),
    ...(workingDirectory === undefined ? {} : { workingDirectory }),
    ...(prompt === undefined ? {} : { prompt }),
  };
}
