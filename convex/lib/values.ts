// Validators that several tables and functions share. They are the shapes on the wire: see README.md.

import { v, type Infer } from "convex/values";

export const workerState = v.union(
  v.literal("pending"),
  v.literal("approved"),
  v.literal("revoked"),
  v.literal("removed"),
);
export type WorkerState = Infer<typeof workerState>;

export const sessionStatus = v.union(
  v.literal("pending"),
  v.literal("active"),
  v.literal("idle"),
  v.literal("ended"),
  v.literal("failed"),
);

/** How a turn can end. */
export const outcome = v.union(
  v.literal("complete"),
  v.literal("interrupted"),
  v.literal("failed"),
  v.literal("aborted"),
);
export type Outcome = Infer<typeof outcome>;

export const openState = v.union(v.literal("queued"), v.literal("claimed"));
export const turnState = v.union(openState, outcome);
export type TurnState = Infer<typeof turnState>;

/** Why a turn did not complete: a stable code and a text for people. */
export const turnError = v.object({ code: v.string(), message: v.string() });
export type TurnError = Infer<typeof turnError>;

/**
 * What follows the end of a turn: `continue`, a turn that goes on with it; `provisional`, the answer of the assistant's
 * store, which could not be asked.
 */
export const following = v.union(v.literal("continue"), v.literal("provisional"));
export type Following = Infer<typeof following>;

/** Counts of tokens; the cost is in US dollars. */
export const usage = v.object({
  inputTokens: v.number(),
  outputTokens: v.number(),
  reasoningTokens: v.number(),
  cacheReadTokens: v.number(),
  cacheWriteTokens: v.number(),
  cost: v.number(),
});

export const partKind = v.union(v.literal("text"), v.literal("reasoning"), v.literal("tool"));
export type PartKind = Infer<typeof partKind>;

/** A piece of a turn's content. `reset` voids what was streamed under its part before. */
export const itemFields = {
  index: v.number(),
  timestamp: v.number(),
  partId: v.string(),
  kind: v.union(partKind, v.literal("reset")),
  content: v.string(),
};
export const item = v.object(itemFields);
export type Item = Infer<typeof item>;

/** A part of an answer; of a tool the text is its state as JSON. */
export const part = v.object({ partId: v.string(), kind: partKind, text: v.string() });
export type Part = Infer<typeof part>;

/** `start-agent` and `stop-agent` name a room's role, the others nothing. */
export const commandType = v.union(
  v.literal("start-agent"),
  v.literal("stop-agent"),
  v.literal("ping"),
  v.literal("status"),
);
export type CommandType = Infer<typeof commandType>;

export const commandState = v.union(
  v.literal("pending"),
  v.literal("processing"),
  v.literal("completed"),
  v.literal("failed"),
);

/** What has become of a role's assistant on its machine. */
export const agentRun = v.object({
  state: v.union(v.literal("none"), v.literal("running"), v.literal("ended"), v.literal("failed")),
  startedAt: v.optional(v.number()),
  endedAt: v.optional(v.number()),
  reason: v.optional(v.string()),
});

/** What is reported of it; the times are the deployment's. */
export const runReport = v.object({ state: agentRun.fields.state, reason: v.optional(v.string()) });

export const agentConfig = v.object({
  machineId: v.string(),
  workerId: v.string(),
  room: v.string(),
  role: v.string(),
  agentType: v.string(),
  workingDirectory: v.string(),
  run: agentRun,
  updatedAt: v.number(),
});
