import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  MACHINE,
  SUPERVISOR,
  api,
  claimedTurn,
  code,
  countRows,
  createWorker,
  deployment,
  ownerOf,
  pass,
  refusal,
  send,
  servedWorker,
  strangerOf,
  turnRow,
} from "./deployment.fixture";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("machines", () => {
  test("register is an upsert that keeps the creation time", async () => {
    const owner = ownerOf(deployment());
    await owner.mutation(api.machines.register, MACHINE);
    const [before] = await owner.query(api.machines.list, {});
    vi.advanceTimersByTime(1_000);
    expect(await owner.mutation(api.machines.register, { ...MACHINE, name: "tower" })).toEqual({ machineId: "m1" });
    const after = await owner.query(api.machines.get, { machineId: "m1" });
    expect(after).toEqual({ ...before, name: "tower", lastSeenAt: before!.lastSeenAt + 1_000 });
    expect(await owner.query(api.machines.get, { machineId: "other" })).toBeNull();
  });

  test("belong to their owner alone", async () => {
    const t = deployment();
    await ownerOf(t).mutation(api.machines.register, MACHINE);
    const stranger = strangerOf(t);
    expect(await stranger.query(api.machines.list, {})).toEqual([]);
    expect(await code(stranger.query(api.machines.get, { machineId: "m1" }))).toBe("forbidden");
    expect(await code(stranger.mutation(api.machines.register, MACHINE))).toBe("forbidden");
    expect(await code(stranger.mutation(api.machines.remove, { machineId: "m1" }))).toBe("forbidden");
  });

  test("need an identity and bounded arguments", async () => {
    const t = deployment();
    expect(await code(t.query(api.machines.list, {}))).toBe("unauthorized");
    expect(await code(t.mutation(api.machines.register, MACHINE))).toBe("unauthorized");
    const register = (change: object) => code(ownerOf(t).mutation(api.machines.register, { ...MACHINE, ...change }));
    expect(await register({ machineId: "a:b" })).toBe("invalid");
    expect(await register({ name: "" })).toBe("invalid");
    expect(await register({ hostname: "x".repeat(201) })).toBe("invalid");
    expect(await register({ tools: Array(65).fill("x") })).toBe("invalid");
  });

  test("are removed when no worker is left, and again without complaint", async () => {
    const owner = ownerOf(deployment());
    await createWorker(owner);
    expect(await code(owner.mutation(api.machines.remove, { machineId: "m1" }))).toBe("conflict");
    await owner.mutation(api.workers.remove, { workerId: "w1" });
    await owner.mutation(api.machines.remove, { machineId: "m1" });
    await owner.mutation(api.machines.remove, { machineId: "m1" });
    expect(await owner.query(api.machines.list, {})).toEqual([]);
  });
});

describe("workers", () => {
  test("create gives a token of three parts, once, and stores only a hash", async () => {
    const t = deployment();
    const token = await createWorker(ownerOf(t));
    expect(token).toMatch(/^machine_m1:worker_w1:secret_[A-Za-z0-9]{32}$/);
    const [credential] = await t.run((ctx) => ctx.db.query("credentials").take(1));
    expect(credential!.hash).toMatch(/^[0-9a-f]{64}$/);
    const again = { workerId: "w1", machineId: "m1", name: "n", directory: "/" };
    expect(await code(ownerOf(t).mutation(api.workers.create, again))).toBe("conflict");
    expect(await createWorker(ownerOf(t), "w2")).not.toBe(token.replace("w1", "w2"));
  });

  test("create needs a machine of the owner", async () => {
    const t = deployment();
    const args = { workerId: "w1", machineId: "m1", name: "n", directory: "/" };
    expect(await code(ownerOf(t).mutation(api.workers.create, args))).toBe("not_found");
    await ownerOf(t).mutation(api.machines.register, MACHINE);
    expect(await code(strangerOf(t).mutation(api.workers.create, args))).toBe("forbidden");
    expect(await code(t.mutation(api.workers.create, args))).toBe("unauthorized");
    expect(await code(ownerOf(t).mutation(api.workers.create, { ...args, workerId: "" }))).toBe("invalid");
  });

  test("list shows the owner's, of one machine on request, without the removed ones", async () => {
    const t = deployment();
    const owner = ownerOf(t);
    await createWorker(owner, "w1");
    await createWorker(owner, "w2", "m2");
    await createWorker(owner, "w3", "m2");
    await owner.mutation(api.workers.remove, { workerId: "w3" });
    const ids = async (args: { machineId?: string }) =>
      (await owner.query(api.workers.list, args)).map((worker) => worker.workerId);
    expect(await ids({})).toEqual(["w1", "w2"]);
    expect(await ids({ machineId: "m2" })).toEqual(["w2"]);
    expect(await strangerOf(t).query(api.workers.list, {})).toEqual([]);
    // As `sessions.list` of somebody else's worker: it once said that there are none.
    expect(await code(strangerOf(t).query(api.workers.list, { machineId: "m1" }))).toBe("forbidden");
    expect(await code(owner.query(api.workers.list, { machineId: "none" }))).toBe("not_found");
    expect((await owner.query(api.workers.list, {}))[0]).toMatchObject({ state: "pending", epoch: 0, name: "shop" });
  });

  test("only the owner approves, revokes, rotates and removes", async () => {
    const t = deployment();
    await createWorker(ownerOf(t));
    for (const name of ["approve", "revoke", "rotate", "remove"] as const) {
      expect(await code(strangerOf(t).mutation(api.workers[name], { workerId: "w1" }))).toBe("forbidden");
      expect(await code(ownerOf(t).mutation(api.workers[name], { workerId: "nobody" }))).toBe("not_found");
      expect(await code(t.mutation(api.workers[name], { workerId: "w1" }))).toBe("unauthorized");
    }
  });

  test("a pending worker connects and waits", async () => {
    const t = deployment();
    const token = await createWorker(ownerOf(t));
    const connected = await t.mutation(api.workers.connect, { token, ...SUPERVISOR });
    expect(connected).toEqual({ status: "pending", epoch: 1, workerId: "w1", name: "shop" });
    const { turnId } = await send(t, "a", { workerId: "w1" });
    expect(await code(t.mutation(api.messages.claim, { token, epoch: 1, turnId }))).toBe("pending");
    expect(await t.query(api.work.inbox, { token, epoch: 1 })).toMatchObject({ state: "pending", turns: [] });
    await ownerOf(t).mutation(api.workers.approve, { workerId: "w1" });
    await ownerOf(t).mutation(api.workers.approve, { workerId: "w1" });
    expect(await t.query(api.work.inbox, { token, epoch: 1 })).toMatchObject({ state: "approved", turns: [{ turnId }] });
  });

  test("a revoked worker's supervisor is cut off, and served again after an approval", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    const queued = await send(t, "b", { sessionId: "session_a" });
    const owner = ownerOf(t);
    await owner.mutation(api.workers.revoke, { workerId: "w1" });
    await owner.mutation(api.workers.revoke, { workerId: "w1" });
    expect((await owner.query(api.workers.list, {}))[0]).toMatchObject({ state: "revoked", epoch: 2 });
    expect(await turnRow(t, turnId)).toMatchObject({ state: "failed", error: { code: "revoked" }, folded: false });
    expect(await turnRow(t, queued.turnId)).toMatchObject({ state: "failed", error: { code: "revoked" }, folded: true });
    expect(await code(t.mutation(api.presence.beat, worker))).toBe("revoked");
    expect(await code(t.mutation(api.workers.connect, { token: worker.token, ...SUPERVISOR }))).toBe("revoked");
    expect(await t.query(api.work.inbox, worker)).toEqual({
      state: "revoked",
      displaced: false,
      turns: [],
      sessions: [],
      requests: [],
      commands: [],
      tasks: false,
    });
    expect(await code(send(t, "c", { workerId: "w1" }))).toBe("revoked");
    await owner.mutation(api.workers.approve, { workerId: "w1" });
    expect(await t.query(api.work.inbox, worker)).toMatchObject({ state: "approved", displaced: true });
    const connected = await t.mutation(api.workers.connect, { token: worker.token, ...SUPERVISOR });
    expect(connected).toMatchObject({ status: "approved", epoch: 2 });
  });

  test("revoking closes any number of turns, in pages", async () => {
    const t = deployment();
    await servedWorker(t);
    for (let i = 0; i < 205; i++) await send(t, `a${i}`, { workerId: "w1" });
    await ownerOf(t).mutation(api.workers.revoke, { workerId: "w1" });
    await pass(t, 1);
    const open = await t.run((ctx) =>
      ctx.db
        .query("messages")
        .withIndex("by_worker_open", (q) => q.eq("workerId", "w1").eq("open", true))
        .collect(),
    );
    expect(open).toEqual([]);
  });

  test("rotate replaces the token", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const { token } = await ownerOf(t).mutation(api.workers.rotate, { workerId: "w1" });
    expect(token).not.toBe(worker.token);
    expect(await code(t.mutation(api.presence.beat, worker))).toBe("revoked");
    expect(await t.mutation(api.presence.beat, { ...worker, token })).toBeNull();
    expect(await countRows(t, "credentials")).toBe(2);
  });

  test("revoked credentials do not pile up", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    let { token } = worker;
    const tokens = [];
    for (let i = 0; i < 23; i += 1) {
      tokens.push(token);
      ({ token } = await ownerOf(t).mutation(api.workers.rotate, { workerId: "w1" }));
    }
    expect(await countRows(t, "credentials")).toBe(21);
    const said = (old: string) => code(t.mutation(api.presence.beat, { ...worker, token: old }));
    expect([await said(tokens[2]!), await said(tokens[3]!), await said(tokens[22]!)]).toEqual(["unauthorized", "revoked", "revoked"]);
    expect(await t.mutation(api.presence.beat, { ...worker, token })).toBeNull();
  });

  test("rotate may keep the older token for a while", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const owner = ownerOf(t);
    const { token } = await owner.mutation(api.workers.rotate, { workerId: "w1", keepOlderMs: 5_000 });
    expect(await t.mutation(api.presence.beat, worker)).toBeNull();
    expect(await t.mutation(api.presence.beat, { ...worker, token })).toBeNull();
    vi.advanceTimersByTime(5_001);
    await t.finishInProgressScheduledFunctions();
    expect(await code(t.mutation(api.presence.beat, worker))).toBe("revoked");
    expect(await t.mutation(api.presence.beat, { ...worker, token })).toBeNull();
    for (const keepOlderMs of [-1, 300_001, Number.NaN]) {
      expect(await code(owner.mutation(api.workers.rotate, { workerId: "w1", keepOlderMs }))).toBe("invalid");
    }
  });

  test("remove is for good", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    const owner = ownerOf(t);
    await owner.mutation(api.workers.remove, { workerId: "w1" });
    await owner.mutation(api.workers.remove, { workerId: "w1" });
    expect(await turnRow(t, turnId)).toMatchObject({ state: "failed", error: { code: "removed" } });
    expect(await owner.query(api.workers.list, {})).toEqual([]);
    expect(await owner.query(api.presence.list, {})).toEqual([]);
    expect((await t.query(api.work.inbox, worker)).state).toBe("removed");
    for (const name of ["approve", "revoke", "rotate"] as const) {
      expect(await code(owner.mutation(api.workers[name], { workerId: "w1" }))).toBe("revoked");
    }
    expect(await code(send(t, "b", { workerId: "w1" }))).toBe("revoked");
  });

  test("what a removed worker's supervisor still says is refused for good, not as if an approval could help", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await ownerOf(t).mutation(api.workers.remove, { workerId: "w1" });
    // A supervisor keeps what is refused as revoked, for the day of the approval.
    const finish = { ...worker, turnId, outcome: "complete" as const, items: [] };
    expect(await code(t.mutation(api.messages.finish, finish))).toBe("removed");
    expect(await code(t.mutation(api.messages.finish, { ...finish, epoch: 0 }))).toBe("removed");
    expect(await code(t.mutation(api.workers.connect, { token: worker.token, ...SUPERVISOR }))).toBe("removed");
    const { results } = await t.mutation(api.chunks.append, { batches: [{ ...worker, turn: turnId, items: [] }] });
    expect(results[0]).toMatchObject({ status: "closed" });
  });

  test("a rotation's later end passes over tokens that were forgotten meanwhile", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const owner = ownerOf(t);
    const { token } = await owner.mutation(api.workers.rotate, { workerId: "w1", keepOlderMs: 5_000 });
    await t.run(async (ctx) => {
      const oldest = await ctx.db.query("credentials").first();
      await ctx.db.delete(oldest!._id);
      await ctx.db.insert("credentials", { workerId: "w1", hash: "between", revoked: false, createdAt: 0 });
    });
    await owner.mutation(api.workers.rotate, { workerId: "w1", keepOlderMs: 1_000 });
    vi.advanceTimersByTime(5_001);
    await t.finishInProgressScheduledFunctions();
    expect(await code(t.mutation(api.presence.beat, { ...worker, token }))).toBe("revoked");
  });

  test("approve needs a valid token", async () => {
    const t = deployment();
    await createWorker(ownerOf(t));
    await t.run(async (ctx) => {
      for await (const credential of ctx.db.query("credentials")) await ctx.db.patch(credential._id, { revoked: true });
    });
    expect(await code(ownerOf(t).mutation(api.workers.approve, { workerId: "w1" }))).toBe("conflict");
    await ownerOf(t).mutation(api.workers.rotate, { workerId: "w1" });
    expect(await ownerOf(t).mutation(api.workers.approve, { workerId: "w1" })).toBeNull();
  });
});

describe("connecting", () => {
  test("needs the very token", async () => {
    const t = deployment();
    const { token } = await servedWorker(t);
    const connect = (text: string) => refusal(t.mutation(api.workers.connect, { token: text, ...SUPERVISOR }));
    expect((await connect("nonsense")).message).toContain("machine_<machine_id>:worker_<worker_id>:secret_<secret>");
    for (const wrong of [token.slice(0, -1) + "-", token.replace("machine_m1", "machine_m2"), token.replace("worker_w1", "worker_w2")]) {
      expect((await connect(wrong)).code).toBe("unauthorized");
    }
    expect((await connect(`${token}:more`)).code).toBe("unauthorized");
  });

  test("the same start keeps its epoch, a new one of the install raises it", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const connect = (change: object) => t.mutation(api.workers.connect, { token: worker.token, ...SUPERVISOR, ...change });
    expect((await connect({})).epoch).toBe(1);
    expect((await connect({ startId: "start-2" })).epoch).toBe(2);
    expect((await connect({ startId: "start-2" })).epoch).toBe(2);
    const [machine] = await ownerOf(t).query(api.machines.list, {});
    expect(machine).toMatchObject({ tools: ["opencode", "git"], os: "linux 6", name: "laptop" });
    expect((await ownerOf(t).query(api.workers.list, {}))[0]!.connectedAt).toBe(Date.now());
  });

  test("another install is refused while the token is held", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const other = { token: worker.token, ...SUPERVISOR, installId: "install-2" };
    vi.advanceTimersByTime(34_000);
    const refused = await refusal(t.mutation(api.workers.connect, other));
    expect(refused.code).toBe("held");
    expect(refused.message).toContain("seen 34 s ago");
    vi.advanceTimersByTime(1_000);
    expect((await t.mutation(api.workers.connect, other)).epoch).toBe(2);
    expect(await code(t.mutation(api.presence.beat, worker))).toBe("displaced");
  });

  test("a beat keeps the token, a disconnect frees it", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const other = { token: worker.token, ...SUPERVISOR, installId: "install-2" };
    vi.advanceTimersByTime(30_000);
    await t.mutation(api.presence.beat, worker);
    vi.advanceTimersByTime(30_000);
    expect(await code(t.mutation(api.workers.connect, other))).toBe("held");
    await t.mutation(api.workers.disconnect, worker);
    await t.mutation(api.workers.disconnect, worker);
    expect((await ownerOf(t).query(api.presence.list, {}))[0]).toMatchObject({ workerId: "w1", disconnected: true });
    expect((await t.mutation(api.workers.connect, other)).epoch).toBe(2);
    expect((await ownerOf(t).query(api.presence.list, {}))[0]).toMatchObject({ disconnected: false });
  });

  test("taking over displaces the supervisor before, in everything", async () => {
    const t = deployment();
    const old = await servedWorker(t);
    const turnId = await claimedTurn(t, old);
    const takeOver = { token: old.token, ...SUPERVISOR, installId: "install-2", takeOver: true };
    expect((await t.mutation(api.workers.connect, takeOver)).epoch).toBe(2);
    const session = { ...old, sessionId: "session_a" };
    expect(await code(t.mutation(api.presence.beat, old))).toBe("displaced");
    expect(await code(t.mutation(api.workers.disconnect, old))).toBe("displaced");
    expect(await code(t.mutation(api.messages.claim, { ...old, turnId }))).toBe("displaced");
    expect(await code(t.mutation(api.messages.finish, { ...old, turnId, outcome: "complete", items: [] }))).toBe("displaced");
    expect(await code(t.mutation(api.sessions.confirm, { ...session, agentSessionId: "ses_1" }))).toBe("displaced");
    expect(await code(t.mutation(api.sessions.setStatus, { ...session, status: "active" }))).toBe("displaced");
    expect(await t.query(api.work.inbox, old)).toMatchObject({ state: "approved", displaced: true, turns: [] });
  });

  test("an epoch of 0 is nobody's", async () => {
    const t = deployment();
    const token = await createWorker(ownerOf(t));
    expect(await code(t.mutation(api.presence.beat, { token, epoch: 0 }))).toBe("displaced");
  });

  test("turns claimed under another store are closed", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const claimed = await claimedTurn(t, worker, "a");
    const queued = await send(t, "b", { workerId: "w1" });
    await t.mutation(api.workers.connect, { token: worker.token, ...SUPERVISOR, startId: "start-2", storeId: "store-2" });
    expect(await turnRow(t, claimed)).toMatchObject({ state: "interrupted", error: { code: "other_store" } });
    expect(await turnRow(t, queued.turnId)).toMatchObject({ state: "queued" });
  });

  test("a store that changes under a running supervisor is noted at its next connect, under the same epoch", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const claimed = await claimedTurn(t, worker, "a");
    const again = { token: worker.token, ...SUPERVISOR, storeId: "store-2" };
    expect(await t.mutation(api.workers.connect, again)).toMatchObject({ epoch: worker.epoch });
    expect(await turnRow(t, claimed)).toMatchObject({ state: "interrupted", error: { code: "other_store" } });
    const next = await claimedTurn(t, worker, "b");
    const rows = await t.run(async (ctx) => await ctx.db.query("messages").collect());
    expect(rows.find((row) => row.messageId === next)).toMatchObject({ state: "claimed", claimedStoreId: "store-2" });
  });

  test("a take-over in mid-answer keeps what had streamed readable, and says why in words for people", async () => {
    const t = deployment();
    const old = await servedWorker(t);
    const turnId = await claimedTurn(t, old);
    const items = [0, 1].map((index) => ({ index, timestamp: 1, partId: "p", kind: "text" as const, content: `piece ${index} ` }));
    await t.mutation(api.chunks.append, { batches: [{ ...old, turn: turnId, items }] });
    const takeOver = { token: old.token, ...SUPERVISOR, installId: "install-2", storeId: "store-2", takeOver: true };
    await t.mutation(api.workers.connect, takeOver);
    const row = await turnRow(t, turnId);
    // Not folded: readers fold the chunks, as of any other turn.
    expect(row).toMatchObject({ state: "interrupted", folded: false, error: { code: "other_store" } });
    expect(row.error?.message).not.toMatch(/store/);
    const page = await ownerOf(t).query(api.chunks.page, { turnId, from: 0 });
    expect(page).toEqual({ items, state: "interrupted", folded: false });
  });

  test("presence shows each owner their own", async () => {
    const t = deployment();
    await servedWorker(t);
    expect(await ownerOf(t).query(api.presence.list, {})).toHaveLength(1);
    expect(await strangerOf(t).query(api.presence.list, {})).toEqual([]);
    expect(await code(t.query(api.presence.list, {}))).toBe("unauthorized");
  });
});
