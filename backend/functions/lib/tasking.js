// Generated from convex/lib/tasking.ts by `npm run strip`: change that file, not this one.
// The life of a task: queued → running → done, failed or canceled. A running task is held by a lease: whoever shows its
// id may speak about the task, and nobody else gets the task before the lease has run out. A lease that ran out is
// remembered until somebody else has the task: whoever was only away (a laptop that slept) goes on under it or brings its
// result. Of one worker one task runs at a time, because a directory has one user at a time.

import { v,            } from "convex/values";
import { refusal } from "./errors";
import { checkLease as scheduledCheckLease } from "./taskJobs";
import { SECOND } from "./limits";


/** Renewed by every pull that shows it. Longer than any pause of a supervisor that is alive. */
export const LEASE_MS = 300 * SECOND;
export const TASK_BYTES = 262_144;
export const TASKS_PER_ADD = 100;
export const OPEN_TASKS_PER_WORKER = 1_000;
export const LIST_TASKS_DEFAULT = 50;
export const LIST_TASKS_MAX = 200;
/** Further attempts after the first one, if nothing else is said. */
export const RETRIES_DEFAULT = 2;
export const RETRIES_MAX = 100;
export const REPORT_CHARS = 8_000;
export const TITLE_CHARS = 200;

export const taskState = v.union(
  v.literal("queued"),
  v.literal("running"),
  v.literal("done"),
  v.literal("failed"),
  v.literal("canceled"),
);


/** Where the work of a task is. */
export const artifact = v.object({
  branch: v.string(),
  previous: v.string(),
  base: v.string(),
  commit: v.string(),
  pushed: v.boolean(),
});

/** Why the last attempt failed: a class that programs know, and a text for people. */
export const taskFailure = v.object({ class: v.string(), message: v.string() });

export const taskResult = v.union(
  v.object({ status: v.literal("done"), artifact }),
  v.object({ status: v.literal("failed"), failure: taskFailure, retry: v.boolean() }),
  v.object({ status: v.literal("returned") }),
);


export const taskFields = {
  taskId: v.string(),
  owner: v.string(),
  /** Who is to do it: a worker's supervisor, or whoever plays a role of a room. */
  workerId: v.optional(v.string()),
  room: v.optional(v.string()),
  role: v.optional(v.string()),
  /** The order in which they are done; a task that is tried again keeps its place. */
  seq: v.number(),
  /** The first line. The text is in a table of its own. */
  title: v.string(),
  /** Names the task's branch, with the worker's prefix before it. */
  hash: v.optional(v.string()),
  state: taskState,
  /** Attempts that were begun and count. */
  attempt: v.number(),
  maxRetries: v.number(),
  /** Nobody has said how often it is tried: the worker's setting holds, if it has one. */
  usualRetries: v.optional(v.boolean()),
  cancelRequested: v.boolean(),
  leaseId: v.optional(v.string()),
  /** Whose it is: another start of the same install is known not to run it any more. */
  leaseInstallId: v.optional(v.string()),
  leaseUntil: v.optional(v.number()),
  /** The lease that ran out, and whose it was: as good as held until somebody takes the task or its owner calls it off. */
  lostLeaseId: v.optional(v.string()),
  lostInstallId: v.optional(v.string()),
  /** Of a role's task: the worker whose player of the role has it, or had it last. */
  holder: v.optional(v.string()),
  /** The lease that last brought the task to an end, so that saying it twice is harmless. */
  settledLeaseId: v.optional(v.string()),
  artifact: v.optional(artifact),
  failure: v.optional(taskFailure),
  /** Of a role's task: what whoever did it says about it. */
  summary: v.optional(v.string()),
  /** Figures of the last attempt, as JSON. */
  report: v.optional(v.string()),
  createdAt: v.number(),
  startedAt: v.optional(v.number()),
  finishedAt: v.optional(v.number()),
};



export async function findTask(ctx          , taskId        )                       {
  return await ctx.db
    .query("tasks")
    .withIndex("by_task", (q) => q.eq("taskId", taskId))
    .unique();
}

export async function ownedTask(ctx          , owner        , taskId        )                {
  const task = await findTask(ctx, taskId);
  if (!task) throw refusal("not_found", `task ${taskId} does not exist here: check the id and the deployment`);
  if (task.owner !== owner) throw refusal("forbidden", `task ${taskId} belongs to somebody else`);
  return task;
}

export async function findText(ctx          , taskId        )                                   {
  return await ctx.db
    .query("taskTexts")
    .withIndex("by_task", (q) => q.eq("taskId", taskId))
    .unique();
}

export async function runningTask(ctx          , workerId        )                       {
  return await oldestIn(ctx, workerId, "running");
}

export async function oldestIn(ctx          , workerId        , state           )                       {
  return await ctx.db
    .query("tasks")
    .withIndex("by_worker_state", (q) => q.eq("workerId", workerId).eq("state", state))
    .first();
}

export async function newestWaiting(ctx          , workerId        )                       {
  return await ctx.db
    .query("tasks")
    .withIndex("by_worker_state", (q) => q.eq("workerId", workerId).eq("state", "queued"))
    .order("desc")
    .first();
}

/** Whether a supervisor has something to do: a task waits, or is in somebody's hand. */
export async function hasOpenTasks(ctx          , workerId        )                   {
  return (await oldestIn(ctx, workerId, "queued")) !== null || (await runningTask(ctx, workerId)) !== null;
}

const notLost = { lostLeaseId: undefined, lostInstallId: undefined };
const free = { leaseId: undefined, leaseInstallId: undefined, leaseUntil: undefined, ...notLost };

/** Gives the task to whoever shows this lease. */
export async function lease(
  ctx             ,
  worker                ,
  task      ,
  leaseId        ,
  { maxRetries, leaseMs = LEASE_MS }                                                        = {},
)                  {
  const now = Date.now();
  const attempt = task.attempt + 1;
  const leaseUntil = now + leaseMs;
  await ctx.db.patch(task._id, {
    state: "running",
    attempt,
    leaseId,
    ...(worker.installId === undefined ? {} : { leaseInstallId: worker.installId }),
    leaseUntil,
    ...notLost,
    ...(task.role === undefined ? {} : { holder: worker.workerId }),
    startedAt: now,
    finishedAt: undefined,
    ...(task.usualRetries && maxRetries !== undefined ? { maxRetries } : {}),
  });
  await ctx.scheduler.runAt(leaseUntil, scheduledCheckLease, { taskId: task.taskId, leaseId });
  return attempt;
}

/** Back to its place, as if this attempt had not been. */
export async function giveBack(ctx             , task      )                     {
  if (task.cancelRequested) return await cancelNow(ctx, task);
  await ctx.db.patch(task._id, { ...free, state: "queued", attempt: Math.max(0, task.attempt - 1) });
  return "queued";
}

/** An attempt that failed. What may be tried again, and has attempts left, waits in its place. */
export async function fail(ctx             , task      , failure                           , retry         )                     {
  if (task.cancelRequested) {
    // Where what it left is kept is told all the same.
    await ctx.db.patch(task._id, { failure });
    return await cancelNow(ctx, task);
  }
  if (retry && task.attempt <= task.maxRetries) {
    await ctx.db.patch(task._id, { ...free, state: "queued", failure });
    return "queued";
  }
  await ctx.db.patch(task._id, { ...free, state: "failed", failure, finishedAt: Date.now() });
  return "failed";
}

/** What there is to show for it: a branch, or somebody's word. */
;

export async function finish(ctx             , task      , outcome         )                     {
  await ctx.db.patch(task._id, { ...free, summary: undefined, ...outcome, state: "done", failure: undefined, finishedAt: Date.now() });
  return "done";
}

export async function cancelNow(ctx             , task      )                     {
  await ctx.db.patch(task._id, { ...free, state: "canceled", finishedAt: Date.now() });
  return "canceled";
}

/** The lease has run out: the attempt counts, because nobody knows what it did. */
export async function runOut(ctx             , task      )                     {
  const who = task.role === undefined ? "the supervisor that ran the task" : `the ${task.role} that took the task`;
  const message = `${who} has not been heard of since`;
  const state = await fail(ctx, task, { class: "lost", message }, true);
  // One that was called off is nobody's.
  if (state !== "canceled") {
    await ctx.db.patch(task._id, { lostLeaseId: task.leaseId, lostInstallId: task.leaseInstallId });
  }
  return state;
}

/** Whether the installation lost the task with this lease, and nobody has taken it since. */
export function lostUnder(task      , worker                , leaseId        )          {
  const isOpen = task.state === "queued" || task.state === "failed";
  return isOpen && task.lostLeaseId === leaseId && task.lostInstallId === worker.installId;
}

/** The worker's task that was lost with this lease. */
export async function lostTask(ctx          , worker                , leaseId        )                       {
  const task = await ctx.db
    .query("tasks")
    .withIndex("by_worker_lost", (q) => q.eq("workerId", worker.workerId).eq("lostLeaseId", leaseId))
    .first();
  return task && lostUnder(task, worker, leaseId) ? task : null;
}

/** The same attempt goes on under the lease that was lost. */
export async function takeUpAgain(ctx             , task      )                {
  const { lostLeaseId: leaseId = "", lostInstallId: leaseInstallId } = task;
  const leaseUntil = Date.now() + LEASE_MS;
  const again = { state: "running"         , attempt: Math.max(1, task.attempt), leaseId, leaseInstallId, leaseUntil };
  await ctx.db.patch(task._id, { ...notLost, ...again, failure: undefined, finishedAt: undefined });
  await ctx.scheduler.runAt(leaseUntil, scheduledCheckLease, { taskId: task.taskId, leaseId });
  return { ...task, ...again };
}
