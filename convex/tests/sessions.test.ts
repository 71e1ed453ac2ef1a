import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  SUPERVISOR,
  api,
  claimedTurn,
  code,
  countRows,
  createWorker,
  deployment,
  ownerOf,
  send,
  servedWorker,
  strangerOf,
  turnRow,
} from "./deployment.fixture";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("start is idempotent on its id and nothing else", async () => {
  const t = deployment();
  await servedWorker(t);
  await createWorker(ownerOf(t), "w2");
  const owner = ownerOf(t);
  const start = { id: "s1", workerId: "w1", model: "p/m", title: "first" };
  expect(await owner.mutation(api.sessions.start, start)).toEqual({ sessionId: "s1" });
  expect(await owner.mutation(api.sessions.start, start)).toEqual({ sessionId: "s1" });
  expect(await countRows(t, "sessions")).toBe(1);
  expect(await code(owner.mutation(api.sessions.start, { ...start, workerId: "w2" }))).toBe("conflict");
  // It said "exists with another worker", which tells a stranger of the session, and untruly.
  await expect(strangerOf(t).mutation(api.sessions.start, start)).rejects.toThrow("session s1 cannot be started: choose another id");
  expect(await code(strangerOf(t).mutation(api.sessions.start, { ...start, id: "s2" }))).toBe("forbidden");
  expect(await code(owner.mutation(api.sessions.start, { ...start, id: "no/slash" }))).toBe("invalid");
  expect(await code(t.mutation(api.sessions.start, start))).toBe("unauthorized");
  expect(await owner.query(api.sessions.get, { sessionId: "s1" })).toMatchObject({
    sessionId: "s1",
    workerId: "w1",
    model: "p/m",
    title: "first",
    status: "pending",
  });
  expect(await owner.query(api.sessions.get, { sessionId: "none" })).toBeNull();
});

test("list shows the latest activity first, the ended ones on request", async () => {
  const t = deployment();
  await servedWorker(t);
  const owner = ownerOf(t);
  for (const id of ["s1", "s2", "s3"]) {
    await owner.mutation(api.sessions.start, { id, workerId: "w1" });
    vi.advanceTimersByTime(10);
  }
  await send(t, "a", { sessionId: "s1" });
  await owner.mutation(api.sessions.end, { sessionId: "s2" });
  const ids = async (args: object) => (await owner.query(api.sessions.list, args)).map((session) => session.sessionId);
  expect(await ids({})).toEqual(["s1", "s3"]);
  expect(await ids({ workerId: "w1", includeEnded: true })).toEqual(["s1", "s3", "s2"]);
  expect(await strangerOf(t).query(api.sessions.list, {})).toEqual([]);
  expect(await code(strangerOf(t).query(api.sessions.list, { workerId: "w1" }))).toBe("forbidden");
});

test("others can neither read nor change a session", async () => {
  const t = deployment();
  await servedWorker(t);
  await send(t, "a", { workerId: "w1" });
  const sessionId = "session_a";
  const stranger = strangerOf(t);
  expect(await code(stranger.query(api.sessions.get, { sessionId }))).toBe("forbidden");
  expect(await code(stranger.mutation(api.sessions.rename, { sessionId, title: "mine" }))).toBe("forbidden");
  expect(await code(stranger.mutation(api.sessions.end, { sessionId }))).toBe("forbidden");
  expect(await code(ownerOf(t).mutation(api.sessions.end, { sessionId: "none" }))).toBe("not_found");
  expect(await code(t.mutation(api.sessions.rename, { sessionId, title: "x" }))).toBe("unauthorized");
});

test("rename changes the title", async () => {
  const t = deployment();
  await servedWorker(t);
  await send(t, "a", { workerId: "w1" });
  const owner = ownerOf(t);
  await owner.mutation(api.sessions.rename, { sessionId: "session_a", title: "about cats" });
  await owner.mutation(api.sessions.rename, { sessionId: "session_a", title: "about cats" });
  expect((await owner.query(api.sessions.get, { sessionId: "session_a" }))!.title).toBe("about cats");
  expect(await code(owner.mutation(api.sessions.rename, { sessionId: "session_a", title: "" }))).toBe("invalid");
});

test("end closes what waits, marks what runs, and stays", async () => {
  const t = deployment();
  const worker = await servedWorker(t);
  const running = await claimedTurn(t, worker);
  const waiting = await send(t, "b", { sessionId: "session_a" });
  const owner = ownerOf(t);
  const session = { ...worker, sessionId: "session_a" };
  await t.mutation(api.sessions.setStatus, { ...session, status: "active" });
  await owner.mutation(api.sessions.end, { sessionId: "session_a" });
  await owner.mutation(api.sessions.end, { sessionId: "session_a" });
  expect(await turnRow(t, waiting.turnId)).toMatchObject({ state: "aborted", error: { code: "ended" } });
  expect(await turnRow(t, running)).toMatchObject({ state: "claimed", abortRequested: true });
  expect(await code(send(t, "c", { sessionId: "session_a" }))).toBe("ended");
  const inbox = await t.query(api.work.inbox, worker);
  expect(inbox.sessions).toEqual([{ sessionId: "session_a", status: "ended" }]);
  expect(inbox.turns).toEqual([{ turnId: running, sessionId: "session_a", state: "claimed", abort: true }]);
  await t.mutation(api.sessions.setStatus, { ...session, status: "idle" });
  expect((await owner.query(api.sessions.get, { sessionId: "session_a" }))!.status).toBe("ended");
  expect((await t.query(api.work.inbox, worker)).sessions).toEqual([]);
});

test("a supervisor reports what it serves, with a reason", async () => {
  const t = deployment();
  const worker = await servedWorker(t);
  await send(t, "a", { workerId: "w1" });
  const get = () => ownerOf(t).query(api.sessions.get, { sessionId: "session_a" });
  const set = (status: "active" | "idle" | "failed" | "ended", reason?: string) =>
    t.mutation(api.sessions.setStatus, { ...worker, sessionId: "session_a", status, ...(reason ? { reason } : {}) });
  await set("active");
  expect((await t.query(api.work.inbox, worker)).sessions).toEqual([{ sessionId: "session_a", status: "active" }]);
  await set("failed", "x".repeat(10_000));
  expect((await get())!.status).toBe("failed");
  expect((await get())!.reason).toHaveLength(4_001);
  await set("idle");
  expect(await get()).toMatchObject({ status: "idle" });
  expect((await get())!.reason).toBeUndefined();
  await set("ended");
  await set("active");
  expect((await get())!.status).toBe("ended");
  expect(await code(send(t, "b", { sessionId: "session_a" }))).toBe("ended");
});

test("the first confirmed conversation stays", async () => {
  const t = deployment();
  const worker = await servedWorker(t);
  await send(t, "a", { workerId: "w1" });
  const confirm = (agentSessionId: string) =>
    t.mutation(api.sessions.confirm, { ...worker, sessionId: "session_a", agentSessionId });
  expect(await confirm("ses_1")).toEqual({ agentSessionId: "ses_1" });
  expect(await confirm("ses_2")).toEqual({ agentSessionId: "ses_1" });
  expect((await ownerOf(t).query(api.sessions.get, { sessionId: "session_a" }))!.agentSessionId).toBe("ses_1");
});

test("a worker reaches its own sessions and turns only", async () => {
  const t = deployment();
  const worker = await servedWorker(t);
  const turnId = await claimedTurn(t, worker);
  const token = await createWorker(ownerOf(t), "w2");
  await ownerOf(t).mutation(api.workers.approve, { workerId: "w2" });
  const other = { token, epoch: (await t.mutation(api.workers.connect, { token, ...SUPERVISOR })).epoch };
  const session = { ...other, sessionId: "session_a" };
  expect(await code(t.mutation(api.sessions.confirm, { ...session, agentSessionId: "ses_1" }))).toBe("forbidden");
  expect(await code(t.mutation(api.sessions.setStatus, { ...session, status: "idle" }))).toBe("forbidden");
  expect(await code(t.mutation(api.sessions.setStatus, { ...session, sessionId: "none", status: "idle" }))).toBe("not_found");
  expect(await code(t.mutation(api.messages.claim, { ...other, turnId }))).toBe("forbidden");
  expect(await code(t.mutation(api.messages.claim, { ...other, turnId: "none" }))).toBe("not_found");
  expect(await code(t.mutation(api.messages.claim, { ...other, turnId: "a" }))).toBe("not_found");
  const ending = { ...other, turnId, outcome: "complete" as const, items: [] };
  expect(await code(t.mutation(api.messages.finish, ending))).toBe("forbidden");
  const batch = { ...other, turn: turnId, items: [] };
  const { results } = await t.mutation(api.chunks.append, { batches: [batch] });
  expect(results[0]!.status).toBe("unknown");
  expect((await t.query(api.work.inbox, other)).turns).toEqual([]);
});

test("a name from the assistant itself is the session's, cut when it is long, and never an empty one", async () => {
  const t = deployment();
  const worker = await servedWorker(t);
  await claimedTurn(t, worker);
  const retitle = (title: string) => t.mutation(api.sessions.retitle, { ...worker, sessionId: "session_a", title });
  const title = async () => (await ownerOf(t).query(api.sessions.get, { sessionId: "session_a" }))?.title;
  await retitle("Rounding in the cart");
  expect(await title()).toBe("Rounding in the cart");
  await retitle("  ");
  expect(await title()).toBe("Rounding in the cart");
  await retitle("x".repeat(5_000));
  expect(await title()).toHaveLength(200);
  const other = await servedWorker(t, "w2");
  expect(await code(t.mutation(api.sessions.retitle, { ...other, sessionId: "session_a", title: "mine" }))).toBe("forbidden");
});
