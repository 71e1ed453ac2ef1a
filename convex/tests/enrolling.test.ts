import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { MACHINE, SUPERVISOR, api, code, countRows, createWorker, deployment, ownerOf, pass, refusal, send, servedWorker, strangerOf, type Deployment } from "./deployment.fixture";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const INSTALL = { installId: "install-9", machine: SUPERVISOR.machine };

async function machineToken(t: Deployment, machineId = "m1"): Promise<string> {
  return (await ownerOf(t).mutation(api.machines.rotate, { machineId })).token;
}

describe("a machine token", () => {
  test("has two parts, is its owner's to make, and replaces the one before", async () => {
    const t = deployment();
    await ownerOf(t).mutation(api.machines.register, MACHINE);
    const first = await machineToken(t);
    expect(first).toMatch(/^machine_m1:secret_[A-Za-z0-9]{32}$/);
    const second = await machineToken(t);
    expect((await refusal(t.mutation(api.machines.enrol, { token: first, ...INSTALL }))).code).toBe("revoked");
    expect(await t.mutation(api.machines.enrol, { token: second, ...INSTALL })).toMatchObject({ machineId: "m1", workers: [] });
    expect(await code(strangerOf(t).mutation(api.machines.rotate, { machineId: "m1" }))).toBe("forbidden");
    expect(await code(t.mutation(api.machines.rotate, { machineId: "m1" }))).toBe("unauthorized");
  });

  test("is refused when it is not one, and says how one looks", async () => {
    const t = deployment();
    const refused = await refusal(t.mutation(api.machines.enrol, { token: "machine_m1", ...INSTALL }));
    expect(refused).toEqual({
      code: "unauthorized",
      message: "machine token must be in format: machine_<machine_id>:secret_<secret>",
    });
    const worker = await createWorker(ownerOf(t));
    expect(await code(t.mutation(api.machines.enrol, { token: worker, ...INSTALL }))).toBe("unauthorized");
    const guessed = { token: "machine_m1:secret_guess", ...INSTALL };
    expect(await code(t.mutation(api.machines.enrol, guessed))).toBe("unauthorized");
  });

  test("goes with its machine", async () => {
    const t = deployment();
    await ownerOf(t).mutation(api.machines.register, MACHINE);
    const token = await machineToken(t);
    await ownerOf(t).mutation(api.machines.remove, { machineId: "m1" });
    expect(await code(t.mutation(api.machines.enrol, { token, ...INSTALL }))).toBe("unauthorized");
    await ownerOf(t).mutation(api.machines.register, MACHINE);
    expect(await code(t.mutation(api.machines.enrol, { token, ...INSTALL }))).toBe("unauthorized");
    expect(await t.run((ctx) => ctx.db.query("machineCredentials").collect())).toEqual([]);
  });

  test("made over and over does not grow the table, nor does enrolling over and over", async () => {
    const t = deployment();
    await servedWorker(t);
    for (let i = 0; i < 25; i++) await machineToken(t);
    expect(await t.run(async (ctx) => (await ctx.db.query("machineCredentials").collect()).length)).toBe(21);
    const token = await machineToken(t);
    for (let i = 0; i < 60; i++) await t.mutation(api.machines.enrol, { token, ...INSTALL });
    expect(await countRows(t, "credentials")).toBe(40);
  });
});

describe("enrolling", () => {
  test("gives back every worker with a token that serves, the sessions and the roles", async () => {
    const t = deployment();
    const served = await servedWorker(t, "w1");
    await createWorker(ownerOf(t), "w2");
    await createWorker(ownerOf(t), "elsewhere", "m2");
    await send(t, "a", { workerId: "w1" }, "fix the cart");
    await t.mutation(api.sessions.confirm, { ...served, sessionId: "session_a", agentSessionId: "ses_1" });
    const role = { room: "shop", role: "builder", agentType: "opencode", workingDirectory: "/home/me/shop" };
    await t.mutation(api.agentConfigs.update, { token: served.token, ...role });
    const state = await t.mutation(api.machines.enrol, { token: await machineToken(t), ...INSTALL });
    expect(state.workers.map(({ workerId, state }) => [workerId, state])).toEqual([
      ["w1", "approved"],
      ["w2", "pending"],
    ]);
    expect(state.sessions).toMatchObject([{ sessionId: "session_a", title: "fix the cart", agentSessionId: "ses_1" }]);
    expect(state.agentConfigs).toMatchObject([{ ...role, workerId: "w1", run: { state: "none" } }]);
    expect(state.next).toBeNull();
    // The token given back serves, and so does the one before: a worker can hold several.
    const token = state.workers[0]!.token;
    const connected = await t.mutation(api.workers.connect, { token, ...SUPERVISOR, startId: "start-2" });
    expect(connected).toMatchObject({ status: "approved", epoch: 2 });
    expect(await t.query(api.work.inbox, { token: served.token, epoch: 2 })).toMatchObject({ displaced: false });
  });

  test("cuts nobody off: what the same install got before serves until the new one does, and a while beyond", async () => {
    const t = deployment();
    await servedWorker(t);
    const token = await machineToken(t);
    const enrol = async (installId: string) =>
      (await t.mutation(api.machines.enrol, { token, ...INSTALL, installId })).workers[0]!.token;
    const other = await enrol("other");
    const first = await enrol("mine");
    const inbox = async (token: string) => (await t.query(api.work.inbox, { token, epoch: 1 })).state;
    const connect = (token: string) => t.mutation(api.workers.connect, { token, ...SUPERVISOR });
    await connect(first);
    const second = await enrol("mine");
    const third = await enrol("mine");
    await connect(first);
    await pass(t, 400_000);
    expect(await Promise.all([other, first, second, third].map(inbox))).toEqual(Array(4).fill("approved"));
    await connect(second);
    expect(await inbox(first)).toBe("approved");
    await pass(t, 300_000);
    expect(await inbox(first)).toBe("revoked");
    expect(await Promise.all([other, second, third].map(inbox))).toEqual(Array(3).fill("approved"));
  });

  test("that never leads to a connection takes nothing from the credential that serves", async () => {
    const t = deployment();
    await servedWorker(t);
    const token = await machineToken(t);
    const enrol = async () => (await t.mutation(api.machines.enrol, { token, ...INSTALL })).workers[0]!.token;
    const serving = await enrol();
    await t.mutation(api.workers.connect, { token: serving, ...SUPERVISOR });
    for (let i = 0; i < 25; i++) await enrol();
    expect(await t.query(api.work.inbox, { token: serving, epoch: 1 })).toMatchObject({ state: "approved" });
  });

  test("by ever new installs keeps a bounded number of credentials, the owner's own among them", async () => {
    const t = deployment();
    const shown = await servedWorker(t);
    const token = await machineToken(t);
    for (let i = 0; i < 25; i++) await t.mutation(api.machines.enrol, { token, ...INSTALL, installId: `install-${i}` });
    const live = await t.run((ctx) =>
      ctx.db
        .query("credentials")
        .withIndex("by_worker", (q) => q.eq("workerId", "w1").eq("revoked", false))
        .collect(),
    );
    expect(live.length).toBe(20);
    expect(await t.query(api.work.inbox, shown)).toMatchObject({ state: "approved" });
  });

  test("a machine of many workers comes in pages", async () => {
    const t = deployment();
    const owner = ownerOf(t);
    for (let i = 0; i < 60; i++) await createWorker(owner, `w${String(i).padStart(2, "0")}`);
    const token = await machineToken(t);
    const first = await t.mutation(api.machines.enrol, { token, ...INSTALL });
    expect([first.workers.length, first.next]).toEqual([50, "w49"]);
    const second = await t.mutation(api.machines.enrol, { token, ...INSTALL, after: first.next! });
    expect([second.workers.length, second.workers[0]!.workerId, second.next]).toEqual([10, "w50", null]);
  });
});
