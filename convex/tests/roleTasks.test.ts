import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { api, code, createWorker, deployment, ownerOf, pass, servedWorker, strangerOf, type Deployment } from "./deployment.fixture";
import { taskHash } from "../lib/taskHash";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const HOUR = 3_600_000;
const DEN = { room: "den", role: "builder" };

async function add(t: Deployment, ids: string[], maxRetries = 2) {
  return await ownerOf(t).mutation(api.tasks.add, { ...DEN, tasks: ids.map((id) => ({ id, text: `do ${id}` })), maxRetries });
}

/** The role is reported by its player, as `wait-for-task` does it before anything else. */
async function plays(t: Deployment, token: string, more: { epoch: number; run: { state: "running" } } | object = {}) {
  await t.mutation(api.agentConfigs.update, { token, ...DEN, agentType: "claude", workingDirectory: "/home/me/shop", ...more });
  return token;
}

/** An approved worker of the owner on a machine of its own, that plays the role. */
async function player(t: Deployment, workerId: string, machineId: string): Promise<string> {
  const token = await createWorker(ownerOf(t), workerId, machineId);
  await ownerOf(t).mutation(api.workers.approve, { workerId });
  return await plays(t, token);
}

const take = (t: Deployment, token: string, leaseId: string, onlyNew?: boolean) =>
  t.mutation(api.tasks.take, { token, ...DEN, leaseId, ...(onlyNew === undefined ? {} : { onlyNew }) });

const done = (t: Deployment, token: string, taskId: string, leaseId: string) =>
  t.mutation(api.tasks.report, { token, taskId, leaseId, result: { status: "done", summary: "did it" } });

const fail = (t: Deployment, token: string, taskId: string, leaseId: string, retry = true) =>
  t.mutation(api.tasks.report, { token, taskId, leaseId, result: { status: "failed", reason: "no key", retry } });

async function task(t: Deployment, taskId: string) {
  return (await ownerOf(t).query(api.tasks.get, { taskId }))!.task;
}

describe("a role's task", () => {
  test("is taken in its order with a prompt of the deployment's, and reported", async () => {
    const t = deployment();
    const token = await player(t, "w1", "m1");
    expect(await take(t, token, "l0")).toEqual({ status: "none" });
    await add(t, ["a", "b"]);
    await add(t, ["a", "b"]);
    expect(await t.query(api.tasks.awaiting, { token, ...DEN })).toEqual({ queued: true, inHand: false });
    const first = await take(t, token, "l1");
    expect(first).toMatchObject({ status: "task", taskId: "a", text: "do a", attempt: 1, again: false });
    const { prompt } = first as { prompt: string };
    expect(prompt).toContain("----- task a -----\ndo a\n----- end of task a -----");
    expect(prompt).toContain("orchestrator task done a --lease l1 --summary");
    expect(prompt).toContain("orchestrator wait-for-task --room den --role builder");
    expect(await take(t, token, "l1")).toEqual(first);
    expect(await done(t, token, "a", "l1")).toEqual({ status: "ok", state: "done" });
    expect(await done(t, token, "a", "l1")).toEqual({ status: "already", state: "done" });
    expect(await task(t, "a")).toMatchObject({ state: "done", summary: "did it", holder: "w1", ...DEN, hash: taskHash("do a") });
    expect(await take(t, token, "l2")).toMatchObject({ taskId: "b" });
    const { tasks } = await ownerOf(t).query(api.tasks.list, DEN);
    expect(tasks.map(({ taskId, seq }) => [taskId, seq])).toEqual([["b", 1], ["a", 0]]);
  });

  test("stays in hand until it is reported, and another caller that waits does not get it", async () => {
    const t = deployment();
    const token = await player(t, "w1", "m1");
    await add(t, ["a", "b"]);
    await take(t, token, "l1");
    expect(await take(t, token, "l2", true)).toEqual({ status: "none" });
    expect(await t.query(api.tasks.awaiting, { token, ...DEN })).toEqual({ queued: true, inHand: true });
    const again = await take(t, token, "l3");
    expect(again).toMatchObject({ taskId: "a", attempt: 1, again: true });
    expect((again as { prompt: string }).prompt).toContain("in hand already");
    expect(await fail(t, token, "a", "l3")).toEqual({ status: "ok", state: "queued" });
    expect(await fail(t, token, "a", "l3")).toEqual({ status: "already", state: "queued" });
    expect(await take(t, token, "l4")).toMatchObject({ taskId: "a", attempt: 2, again: false });
    expect(await fail(t, token, "a", "l4", false)).toEqual({ status: "ok", state: "failed" });
    expect(await task(t, "a")).toMatchObject({ failure: { class: "assistant", message: "no key" } });
  });

  test("is one player's at a time: two machines get two tasks, and neither speaks for the other", async () => {
    const t = deployment();
    const here = await player(t, "w1", "m1");
    const there = await player(t, "w2", "m2");
    await add(t, ["a", "b"]);
    expect(await take(t, here, "l1")).toMatchObject({ taskId: "a" });
    expect(await take(t, there, "l2")).toMatchObject({ taskId: "b" });
    expect(await take(t, there, "l3")).toMatchObject({ taskId: "b", again: true });
    expect(await done(t, there, "a", "l3")).toEqual({ status: "lost", state: "running" });
    expect(await done(t, here, "a", "l1")).toEqual({ status: "ok", state: "done" });
  });

  test("is reported by whoever took it last: who was given up does not speak for the one in its place", async () => {
    const t = deployment();
    const token = await player(t, "w1", "m1");
    await add(t, ["a"]);
    await take(t, token, "l1");
    expect(await take(t, token, "l2")).toMatchObject({ taskId: "a", leaseId: "l2", again: true });
    expect(await done(t, token, "a", "l1")).toEqual({ status: "lost", state: "running" });
    expect(await fail(t, token, "a", "l2")).toEqual({ status: "ok", state: "queued" });
    await take(t, token, "l3");
    expect(await done(t, token, "a", "l2")).toEqual({ status: "already", state: "running" });
    expect(await done(t, token, "a", "l1")).toEqual({ status: "lost", state: "running" });
    expect(await done(t, token, "a", "l3")).toEqual({ status: "ok", state: "done" });
  });

  test("goes back when nobody reports it, and a late report is taken while nobody else has it", async () => {
    const t = deployment();
    const here = await player(t, "w1", "m1");
    const there = await player(t, "w2", "m2");
    await add(t, ["a", "b"]);
    await take(t, here, "l1");
    await pass(t, 6 * HOUR - 1);
    expect(await task(t, "a")).toMatchObject({ state: "running" });
    await pass(t, 120_000);
    expect(await task(t, "a")).toMatchObject({ state: "queued", attempt: 1, failure: { class: "lost" } });
    expect(await done(t, there, "a", "l1")).toEqual({ status: "lost", state: "queued" });
    expect(await done(t, here, "a", "l1")).toEqual({ status: "ok", state: "done" });
    await take(t, here, "l2");
    await pass(t, 7 * HOUR);
    expect(await take(t, there, "l3")).toMatchObject({ taskId: "b", attempt: 2 });
    expect(await done(t, here, "b", "l2")).toEqual({ status: "lost", state: "running" });
  });

  test("is not lost while a supervisor says that the role's assistant runs", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await plays(t, worker.token, { epoch: worker.epoch, run: { state: "running" } });
    await add(t, ["a"]);
    await take(t, worker.token, "l1");
    await pass(t, 6 * HOUR - 10_000);
    await t.mutation(api.presence.beat, worker);
    await pass(t, 20_000);
    await pass(t, 2 * HOUR);
    expect(await task(t, "a")).toMatchObject({ state: "running", attempt: 1 });
    // Its supervisor is not heard of any more.
    await pass(t, 5 * HOUR);
    expect(await task(t, "a")).toMatchObject({ state: "queued", failure: { class: "lost" } });
  });

  test("that is called off is over at once, and its result is not taken", async () => {
    const t = deployment();
    const token = await player(t, "w1", "m1");
    await add(t, ["a"]);
    await take(t, token, "l1");
    expect(await ownerOf(t).mutation(api.tasks.cancel, { taskId: "a" })).toEqual({ state: "canceled" });
    expect(await done(t, token, "a", "l1")).toEqual({ status: "lost", state: "canceled" });
    expect(await take(t, token, "l2")).toEqual({ status: "none" });
    expect(await ownerOf(t).mutation(api.tasks.retry, { taskId: "a" })).toEqual({ state: "queued" });
    expect(await take(t, token, "l3")).toMatchObject({ taskId: "a", attempt: 1 });
    await t.mutation(api.tasks.report, { token, taskId: "a", leaseId: "l3", result: { status: "returned" } });
    expect(await task(t, "a")).toMatchObject({ state: "queued", attempt: 0 });
  });

  test("is in no worker's queue, and a worker's in no role's", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await plays(t, worker.token);
    await add(t, ["a"]);
    await ownerOf(t).mutation(api.tasks.add, { workerId: "w1", tasks: [{ id: "b", text: "do b" }] });
    expect(await t.query(api.tasks.waiting, worker)).toMatchObject({ queued: true });
    expect(await t.mutation(api.tasks.pull, { ...worker, leaseId: "l1" })).toMatchObject({ taskId: "b" });
    expect(await t.mutation(api.tasks.pull, { ...worker, leaseId: "l1" })).toMatchObject({ taskId: "b" });
    expect(await take(t, worker.token, "l2")).toMatchObject({ taskId: "a" });
    expect(await code(done(t, worker.token, "b", "l1"))).toBe("conflict");
  });

  test("is not for strangers, not for whoever does not play the role, and not for both", async () => {
    const t = deployment();
    const token = await player(t, "w1", "m1");
    await add(t, ["a"]);
    expect(await code(strangerOf(t).query(api.tasks.get, { taskId: "a" }))).toBe("forbidden");
    expect(await strangerOf(t).query(api.tasks.list, DEN)).toEqual({ tasks: [] });
    await strangerOf(t).mutation(api.tasks.add, { ...DEN, tasks: [{ id: "theirs", text: "do theirs" }] });
    expect(await take(t, token, "l1")).toMatchObject({ taskId: "a" });
    expect(await code(done(t, token, "theirs", "l1"))).toBe("forbidden");
    const other = await createWorker(ownerOf(t), "w2", "m2");
    expect(await code(take(t, other, "l2"))).toBe("pending");
    await ownerOf(t).mutation(api.workers.approve, { workerId: "w2" });
    expect(await code(take(t, other, "l2"))).toBe("not_found");
    const beside = await createWorker(ownerOf(t), "w3", "m1");
    await ownerOf(t).mutation(api.workers.approve, { workerId: "w3" });
    expect(await code(take(t, beside, "l2"))).toBe("forbidden");
    await ownerOf(t).mutation(api.workers.revoke, { workerId: "w1" });
    expect(await code(done(t, token, "a", "l1"))).toBe("revoked");
    for (const to of [{}, { room: "den" }, { role: "builder" }, { workerId: "w2", ...DEN }, { room: "../x", role: "y" }]) {
      expect(await code(ownerOf(t).mutation(api.tasks.add, { ...to, tasks: [{ id: "x", text: "x" }] }))).toBe("invalid");
    }
    expect(await code(ownerOf(t).mutation(api.tasks.add, { ...DEN, tasks: [{ id: "a", text: "other" }] }))).toBe("conflict");
  });
});

test("the hash of a task is the one that names its branch", () => {
  for (const [text, hash] of [
    ["implement login", "1282544961935709"],
    ["add validation", "2456583589892771"],
    ["日本語 🎉", "1549504020616413"],
    ["", "3338908027751811"],
    ["t1200682", "341547149"],
    ["a".repeat(10_000), "4504614160560222"],
  ] as const) {
    expect(taskHash(text)).toBe(hash);
  }
});
