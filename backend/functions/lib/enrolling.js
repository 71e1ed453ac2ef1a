// Generated from convex/lib/enrolling.ts by `npm run strip`: change that file, not this one.
// What an installation gets back for its machine's token: the machine's workers with a credential each, and what is known
// of their sessions and of the roles that assistants play there. In pages, so that no machine is too large for one call.


import { v } from "convex/values";
import { AGENT_CONFIGS_PER_MACHINE, ENROL_PAGE, ENROL_SESSIONS, cut } from "./limits";
import { mintForInstall } from "./tokens";

import { agentConfig, agentRun, runReport, sessionStatus, workerState } from "./values";

const enrolledWorker = v.object({
  workerId: v.string(),
  name: v.string(),
  directory: v.string(),
  state: workerState,
  token: v.string(),
});

const knownSession = v.object({
  sessionId: v.string(),
  workerId: v.string(),
  title: v.string(),
  status: sessionStatus,
  model: v.optional(v.string()),
  agentSessionId: v.optional(v.string()),
  createdAt: v.number(),
  lastActivityAt: v.number(),
});

export const enrolment = v.object({
  machineId: v.string(),
  name: v.string(),
  workers: v.array(enrolledWorker),
  sessions: v.array(knownSession),
  /** Given with the first page. */
  agentConfigs: v.array(agentConfig),
  /** Pass it as `after` to get the workers that did not fit. */
  next: v.union(v.string(), v.null()),
});

export async function enrolPage(
  ctx             ,
  machine                 ,
  installId        ,
  after        ,
)                                   {
  const rows = await ctx.db
    .query("workers")
    .withIndex("by_machine", (q) => q.eq("machineId", machine.machineId).eq("removed", false).gt("workerId", after))
    .take(ENROL_PAGE);
  const workers = [];
  const sessions = [];
  for (const worker of rows) {
    const { workerId, name, directory, state } = worker;
    workers.push({ workerId, name, directory, state, token: await mintForInstall(ctx, worker, installId) });
    sessions.push(...(await sessionsOf(ctx, workerId)));
  }
  return {
    machineId: machine.machineId,
    name: machine.name,
    workers,
    sessions,
    agentConfigs: after === "" ? await configsOf(ctx, machine.machineId) : [],
    next: rows.length === ENROL_PAGE ? rows[ENROL_PAGE - 1] .workerId : null,
  };
}

async function sessionsOf(ctx          , workerId        )                                        {
  const rows = await ctx.db
    .query("sessions")
    .withIndex("by_worker", (q) => q.eq("workerId", workerId).eq("ended", false))
    .order("desc")
    .take(ENROL_SESSIONS);
  return rows.map((row) => ({
    sessionId: row.sessionId,
    workerId,
    title: row.title,
    status: row.status,
    ...(row.model === undefined ? {} : { model: row.model }),
    ...(row.agentSessionId === undefined ? {} : { agentSessionId: row.agentSessionId }),
    createdAt: row.createdAt,
    lastActivityAt: row.lastActivityAt,
  }));
}

export async function configRows(ctx          , machineId        )                                        {
  return await ctx.db
    .query("machineAgentConfigs")
    .withIndex("by_role", (q) => q.eq("machineId", machineId))
    .take(AGENT_CONFIGS_PER_MACHINE);
}

/** The one row of a role. */
export async function configOf(
  ctx          ,
  machineId        ,
  room        ,
  role        ,
)                                             {
  return await ctx.db
    .query("machineAgentConfigs")
    .withIndex("by_role", (q) => q.eq("machineId", machineId).eq("room", room).eq("role", role))
    .unique();
}

export async function configsOf(ctx          , machineId        )                                       {
  return (await configRows(ctx, machineId)).map(shownConfig);
}

/** The run that is shown after a report of it. */
export function runAfter(
  before                                    ,
  { state, reason }                         ,
  now        ,
)                         {
  const running = before?.state === "running" ? before.startedAt : undefined;
  const startedAt = state === "running" ? (running ?? now) : before?.startedAt;
  return {
    state,
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(state === "ended" || state === "failed" ? { endedAt: now } : {}),
    ...(reason === undefined ? {} : { reason: cut(reason) }),
  };
}

export function shownConfig(row                            )                            {
  const { machineId, workerId, room, role, agentType, workingDirectory, run, updatedAt } = row;
  return { machineId, workerId, room, role, agentType, workingDirectory, run, updatedAt };
}
