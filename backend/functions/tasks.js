// Generated from convex/tasks.ts by `npm run strip`: change that file, not this one.
// The task queue. Owners add tasks to a worker; its supervisor pulls them one at a time under a lease, and acknowledges
// each with the branch it made or the reason why it did not. Or they add them to a role of a room, whose assistant takes
// one and reports it. How often a task is tried is decided here; how often a command is, by whoever runs it.

import { v,            } from "convex/values";
import { refusal } from "./lib/errors";
import { SECOND_LOOK_MS, checkId, cut, exceeds } from "./lib/limits";
import { requireOwner, usableWorker } from "./lib/owners";
import { taskPrompt } from "./lib/prompts";
import { ROLE_LEASE_MS, inHand, isPlaying, playedBy, reported } from "./lib/roleTasks";
import { internalMutation, mutation, query,                  } from "./lib/server";
import { taskHash } from "./lib/taskHash";
import { checkLease as scheduledCheckLease } from "./lib/taskJobs";
import { isIn, newestIn, oldestOf, placeIn, queueNamed, queueOf,            } from "./lib/taskQueues";
import {
  LEASE_MS,
  LIST_TASKS_DEFAULT,
  LIST_TASKS_MAX,
  OPEN_TASKS_PER_WORKER,
  REPORT_CHARS,
  RETRIES_DEFAULT,
  RETRIES_MAX,
  TASKS_PER_ADD,
  TASK_BYTES,
  TITLE_CHARS,
  artifact,
  cancelNow,
  fail,
  findTask,
  findText,
  finish,
  giveBack,
  lease,
  lostTask,
  lostUnder,
  newestWaiting,
  oldestIn,
  ownedTask,
  runOut,
  runningTask,
  takeUpAgain,
  taskFailure,
  taskResult,
  taskState,


} from "./lib/tasking";
import { requireApproved, requireServing } from "./lib/tokens";

const shownTask = v.object({
  taskId: v.string(),
  workerId: v.optional(v.string()),
  room: v.optional(v.string()),
  role: v.optional(v.string()),
  seq: v.number(),
  title: v.string(),
  hash: v.optional(v.string()),
  state: taskState,
  attempt: v.number(),
  maxRetries: v.number(),
  cancelRequested: v.boolean(),
  artifact: v.optional(artifact),
  failure: v.optional(taskFailure),
  holder: v.optional(v.string()),
  summary: v.optional(v.string()),
  report: v.optional(v.string()),
  createdAt: v.number(),
  startedAt: v.optional(v.number()),
  finishedAt: v.optional(v.number()),
});

/** Whose queue: a worker's, or that of a role of a room. */
const addressee = { workerId: v.optional(v.string()), room: v.optional(v.string()), role: v.optional(v.string()) };

/** Puts tasks at the end of a queue, in their order. The ids make it idempotent. */
export const add = mutation({
  args: {
    ...addressee,
    tasks: v.array(v.object({ id: v.string(), text: v.string() })),
    maxRetries: v.optional(v.number()),
  },
  returns: v.object({ taskIds: v.array(v.string()) }),
  handler: async (ctx, { tasks, maxRetries: given, ...to }) => {
    const owner = await requireOwner(ctx);
    const queue = await queueNamed(ctx, owner, to, true);
    if (tasks.length === 0 || tasks.length > TASKS_PER_ADD) {
      throw refusal("invalid", `1 to ${TASKS_PER_ADD} tasks can be added at once, these are ${tasks.length}`);
    }
    const maxRetries = given ?? RETRIES_DEFAULT;
    checkRetries(maxRetries);
    if (exceeds(tasks.map(({ text }) => text), 4 * 1_024 * 1_024)) {
      throw refusal("too_large", "the tasks together have more than 4 MiB: add fewer at once");
    }
    let seq = ((await newestIn(ctx, queue, 1))[0]?.seq ?? -1) + 1;
    let fresh = 0;
    for (const { id, text } of tasks) {
      checkId("a task's id", id);
      checkTask(text);
      if (await isThere(ctx, queue, id, text)) continue;
      await insert(ctx, queue, { id, text, seq, maxRetries, usualRetries: given === undefined });
      seq += 1;
      fresh += 1;
    }
    if (fresh > 0) await checkRoom(ctx, queue);
    return { taskIds: tasks.map(({ id }) => id) };
  },
});

/** The tasks of a queue, newest first. */
export const list = query({
  args: { ...addressee, limit: v.optional(v.number()), beforeSeq: v.optional(v.number()) },
  returns: v.object({ tasks: v.array(shownTask) }),
  handler: async (ctx, { limit = LIST_TASKS_DEFAULT, beforeSeq, ...to }) => {
    const queue = await queueNamed(ctx, await requireOwner(ctx), to, false);
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > LIST_TASKS_MAX) {
      throw refusal("invalid", `limit must be a whole number from 1 to ${LIST_TASKS_MAX}`);
    }
    const rows = await newestIn(ctx, queue, limit, beforeSeq);
    return { tasks: rows.map(shown) };
  },
});

/** One task with its whole text; null when there is none. */
export const get = query({
  args: { taskId: v.string() },
  returns: v.union(v.null(), v.object({ task: shownTask, text: v.string() })),
  handler: async (ctx, { taskId }) => {
    const owner = await requireOwner(ctx);
    if (!(await findTask(ctx, taskId))) return null;
    const task = await ownedTask(ctx, owner, taskId);
    return { task: shown(task), text: (await findText(ctx, taskId))?.text ?? "" };
  },
});

/** Puts a task that failed or was canceled back to its place, with all its attempts before it. */
export const retry = mutation({
  args: { taskId: v.string() },
  returns: v.object({ state: taskState }),
  handler: async (ctx, { taskId })                                => {
    const task = await ownedTask(ctx, await requireOwner(ctx), taskId);
    if (task.state === "done") {
      throw refusal("conflict", `task ${taskId} is done: add it again with another text`);
    }
    if (task.state === "queued" || task.state === "running") return { state: task.state };
    if (task.workerId !== undefined) await usableWorker(ctx, task.owner, task.workerId);
    await ctx.db.patch(task._id, { state: "queued", attempt: 0, cancelRequested: false, finishedAt: undefined });
    await checkRoom(ctx, queueOf(task));
    return { state: "queued" };
  },
});

/** Calls a task off: a waiting one at once, and a role's, which nobody could undo; a running one by a mark that its supervisor sees. */
export const cancel = mutation({
  args: { taskId: v.string() },
  returns: v.object({ state: taskState }),
  handler: async (ctx, { taskId })                                => {
    const task = await ownedTask(ctx, await requireOwner(ctx), taskId);
    const isOurs = task.state === "running" && task.role !== undefined;
    if (task.state === "queued" || isOurs) return { state: await cancelNow(ctx, task) };
    if (task.state === "running" && !task.cancelRequested) await ctx.db.patch(task._id, { cancelRequested: true });
    return { state: task.state };
  },
});

/** Forgets a task. Its branch stays. */
export const drop = mutation({
  args: { taskId: v.string() },
  returns: v.null(),
  handler: async (ctx, { taskId }) => {
    const owner = await requireOwner(ctx);
    if (!(await findTask(ctx, taskId))) return null;
    const task = await ownedTask(ctx, owner, taskId);
    if (task.state === "running") throw refusal("conflict", `task ${taskId} is running: cancel it first`);
    const text = await findText(ctx, taskId);
    if (text) await ctx.db.delete(text._id);
    await ctx.db.delete(task._id);
    return null;
  },
});

/** What a supervisor watches: whether it is worth pulling, and whether what it has in hand was called off. */
export const waiting = query({
  args: { token: v.string(), epoch: v.number() },
  returns: v.object({
    queued: v.boolean(),
    /** The last task of those that wait: another one says that its owner has added some. */
    newest: v.union(v.null(), v.string()),
    running: v.union(v.null(), v.object({ taskId: v.string(), canceled: v.boolean() })),
  }),
  handler: async (ctx, { token, epoch }) => {
    const { workerId } = await requireServing(ctx, token, epoch);
    const running = await runningTask(ctx, workerId);
    const newest = await newestWaiting(ctx, workerId);
    return {
      queued: newest !== null,
      newest: newest && newest.taskId,
      running: running && { taskId: running.taskId, canceled: running.cancelRequested },
    };
  },
});

const pulled = v.union(
  v.object({
    status: v.literal("task"),
    taskId: v.string(),
    text: v.string(),
    attempt: v.number(),
    leaseId: v.string(),
    /** From now. To be renewed, by the same pull, well before. */
    leaseMs: v.number(),
    canceled: v.boolean(),
  }),
  v.object({ status: v.literal("none") }),
  /** Another installation may still be at work on this worker's task. */
  v.object({ status: v.literal("busy") }),
  /** The known lease is nobody's any more. */
  v.object({ status: v.literal("lost") }),
);

/**
 * Takes the worker's next task under the lease, or renews the lease when it is held already. `known`: the lease of a
 * task that the installation has or had in hand: that task or none, but that one even when the lease ran out meanwhile
 * and nobody has taken the task since.
 */
export const pull = mutation({
  args: {
    token: v.string(),
    epoch: v.number(),
    leaseId: v.string(),
    known: v.optional(v.string()),
    /** The worker's setting, for tasks of which nobody has said how often they are tried. */
    maxRetries: v.optional(v.number()),
  },
  returns: pulled,
  handler: async (ctx, { token, epoch, leaseId, known, maxRetries })                                => {
    checkId("a lease's id", leaseId);
    if (maxRetries !== undefined) checkRetries(maxRetries);
    const worker = await requireServing(ctx, token, epoch);
    const running = await runningTask(ctx, worker.workerId);
    if (running && (running.leaseId === leaseId || (known !== undefined && running.leaseId === known))) {
      await ctx.db.patch(running._id, { leaseUntil: Date.now() + LEASE_MS });
      return await handed(ctx, running, running.attempt);
    }
    const lost = known === undefined ? null : await lostTask(ctx, worker, known);
    if (known !== undefined && !lost) return { status: "lost" };
    if (running) {
      // Another's ends with its lease, by `checkLease`. One that its own installation does not know of never began.
      if (running.leaseInstallId !== worker.installId) return { status: "busy" };
      await giveBack(ctx, running);
    }
    if (lost) {
      const again = await takeUpAgain(ctx, lost);
      return await handed(ctx, again, again.attempt);
    }
    const next = await oldestIn(ctx, worker.workerId, "queued");
    if (!next) return { status: "none" };
    const attempt = await lease(ctx, worker, next, leaseId, { maxRetries });
    return await handed(ctx, { ...next, leaseId }, attempt);
  },
});

/**
 * What became of a task. The first word under a lease counts, also when the lease ran out before it was said; a task that
 * was given to somebody else is `lost`.
 */
export const acknowledge = mutation({
  args: {
    token: v.string(),
    epoch: v.number(),
    taskId: v.string(),
    leaseId: v.string(),
    result: taskResult,
    report: v.optional(v.string()),
  },
  returns: v.object({
    status: v.union(v.literal("ok"), v.literal("already"), v.literal("lost")),
    state: v.union(v.null(), taskState),
  }),
  handler: async (ctx, { token, epoch, taskId, leaseId, result, report }) => {
    const worker = await requireServing(ctx, token, epoch);
    const task = await findTask(ctx, taskId);
    if (!task) return { status: "lost"         , state: null };
    if (task.workerId !== worker.workerId) throw refusal("forbidden", `task ${taskId} belongs to another worker`);
    const isHeld = task.state === "running" && task.leaseId === leaseId;
    if (!isHeld && !lostUnder(task, worker, leaseId)) {
      const status = task.settledLeaseId === leaseId ? ("already"         ) : ("lost"         );
      return { status, state: task.state };
    }
    const told = report === undefined ? {} : { report: report.slice(0, REPORT_CHARS) };
    await ctx.db.patch(task._id, { settledLeaseId: leaseId, ...told });
    if (result.status === "done") {
      return { status: "ok"         , state: await finish(ctx, task, { artifact: result.artifact }) };
    }
    if (result.status === "returned") return { status: "ok"         , state: await giveBack(ctx, task) };
    const failure = { class: result.failure.class.slice(0, 64), message: cut(result.failure.message) };
    return { status: "ok"         , state: await fail(ctx, task, failure, result.retry) };
  },
});

/** What a role's player watches while it waits. */
export const awaiting = query({
  args: { token: v.string(), room: v.string(), role: v.string() },
  returns: v.object({ queued: v.boolean(), inHand: v.boolean() }),
  handler: async (ctx, { token, room, role }) => {
    const worker = await requireApproved(ctx, token);
    const queue = await playedBy(ctx, worker, room, role);
    const held = await inHand(ctx, queue, worker);
    return { queued: (await oldestOf(ctx, queue, "queued", 1)).length > 0, inHand: held !== undefined };
  },
});

const taken = v.union(
  v.object({
    status: v.literal("task"),
    taskId: v.string(),
    text: v.string(),
    /** The whole of what the assistant is told. */
    prompt: v.string(),
    attempt: v.number(),
    /** To be shown by whoever reports the task. */
    leaseId: v.string(),
    /** The role had it in hand already. */
    again: v.boolean(),
  }),
  v.object({ status: v.literal("none") }),
);

/**
 * Takes the next task of a role that the token's worker plays. What the role has in hand comes first; a caller that
 * has been waiting says `onlyNew`, because what came into hand meanwhile is another caller's.
 */
export const take = mutation({
  args: { token: v.string(), room: v.string(), role: v.string(), leaseId: v.string(), onlyNew: v.optional(v.boolean()) },
  returns: taken,
  handler: async (ctx, { token, room, role, leaseId, onlyNew = false })                               => {
    checkId("a lease's id", leaseId);
    const worker = await requireApproved(ctx, token);
    const queue = await playedBy(ctx, worker, room, role);
    const told = async (task      , attempt        , again         )                               => {
      const { taskId } = task;
      const text = (await findText(ctx, taskId))?.text ?? "";
      return { status: "task", taskId, text, prompt: taskPrompt({ room, role, taskId, leaseId, text, attempt, again }), attempt, leaseId, again };
    };
    const held = await inHand(ctx, queue, worker);
    if (held?.leaseId === leaseId) return await told(held, held.attempt, false);
    if (held) {
      if (onlyNew) return { status: "none" };
      const leaseUntil = Date.now() + ROLE_LEASE_MS;
      await ctx.db.patch(held._id, { leaseId, leaseUntil });
      await ctx.scheduler.runAt(leaseUntil, scheduledCheckLease, { taskId: held.taskId, leaseId });
      return await told(held, held.attempt, true);
    }
    const [next] = await oldestOf(ctx, queue, "queued", 1);
    if (!next) return { status: "none" };
    return await told(next, await lease(ctx, worker, next, leaseId, { leaseMs: ROLE_LEASE_MS }), false);
  },
});

const roleResult = v.union(
  v.object({ status: v.literal("done"), summary: v.optional(v.string()) }),
  v.object({ status: v.literal("failed"), reason: v.string(), retry: v.boolean() }),
  v.object({ status: v.literal("returned") }),
);

/** What became of a role's task. The first word under a lease counts, and only that of the lease under which it was taken last. */
export const report = mutation({
  args: { token: v.string(), taskId: v.string(), leaseId: v.string(), result: roleResult },
  returns: v.object({
    status: v.union(v.literal("ok"), v.literal("already"), v.literal("lost")),
    state: taskState,
  }),
  handler: async (ctx, { token, taskId, leaseId, result }) => {
    const worker = await requireApproved(ctx, token);
    const task = await ownedTask(ctx, worker.owner, taskId);
    if (task.role === undefined) {
      throw refusal("conflict", `task ${taskId} is a worker's, not a role's: its supervisor says what becomes of it`);
    }
    if (task.holder !== worker.workerId) return { status: "lost"         , state: task.state };
    return await reported(ctx, task, leaseId, result);
  },
});

/**
 * The end of a lease that nobody renews. One look for each lease at a time; a renewed one is looked at again later. What
 * seems to have run out is looked at twice, the second time counted from the first: a deployment that was itself
 * away runs this before it can have heard from anybody.
 */
export const checkLease = internalMutation({
  args: { taskId: v.string(), leaseId: v.string(), again: v.optional(v.boolean()) },
  returns: v.null(),
  handler: async (ctx, { taskId, leaseId, again }) => {
    const task = await findTask(ctx, taskId);
    if (task?.state !== "running" || task.leaseId !== leaseId) return null;
    if (await isPlaying(ctx, task)) {
      const leaseUntil = Date.now() + ROLE_LEASE_MS;
      await ctx.db.patch(task._id, { leaseUntil });
      await ctx.scheduler.runAt(leaseUntil, scheduledCheckLease, { taskId, leaseId });
    } else if (Date.now() < (task.leaseUntil ?? 0)) {
      await ctx.scheduler.runAt(task.leaseUntil ?? 0, scheduledCheckLease, { taskId, leaseId });
    } else if (!again) {
      await ctx.scheduler.runAfter(SECOND_LOOK_MS, scheduledCheckLease, { taskId, leaseId, again: true });
    } else await runOut(ctx, task);
    return null;
  },
});

async function handed(ctx             , task      , attempt        )                                {
  return {
    status: "task",
    taskId: task.taskId,
    text: (await findText(ctx, task.taskId))?.text ?? "",
    attempt,
    leaseId: task.leaseId ?? "",
    leaseMs: LEASE_MS,
    canceled: task.cancelRequested,
  };
}

function shown(task      )                          {
  const { taskId, seq, title, state, attempt, maxRetries, cancelRequested, createdAt } = task;
  return {
    ...{ taskId, seq, title, state, attempt, maxRetries, cancelRequested, createdAt },
    ...(task.workerId !== undefined && { workerId: task.workerId }),
    ...(task.room !== undefined && { room: task.room }),
    ...(task.role !== undefined && { role: task.role }),
    ...(task.hash !== undefined && { hash: task.hash }),
    ...(task.holder !== undefined && { holder: task.holder }),
    ...(task.summary !== undefined && { summary: task.summary }),
    ...(task.artifact && { artifact: task.artifact }),
    ...(task.failure && { failure: task.failure }),
    ...(task.report !== undefined && { report: task.report }),
    ...(task.startedAt !== undefined && { startedAt: task.startedAt }),
    ...(task.finishedAt !== undefined && { finishedAt: task.finishedAt }),
  };
}

function checkTask(text        )       {
  if (text.trim() === "") throw refusal("invalid", "a task is empty: say what is to be done");
  if (exceeds([text], TASK_BYTES)) throw refusal("too_large", `a task can have ${TASK_BYTES} bytes at most`);
}

function checkRetries(maxRetries        )       {
  if (!Number.isSafeInteger(maxRetries) || maxRetries < 0 || maxRetries > RETRIES_MAX) {
    throw refusal("invalid", `maxRetries must be a whole number from 0 to ${RETRIES_MAX}`);
  }
}

/** Whether this very task was added before. The same id for something else is a conflict. */
async function isThere(ctx             , queue       , id        , text        )                   {
  const task = await findTask(ctx, id);
  if (!task) return false;
  const same = isIn(task, queue) && (await findText(ctx, id))?.text === text;
  if (!same) throw refusal("conflict", `task ${id} exists with another text or place: choose another id`);
  return true;
}

async function insert(
  ctx             ,
  queue       ,
  task                                                                                      ,
)                {
  const { id, text, seq, maxRetries, usualRetries } = task;
  await ctx.db.insert("tasks", {
    taskId: id,
    owner: queue.owner,
    ...placeIn(queue),
    seq,
    title: titleOf(text),
    hash: taskHash(text),
    state: "queued",
    attempt: 0,
    maxRetries,
    usualRetries,
    cancelRequested: false,
    createdAt: Date.now(),
  });
  await ctx.db.insert("taskTexts", { taskId: id, text });
}

function titleOf(text        )         {
  const line = text.trim().split("\n", 1)[0] .trim();
  return [...line].slice(0, TITLE_CHARS).join("");
}

async function checkRoom(ctx             , queue       )                {
  const queued = await oldestOf(ctx, queue, "queued", OPEN_TASKS_PER_WORKER + 1);
  if (queued.length > OPEN_TASKS_PER_WORKER) {
    throw refusal("queue_full", `${OPEN_TASKS_PER_WORKER} tasks can wait in a queue at most: let some be done first`);
  }
}
