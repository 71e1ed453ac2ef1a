// Generated from convex/lib/values.ts by `npm run strip`: change that file, not this one.
// Validators that several tables and functions share. They are the shapes on the wire: see README.md.

import { v,            } from "convex/values";

export const workerState = v.union(
  v.literal("pending"),
  v.literal("approved"),
  v.literal("revoked"),
  v.literal("removed"),
);


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


export const openState = v.union(v.literal("queued"), v.literal("claimed"));
export const turnState = v.union(openState, outcome);


/** Why a turn did not complete: a stable code and a text for people. */
export const turnError = v.object({ code: v.string(), message: v.string() });


/**
 * What follows the end of a turn: `continue`, a turn that goes on with it; `provisional`, the answer of the assistant's
 * store, which could not be asked.
 */
export const following = v.union(v.literal("continue"), v.literal("provisional"));


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


/** A piece of a turn's content. `reset` voids what was streamed under its part before. */
export const itemFields = {
  index: v.number(),
  timestamp: v.number(),
  partId: v.string(),
  kind: v.union(partKind, v.literal("reset")),
  content: v.string(),
};
export const item = v.object(itemFields);


/** A part of an answer; of a tool the text is its state as JSON. */
export const part = v.object({ partId: v.string(), kind: partKind, text: v.string() });


/** `start-agent` and `stop-agent` name a room's role, the others nothing. */
export const commandType = v.union(
  v.literal("start-agent"),
  v.literal("stop-agent"),
  v.literal("ping"),
  v.literal("status"),
);


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

export const requestKind = v.union(v.literal("permission"), v.literal("question"));

/** Of what an owner is asked. `expired`: nobody answered in time; `withdrawn`: nobody waits for the answer any more. */
export const requestState = v.union(
  v.literal("open"),
  v.literal("answered"),
  v.literal("withdrawn"),
  v.literal("expired"),
);


const question = v.object({
  question: v.string(),
  header: v.optional(v.string()),
  options: v.array(v.object({ label: v.string(), description: v.optional(v.string()) })),
  /** More than one option can be chosen. */
  multiple: v.optional(v.boolean()),
  /** `false`: no text of one's own. */
  custom: v.optional(v.boolean()),
});

/** What is asked, in the words of the assistant. `always` is what an answer `always` would allow from then on. */
export const askedText = {
  title: v.string(),
  permission: v.optional(v.string()),
  patterns: v.optional(v.array(v.string())),
  always: v.optional(v.array(v.string())),
  /** The command, the change as a diff, the address: whatever there is to look at. */
  details: v.optional(v.string()),
  /** The sub-agent that asks. */
  from: v.optional(v.string()),
  questions: v.optional(v.array(question)),
};
export const requestFields = { kind: requestKind, ...askedText };
const asked = v.object(requestFields);


/** Of each question the chosen options' labels, a text of one's own, or both. */
export const answerFields = {
  reply: v.union(v.literal("once"), v.literal("always"), v.literal("reject"), v.literal("answer")),
  /** With `reject`: what the assistant is told. */
  message: v.optional(v.string()),
  /** With `answer`: one for each question. */
  answers: v.optional(v.array(v.object({ options: v.array(v.string()), text: v.optional(v.string()) }))),
};
export const requestAnswer = v.object(answerFields);


export const requestRow = {
  requestId: v.string(),
  workerId: v.string(),
  sessionId: v.string(),
  turnId: v.string(),
  kind: requestKind,
  state: requestState,
  askedAt: v.number(),
  deadline: v.number(),
  endedAt: v.optional(v.number()),
};
export const shownRequestFields = { ...requestRow, ...askedText, answer: v.optional(requestAnswer) };

/** A model as `messages:send` takes it: `provider/model`, in which the model's part may have slashes. */
export const modelChoice = v.object({ id: v.string(), name: v.string(), default: v.boolean() });
export const agentChoice = v.object({ name: v.string() });
