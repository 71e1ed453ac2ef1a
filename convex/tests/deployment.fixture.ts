// A deployment in memory for the tests, with shorthands for what most of them need: an owner, a machine, a worker with
// a connected supervisor, a session with a claimed turn. (Files with a second dot in their name are not deployed.)

import { convexTest, type TestConvex } from "convex-test";
import { anyApi, type ApiFromModules } from "convex/server";
import { ConvexError } from "convex/values";
import { vi } from "vitest";
import type * as agentConfigs from "../agentConfigs";
import type * as attachments from "../attachments";
import type * as choices from "../choices";
import type * as chunks from "../chunks";
import type * as commands from "../commands";
import type * as devices from "../devices";
import type * as machines from "../machines";
import type * as messages from "../messages";
import type * as permissions from "../permissions";
import type * as notices from "../notices";
import type * as presence from "../presence";
import type * as push from "../push";
import schema from "../schema";
import type * as sessions from "../sessions";
import type * as tasks from "../tasks";
import type * as viewers from "../viewers";
import type * as work from "../work";
import type * as workers from "../workers";
import type { Item } from "../lib/values";

type Modules = {
  agentConfigs: typeof agentConfigs;
  attachments: typeof attachments;
  choices: typeof choices;
  chunks: typeof chunks;
  commands: typeof commands;
  devices: typeof devices;
  machines: typeof machines;
  messages: typeof messages;
  permissions: typeof permissions;
  notices: typeof notices;
  presence: typeof presence;
  push: typeof push;
  sessions: typeof sessions;
  tasks: typeof tasks;
  viewers: typeof viewers;
  work: typeof work;
  workers: typeof workers;
};
export const api = anyApi as unknown as ApiFromModules<Modules>;

const sources = import.meta.glob(["../*.ts", "../lib/*.ts"]) as Record<string, () => Promise<unknown>>;

export type Deployment = TestConvex<typeof schema>;

/** A deployment with the limits of a real one. `modules` stands for another build of the functions. */
export function deployment(modules: Record<string, () => Promise<unknown>> = sources): Deployment {
  // convex-test finds the root of the functions by their generated folder, which there is none of.
  const root = Object.keys(modules)[0]!.replace(/(lib\/)?[^/]+$/, "");
  return convexTest({
    schema,
    modules: { ...modules, [`${root}_generated/api.js`]: () => Promise.resolve({}) },
    transactionLimits: true,
  });
}

export const ownerOf = (t: Deployment) => t.withIdentity({ issuer: "https://orchestrator.local", subject: "owner" });
export const strangerOf = (t: Deployment) => t.withIdentity({ issuer: "https://orchestrator.local", subject: "stranger" });
export type Caller = ReturnType<typeof ownerOf>;

export const MACHINE = { machineId: "m1", name: "laptop", hostname: "laptop.lan", os: "linux", tools: ["opencode"] };

export const SUPERVISOR = {
  installId: "install-1",
  startId: "start-1",
  bootId: "boot-1",
  storeId: "store-1",
  takeOver: false,
  machine: { hostname: "laptop.lan", os: "linux 6", tools: ["opencode", "git"] },
};

/** What the functions for supervisors take. */
export interface Credential {
  token: string;
  epoch: number;
}

export async function createWorker(owner: Caller, workerId = "w1", machineId = "m1"): Promise<string> {
  await owner.mutation(api.machines.register, { ...MACHINE, machineId });
  const args = { workerId, machineId, name: "shop", directory: "/home/me/shop" };
  return (await owner.mutation(api.workers.create, args)).token;
}

/** An approved worker with a connected supervisor. */
export async function servedWorker(t: Deployment, workerId = "w1"): Promise<Credential> {
  const owner = ownerOf(t);
  const token = await createWorker(owner, workerId);
  await owner.mutation(api.workers.approve, { workerId });
  const { epoch } = await t.mutation(api.workers.connect, { token, ...SUPERVISOR });
  return { token, epoch };
}

export async function send(t: Deployment, id: string, to: { sessionId: string } | { workerId: string }, content = `text of ${id}`) {
  return await ownerOf(t).mutation(api.messages.send, { id, content, ...to });
}

/** A turn that the supervisor has claimed, in a session of its own. */
export async function claimedTurn(t: Deployment, worker: Credential, id = "a", workerId = "w1"): Promise<string> {
  const { turnId } = await send(t, id, { workerId });
  await t.mutation(api.messages.claim, { ...worker, turnId });
  return turnId;
}

export function item(index: number, content: string, partId = "p1", kind: Item["kind"] = "text"): Item {
  return { index, timestamp: 1_000 + index, partId, kind, content };
}

export async function append(t: Deployment, worker: Credential, turn: string, items: Item[]) {
  const { results } = await t.mutation(api.chunks.append, { batches: [{ ...worker, turn, items }] });
  return results[0]!;
}

export async function finish(t: Deployment, worker: Credential, turnId: string, items: Item[] = []) {
  return await t.mutation(api.messages.finish, { ...worker, turnId, outcome: "complete", items });
}

export async function listed(t: Deployment, sessionId: string) {
  return (await ownerOf(t).query(api.messages.list, { sessionId })).messages;
}

export async function turnRow(t: Deployment, turnId: string) {
  return (await listed(t, (await row(t, turnId)).sessionId)).find((message) => message.id === turnId)!;
}

async function row(t: Deployment, turnId: string) {
  return await t.run(async (ctx) => {
    const found = await ctx.db
      .query("messages")
      .withIndex("by_message", (q) => q.eq("messageId", turnId))
      .unique();
    return found!;
  });
}

export async function countRows(t: Deployment, table: "chunks" | "parts" | "messages" | "sessions" | "credentials" | "permissions" | "permissionTexts"): Promise<number> {
  return await t.run(async (ctx) => (await ctx.db.query(table).collect()).length);
}

/** The code of the refusal that a call ends with. */
export async function code(call: Promise<unknown>): Promise<string> {
  return (await refusal(call)).code;
}

export async function refusal(call: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof ConvexError)) throw error;
    return typeof error.data === "string" ? JSON.parse(error.data) : error.data;
  }
  throw new Error("the call was not refused");
}

/** Lets the deployment's time pass, running what is scheduled on the way. Needs fake timers. */
export async function pass(t: Deployment, ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
  await t.finishInProgressScheduledFunctions();
}
