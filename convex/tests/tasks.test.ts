import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { SUPERVISOR, api, code, deployment, ownerOf, pass, servedWorker, strangerOf, type Credential, type Deployment } from "./deployment.fixture";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const MINUTE = 60_000;
const ARTIFACT = { branch: "12", previous: "main", base: "a", commit: "b", pushed: true };
const DONE = { status: "done" as const, artifact: ARTIFACT };
const failed = (retry = true) => ({ status: "failed" as const, failure: { class: "server", message: "500" }, retry });

async function add(t: Deployment, ids: string[], maxRetries?: number) {
  const tasks = ids.map((id) => ({ id, text: `do ${id}\nand more` }));
  const retries = maxRetries === undefined ? {} : { maxRetries };
  return await ownerOf(t).mutation(api.tasks.add, { workerId: "w1", tasks, ...retries });
}

const pull = (t: Deployment, worker: Credential, leaseId: string, known?: string) =>
  t.mutation(api.tasks.pull, { ...worker, leaseId, ...(known === undefined ? {} : { known }) });

const acknowledge = (t: Deployment, worker: Credential, taskId: string, leaseId: string, result: typeof DONE | ReturnType<typeof failed> | { status: "returned" }) =>
  t.mutation(api.tasks.acknowledge, { ...worker, taskId, leaseId, result });

async function task(t: Deployment, taskId: string) {
  return (await ownerOf(t).query(api.tasks.get, { taskId }))!.task;
}

/** The same token on another machine, which takes it over. */
async function elsewhere(t: Deployment, worker: Credential, installId = "install-2"): Promise<Credential> {
  const connected = await t.mutation(api.workers.connect, { ...SUPERVISOR, token: worker.token, installId, startId: `start of ${installId}`, takeOver: true });
  return { token: worker.token, epoch: connected.epoch };
}

describe("add", () => {
  test("keeps the order, and the same ids add nothing twice", async () => {
    const t = deployment();
    await servedWorker(t);
    expect(await add(t, ["a", "b"])).toEqual({ taskIds: ["a", "b"] });
    await add(t, ["a", "b", "c"]);
    const { tasks } = await ownerOf(t).query(api.tasks.list, { workerId: "w1" });
    expect(tasks.map(({ taskId, seq, title, state }) => [taskId, seq, title, state])).toEqual([
      ["c", 2, "do c", "queued"],
      ["b", 1, "do b", "queued"],
      ["a", 0, "do a", "queued"],
    ]);
    expect((await ownerOf(t).query(api.tasks.get, { taskId: "a" }))!.text).toBe("do a\nand more");
    expect(await ownerOf(t).query(api.tasks.get, { taskId: "nobody" })).toBeNull();
  });

  test("refuses what is empty, too large, too many, or means something else", async () => {
    const t = deployment();
    await servedWorker(t);
    const adding = (tasks: { id: string; text: string }[], more = {}) =>
      code(ownerOf(t).mutation(api.tasks.add, { workerId: "w1", tasks, ...more }));
    expect(await adding([])).toBe("invalid");
    expect(await adding([{ id: "a", text: " \n" }])).toBe("invalid");
    expect(await adding([{ id: "../a", text: "x" }])).toBe("invalid");
    expect(await adding([{ id: "a", text: "x".repeat(262_145) }])).toBe("too_large");
    expect(await adding([{ id: "a", text: "x" }], { maxRetries: -1 })).toBe("invalid");
    await add(t, ["a"]);
    expect(await adding([{ id: "a", text: "something else" }])).toBe("conflict");
    const hundred = { id: "b", text: "x".repeat(100_000) };
    await ownerOf(t).mutation(api.tasks.add, { workerId: "w1", tasks: [hundred] });
  });

  test("is the owner's alone, and so is everything else about a task", async () => {
    const t = deployment();
    await servedWorker(t);
    await add(t, ["a"]);
    const stranger = strangerOf(t);
    expect(await code(stranger.mutation(api.tasks.add, { workerId: "w1", tasks: [{ id: "b", text: "x" }] }))).toBe("forbidden");
    for (const fn of [api.tasks.retry, api.tasks.cancel, api.tasks.drop]) {
      expect(await code(stranger.mutation(fn, { taskId: "a" }))).toBe("forbidden");
      expect(await code(t.mutation(fn, { taskId: "a" }))).toBe("unauthorized");
    }
    expect(await code(stranger.query(api.tasks.get, { taskId: "a" }))).toBe("forbidden");
    expect(await code(stranger.query(api.tasks.list, { workerId: "w1" }))).toBe("forbidden");
  });
});

describe("pull", () => {
  test("gives the oldest, and under the same lease the same again", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    expect(await pull(t, worker, "l0")).toEqual({ status: "none" });
    await add(t, ["a", "b"]);
    const first = await pull(t, worker, "l1");
    expect(first).toMatchObject({ status: "task", taskId: "a", text: "do a\nand more", attempt: 1, leaseId: "l1", canceled: false });
    expect(await pull(t, worker, "l1")).toEqual(first);
    expect(await acknowledge(t, worker, "a", "l1", DONE)).toEqual({ status: "ok", state: "done" });
    expect(await acknowledge(t, worker, "a", "l1", DONE)).toEqual({ status: "already", state: "done" });
    expect(await task(t, "a")).toMatchObject({ state: "done", artifact: ARTIFACT, attempt: 1 });
    expect(await pull(t, worker, "l2")).toMatchObject({ taskId: "b" });
  });

  test("after a restart the known lease gets its task back, and one that nobody began goes back uncounted", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a"]);
    await pull(t, worker, "l1");
    const again = await elsewhere(t, worker, SUPERVISOR.installId);
    expect(await code(pull(t, worker, "l2"))).toBe("displaced");
    expect(await pull(t, again, "l2", "l1")).toMatchObject({ taskId: "a", leaseId: "l1", attempt: 1 });
    expect(await pull(t, again, "l3")).toMatchObject({ taskId: "a", leaseId: "l3", attempt: 1 });
    expect(await pull(t, again, "l4", "l1")).toEqual({ status: "lost" });
    expect(await acknowledge(t, again, "a", "l1", DONE)).toEqual({ status: "lost", state: "running" });
  });

  test("another machine gets nothing while the lease of the first may still be worked under", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a", "b"]);
    await pull(t, worker, "l1");
    const other = await elsewhere(t, worker);
    expect(await pull(t, other, "l2")).toEqual({ status: "busy" });
    await pass(t, 5 * MINUTE + 30_000);
    expect(await pull(t, other, "l2")).toEqual({ status: "busy" });
    await pass(t, MINUTE);
    expect(await pull(t, other, "l2")).toMatchObject({ status: "task", taskId: "a", attempt: 2 });
    expect(await task(t, "a")).toMatchObject({ failure: { class: "lost" } });
  });

  test("a lease that is renewed does not run out, one that is not does without anybody pulling", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a"], 0);
    await pull(t, worker, "l1");
    for (let minute = 0; minute < 20; minute += 1) {
      await pass(t, MINUTE);
      expect(await pull(t, worker, "l1")).toMatchObject({ status: "task", attempt: 1 });
    }
    await pass(t, 13 * MINUTE);
    expect(await task(t, "a")).toMatchObject({ state: "failed", failure: { class: "lost" } });
    expect(await pull(t, worker, "l1")).toEqual({ status: "none" });
  });

  test.each([0, 2])("whoever slept through its lease goes on under it, with %s retries", async (maxRetries) => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a"], maxRetries);
    await pull(t, worker, "l1");
    await pass(t, 20 * MINUTE);
    expect(await task(t, "a")).toMatchObject({ state: maxRetries === 0 ? "failed" : "queued", failure: { class: "lost" } });
    expect(await pull(t, worker, "x", "l1")).toMatchObject({ status: "task", taskId: "a", leaseId: "l1", attempt: 1 });
    const again = await task(t, "a");
    expect([again.state, again.attempt, again.failure, again.finishedAt]).toEqual(["running", 1, undefined, undefined]);
    expect(await pull(t, worker, "x", "l1")).toMatchObject({ taskId: "a", attempt: 1 });
    // It is a lease like any other.
    await pass(t, 10 * MINUTE);
    expect(await task(t, "a")).toMatchObject({ failure: { class: "lost" } });
    expect(await pull(t, worker, "x", "l1")).toMatchObject({ taskId: "a", attempt: 1 });
    expect(await acknowledge(t, worker, "a", "l1", DONE)).toEqual({ status: "ok", state: "done" });
  });

  test("a lease that ran out is worth nothing once somebody else has the task, or its owner has called it off", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a", "b"]);
    await pull(t, worker, "l1");
    await pass(t, 20 * MINUTE);
    const other = await elsewhere(t, worker);
    // Another installation cannot take it up again, only take it.
    expect(await pull(t, other, "x", "l1")).toEqual({ status: "lost" });
    expect(await acknowledge(t, other, "a", "l1", DONE)).toEqual({ status: "lost", state: "queued" });
    expect(await pull(t, other, "l2")).toMatchObject({ taskId: "a", attempt: 2 });
    const back = await elsewhere(t, worker, SUPERVISOR.installId);
    expect(await pull(t, back, "x", "l1")).toEqual({ status: "lost" });
    expect(await acknowledge(t, back, "a", "l1", DONE)).toEqual({ status: "lost", state: "running" });
    await pass(t, 20 * MINUTE);
    expect(await pull(t, back, "l3")).toMatchObject({ taskId: "a", attempt: 3 });
    await pass(t, 20 * MINUTE);
    await ownerOf(t).mutation(api.tasks.retry, { taskId: "a" });
    await ownerOf(t).mutation(api.tasks.cancel, { taskId: "a" });
    expect(await pull(t, back, "x", "l3")).toEqual({ status: "lost" });
    expect(await acknowledge(t, back, "a", "l3", DONE)).toEqual({ status: "lost", state: "canceled" });
  });

  test("a task that is taken up again waits while another machine has another one of the worker", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a"], 0);
    await add(t, ["b"]);
    await pull(t, worker, "l1");
    await pass(t, 20 * MINUTE);
    const other = await elsewhere(t, worker);
    expect(await pull(t, other, "l2")).toMatchObject({ taskId: "b" });
    const back = await elsewhere(t, worker, SUPERVISOR.installId);
    expect(await pull(t, back, "x", "l1")).toEqual({ status: "busy" });
    await pass(t, 10 * MINUTE);
    expect(await pull(t, back, "x", "l1")).toMatchObject({ taskId: "a", leaseId: "l1" });
  });

  test("a deployment that slept itself gives the supervisor a minute from when it is awake", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a"]);
    await pull(t, worker, "l1");
    // Its clock has gone on, its jobs have not.
    vi.setSystemTime(Date.now() + 60 * MINUTE);
    const other = await elsewhere(t, worker);
    expect(await pull(t, other, "l2")).toEqual({ status: "busy" });
    await pass(t, 5 * MINUTE + 1_000);
    expect(await task(t, "a")).toMatchObject({ state: "running", attempt: 1 });
    expect(await pull(t, other, "l2")).toEqual({ status: "busy" });
    const back = await elsewhere(t, worker, SUPERVISOR.installId);
    expect(await pull(t, back, "x", "l1")).toMatchObject({ taskId: "a", attempt: 1 });
    await pass(t, 2 * MINUTE);
    expect(await task(t, "a")).toMatchObject({ state: "running" });
    await pass(t, 10 * MINUTE);
    expect(await task(t, "a")).toMatchObject({ state: "queued", failure: { class: "lost" } });
  });
});

describe("acknowledge", () => {
  test.each([
    [undefined, 3],
    [0, 1],
    [1, 2],
  ])("with %s retries a task is tried %s times", async (maxRetries, attempts) => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a", "b"], maxRetries);
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      expect(await pull(t, worker, `l${attempt}`)).toMatchObject({ taskId: "a", attempt });
      const { state } = await acknowledge(t, worker, "a", `l${attempt}`, failed());
      expect(state).toBe(attempt < attempts ? "queued" : "failed");
    }
    expect(await pull(t, worker, "next")).toMatchObject({ taskId: "b", attempt: 1 });
    expect(await task(t, "a")).toMatchObject({ failure: { class: "server", message: "500" } });
  });

  test("the worker's own number of retries holds where nobody has said one", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a"]);
    await add(t, ["b"], 1);
    const take = (leaseId: string, maxRetries: number) => t.mutation(api.tasks.pull, { ...worker, leaseId, maxRetries });
    expect(await take("l1", 0)).toMatchObject({ taskId: "a" });
    expect(await acknowledge(t, worker, "a", "l1", failed())).toMatchObject({ state: "failed" });
    expect(await task(t, "a")).toMatchObject({ maxRetries: 0 });
    await take("l2", 0);
    expect(await acknowledge(t, worker, "b", "l2", failed())).toMatchObject({ state: "queued" });
    expect(await code(take("l3", 101))).toBe("invalid");
  });

  test("what cannot get better is not tried again, what was given back does not count", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a"]);
    for (const leaseId of ["l1", "l2", "l3", "l4"]) {
      expect(await pull(t, worker, leaseId)).toMatchObject({ attempt: 1 });
      expect(await acknowledge(t, worker, "a", leaseId, { status: "returned" })).toEqual({ status: "ok", state: "queued" });
    }
    await pull(t, worker, "l5");
    expect(await acknowledge(t, worker, "a", "l5", failed(false))).toEqual({ status: "ok", state: "failed" });
    expect(await acknowledge(t, worker, "nobody", "l5", DONE)).toEqual({ status: "lost", state: null });
  });

  test("a result that was ready while the deployment was away all night is taken", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a", "b", "c"], 0);
    await pull(t, worker, "l1");
    await pass(t, 8 * 60 * MINUTE);
    expect(await task(t, "a")).toMatchObject({ state: "failed", failure: { class: "lost" } });
    expect(await acknowledge(t, worker, "a", "l1", DONE)).toEqual({ status: "ok", state: "done" });
    expect(await acknowledge(t, worker, "a", "l1", DONE)).toEqual({ status: "already", state: "done" });
    const found = await task(t, "a");
    expect([found.artifact, found.failure]).toEqual([ARTIFACT, undefined]);
    await pull(t, worker, "l2");
    await pass(t, 10 * MINUTE);
    expect(await acknowledge(t, worker, "b", "l2", failed())).toEqual({ status: "ok", state: "failed" });
    expect(await task(t, "b")).toMatchObject({ failure: { class: "server" } });
    await pull(t, worker, "l3");
    await pass(t, 10 * MINUTE);
    expect(await acknowledge(t, worker, "c", "l3", { status: "returned" })).toEqual({ status: "ok", state: "queued" });
    expect(await task(t, "c")).toMatchObject({ attempt: 0 });
  });

  test("another worker's task is not this one's to speak about", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const second = await servedWorker(t, "w2");
    await add(t, ["a"]);
    await pull(t, worker, "l1");
    expect(await code(acknowledge(t, second, "a", "l1", DONE))).toBe("forbidden");
    expect(await pull(t, second, "l2")).toEqual({ status: "none" });
  });
});

test("the inbox says whether there is a task, waiting or in somebody's hand", async () => {
  const t = deployment();
  const worker = await servedWorker(t);
  const has = async () => (await t.query(api.work.inbox, worker)).tasks;
  expect(await has()).toBe(false);
  await add(t, ["a"]);
  expect(await has()).toBe(true);
  await pull(t, worker, "l1");
  expect(await has()).toBe(true);
  await acknowledge(t, worker, "a", "l1", DONE);
  expect(await has()).toBe(false);
});

test("a supervisor that waits hears of every task that is added", async () => {
  const t = deployment();
  const worker = await servedWorker(t);
  const newest = async () => (await t.query(api.tasks.waiting, worker)).newest;
  expect(await newest()).toBeNull();
  await add(t, ["a"]);
  expect(await newest()).toBe("a");
  await add(t, ["b"]);
  expect(await newest()).toBe("b");
});

describe("owners", () => {
  test("cancel a waiting task at once and a running one by a mark", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a", "b"]);
    expect(await ownerOf(t).mutation(api.tasks.cancel, { taskId: "b" })).toEqual({ state: "canceled" });
    await pull(t, worker, "l1");
    expect(await t.query(api.tasks.waiting, worker)).toEqual({ queued: false, newest: null, running: { taskId: "a", canceled: false } });
    expect(await ownerOf(t).mutation(api.tasks.cancel, { taskId: "a" })).toEqual({ state: "running" });
    expect(await t.query(api.tasks.waiting, worker)).toEqual({ queued: false, newest: null, running: { taskId: "a", canceled: true } });
    expect(await pull(t, worker, "l1")).toMatchObject({ canceled: true });
    expect(await acknowledge(t, worker, "a", "l1", failed())).toEqual({ status: "ok", state: "canceled" });
    expect((await task(t, "a")).failure).toMatchObject({ class: failed().failure.class });
    expect(await pull(t, worker, "l2")).toEqual({ status: "none" });
  });

  test("work that was done before the mark was seen is kept", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a"]);
    await pull(t, worker, "l1");
    await ownerOf(t).mutation(api.tasks.cancel, { taskId: "a" });
    expect(await acknowledge(t, worker, "a", "l1", DONE)).toEqual({ status: "ok", state: "done" });
  });

  test("retry gives all attempts again, in the old place", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a", "b"], 0);
    await pull(t, worker, "l1");
    await acknowledge(t, worker, "a", "l1", failed());
    expect(await ownerOf(t).mutation(api.tasks.retry, { taskId: "a" })).toEqual({ state: "queued" });
    expect(await pull(t, worker, "l2")).toMatchObject({ taskId: "a", attempt: 1 });
    expect(await ownerOf(t).mutation(api.tasks.retry, { taskId: "a" })).toEqual({ state: "running" });
    await acknowledge(t, worker, "a", "l2", DONE);
    expect(await code(ownerOf(t).mutation(api.tasks.retry, { taskId: "a" }))).toBe("conflict");
  });

  test("drop forgets a task that does not run", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await add(t, ["a"]);
    await pull(t, worker, "l1");
    expect(await code(ownerOf(t).mutation(api.tasks.drop, { taskId: "a" }))).toBe("conflict");
    await acknowledge(t, worker, "a", "l1", { status: "returned" });
    await ownerOf(t).mutation(api.tasks.drop, { taskId: "a" });
    await ownerOf(t).mutation(api.tasks.drop, { taskId: "a" });
    expect(await ownerOf(t).query(api.tasks.get, { taskId: "a" })).toBeNull();
    expect(await t.run(async (ctx) => (await ctx.db.query("taskTexts").collect()).length)).toBe(0);
  });

  test("a queue has a bound", async () => {
    const t = deployment();
    await servedWorker(t);
    for (let hundred = 0; hundred < 10; hundred += 1) {
      await add(t, Array.from({ length: 100 }, (_, index) => `t${hundred}-${index}`));
    }
    expect(await code(add(t, ["one-more"]))).toBe("queue_full");
  }, 120_000);
});
