// The tasks of a room's role. The assistant that plays it takes one with `wait-for-task`, which ends when it has printed
// it: nobody is left to renew a lease. So the lease is long, it goes on while a supervisor says that the role's
// assistant runs, and the role has its task in hand until it reports: asked again, it gets the same one again.

import { configOf } from "./enrolling";
import { refusal } from "./errors";
import { HOUR, cut } from "./limits";
import { findWorker } from "./owners";
import { findPresence, isFresh } from "./presence";
import type { Doc, MutationCtx, QueryCtx } from "./server";
import { fail, finish, giveBack, type Task, type TaskState } from "./tasking";
import { oldestOf, type Queue } from "./taskQueues";

/** For an assistant of which no supervisor says that it runs. */
export const ROLE_LEASE_MS = 6 * HOUR;
/** Workers that can play the same role at the same time. */
const PLAYERS = 100;

/** The queue of a role that the worker plays: whoever reports the role with its token does. */
export async function playedBy(ctx: QueryCtx, worker: Doc<"workers">, room: string, role: string): Promise<Queue> {
  const config = await configOf(ctx, worker.machineId, room, role);
  if (!config) {
    throw refusal("not_found", `machine ${worker.machineId} has no ${role} of room ${room}: report it with agentConfigs:update first`);
  }
  if (config.workerId !== worker.workerId) {
    throw refusal("forbidden", `${role} of room ${room} is worker ${config.workerId}'s on this machine`);
  }
  return { owner: worker.owner, room, role };
}

/** What the worker's player of the role has in hand. */
export async function inHand(ctx: QueryCtx, queue: Queue, worker: Doc<"workers">): Promise<Task | undefined> {
  const running = await oldestOf(ctx, queue, "running", PLAYERS);
  return running.find((task) => task.holder === worker.workerId);
}

/** Whether a supervisor says that the assistant which has the task runs. */
export async function isPlaying(ctx: QueryCtx, { holder, room, role }: Task): Promise<boolean> {
  if (holder === undefined || room === undefined || role === undefined) return false;
  const worker = await findWorker(ctx, holder);
  if (worker?.state !== "approved") return false;
  const config = await configOf(ctx, worker.machineId, room, role);
  const runs = config?.workerId === holder && config.run.state === "running";
  return runs && isFresh(await findPresence(ctx, holder), worker.epoch);
}

export type RoleResult = { status: "done"; summary?: string } | { status: "failed"; reason: string; retry: boolean } | { status: "returned" };

/**
 * The word of whoever took the task under the lease. What was only thought to be lost has its result after all: somebody did
 * the work, and a second time is what must not happen. Who asked for the task again has it under another lease, so an
 * assistant that was given up does not speak for the one in its place.
 */
export async function reported(
  ctx: MutationCtx,
  task: Task,
  leaseId: string,
  result: RoleResult,
): Promise<{ status: "ok" | "already" | "lost"; state: TaskState }> {
  const isHeld = task.state === "running" && task.leaseId === leaseId;
  const wasLost = (task.state === "queued" || task.state === "failed") && task.lostLeaseId === leaseId;
  if (!isHeld && !(wasLost && result.status === "done")) {
    return { status: task.settledLeaseId === leaseId ? "already" : "lost", state: task.state };
  }
  await ctx.db.patch(task._id, { settledLeaseId: leaseId });
  if (result.status === "done") {
    const summary = result.summary === undefined ? {} : { summary: cut(result.summary) };
    return { status: "ok", state: await finish(ctx, task, summary) };
  }
  if (result.status === "returned") return { status: "ok", state: await giveBack(ctx, task) };
  const failure = { class: "assistant", message: cut(result.reason) };
  return { status: "ok", state: await fail(ctx, task, failure, result.retry) };
}
