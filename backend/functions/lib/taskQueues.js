// Generated from convex/lib/taskQueues.ts by `npm run strip`: change that file, not this one.
// Which queue a task is in: a worker's, done by its supervisor, or that of a room's role, done by the assistant that
// plays it, on whatever machine of the owner that is. A task keeps its place in its queue.

import { refusal } from "./errors";
import { checkId } from "./limits";
import { ownedWorker, usableWorker } from "./owners";











/** The queue that an owner names; of a worker that can still be given work when `usable`. */
export async function queueNamed(ctx          , owner        , to           , usable         )                 {
  const { workerId, room, role } = to;
  if (workerId !== undefined && room === undefined && role === undefined) {
    await (usable ? usableWorker : ownedWorker)(ctx, owner, workerId);
    return { owner, workerId };
  }
  if (workerId !== undefined || room === undefined || role === undefined) {
    throw refusal("invalid", "a task is for a worker, or for a room and a role of it: name one of the two");
  }
  checkId("room", room);
  checkId("role", role);
  return { owner, room, role };
}

/** The fields by which a task is in the queue. */
export function placeIn(queue       )            {
  return "workerId" in queue ? { workerId: queue.workerId } : { room: queue.room, role: queue.role };
}

export function queueOf({ owner, workerId, room, role }      )        {
  if (workerId !== undefined) return { owner, workerId };
  return { owner, room: room ?? "", role: role ?? "" };
}

export function isIn(task      , queue       )          {
  const place = placeIn(queue);
  return task.owner === queue.owner && task.workerId === place.workerId && task.room === place.room && task.role === place.role;
}

/** The queue's newest tasks. */
export async function newestIn(ctx          , queue       , limit        , beforeSeq         )                  {
  const tasks = ctx.db.query("tasks");
  const inQueue =
    "workerId" in queue
      ? tasks.withIndex("by_worker", (q) => {
          const all = q.eq("workerId", queue.workerId);
          return beforeSeq === undefined ? all : all.lt("seq", beforeSeq);
        })
      : tasks.withIndex("by_role", (q) => {
          const all = q.eq("owner", queue.owner).eq("room", queue.room).eq("role", queue.role);
          return beforeSeq === undefined ? all : all.lt("seq", beforeSeq);
        });
  return await inQueue.order("desc").take(limit);
}

/** The queue's tasks of a state, the oldest first. */
export async function oldestOf(ctx          , queue       , state           , limit        )                  {
  const tasks = ctx.db.query("tasks");
  const inState =
    "workerId" in queue
      ? tasks.withIndex("by_worker_state", (q) => q.eq("workerId", queue.workerId).eq("state", state))
      : tasks.withIndex("by_role_state", (q) =>
          q.eq("owner", queue.owner).eq("room", queue.room).eq("role", queue.role).eq("state", state),
        );
  return await inState.take(limit);
}
