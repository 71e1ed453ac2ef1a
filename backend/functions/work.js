// Generated from convex/work.ts by `npm run strip`: change that file, not this one.
// What a supervisor has to do, as ids and states: one small query that it stays subscribed to. It reads no presence,
// no content and no chunk, so neither a beat nor a streaming answer runs it again.

import { v,            } from "convex/values";
import { commandsFor } from "./lib/commanding";
import { refusal } from "./lib/errors";
import { INBOX_REQUESTS, INBOX_SERVED } from "./lib/limits";
import { hasOpenTasks } from "./lib/tasking";
import { query } from "./lib/server";
import { checkToken, isPresentEpoch } from "./lib/tokens";
import { oldestOpenTurns } from "./lib/turns";
import { openState, requestState, sessionStatus } from "./lib/values";

const shape = v.object({
  state: v.union(v.literal("pending"), v.literal("approved"), v.literal("revoked"), v.literal("removed")),
  displaced: v.boolean(),
  /** Of each session its oldest open turn. */
  turns: v.array(v.object({ turnId: v.string(), sessionId: v.string(), state: openState, abort: v.boolean() })),
  /** The sessions that a supervisor has reported as running, whatever has become of them. */
  sessions: v.array(v.object({ sessionId: v.string(), status: sessionStatus })),
  /** What owners are asked, and what has ended of it and was not taken yet. */
  requests: v.array(v.object({ requestId: v.string(), sessionId: v.string(), state: requestState })),
  /** What owners ask: a pending one may be taken, a processing one is this worker's to end. */
  commands: v.array(v.object({ commandId: v.string(), state: v.union(v.literal("pending"), v.literal("processing")) })),
  /** Tasks wait, or one is in somebody's hand: it is worth asking for one. */
  tasks: v.boolean(),
});

export const inbox = query({
  args: { token: v.string(), epoch: v.number() },
  returns: shape,
  handler: async (ctx, { token, epoch })                               => {
    const nothing = { turns: [], sessions: [], requests: [], commands: [], tasks: false };
    const verdict = await checkToken(ctx, token);
    if (verdict.status !== "ok") {
      if (verdict.status === "unauthorized") throw refusal("unauthorized", verdict.message);
      return { state: verdict.status, displaced: false, ...nothing };
    }
    const { worker } = verdict;
    const state = worker.state === "approved" ? "approved" : "pending";
    if (!isPresentEpoch(worker, epoch)) return { state, displaced: true, ...nothing };
    if (state === "pending") return { state, displaced: false, ...nothing };
    const turns = await oldestOpenTurns(ctx, worker.workerId);
    const served = await ctx.db
      .query("sessions")
      .withIndex("by_served", (q) => q.eq("workerId", worker.workerId).eq("served", true))
      .take(INBOX_SERVED);
    const requests = await ctx.db
      .query("permissions")
      .withIndex("by_worker", (q) => q.eq("workerId", worker.workerId).eq("live", true))
      .take(INBOX_REQUESTS);
    return {
      state,
      displaced: false,
      turns: turns.map((turn) => ({
        turnId: turn.messageId,
        sessionId: turn.sessionId,
        state: turn.state === "claimed" ? "claimed" : "queued",
        abort: turn.abortRequested === true,
      })),
      sessions: served.map(({ sessionId, status }) => ({ sessionId, status })),
      requests: requests.map(({ requestId, sessionId, state }) => ({ requestId, sessionId, state })),
      commands: (await commandsFor(ctx, worker)).map((command) => ({
        commandId: command.commandId,
        state: command.state === "processing" ? "processing" : "pending",
      })),
      tasks: await hasOpenTasks(ctx, worker.workerId),
    };
  },
});
