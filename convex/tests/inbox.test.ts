import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { api, claimedTurn, code, deployment, finish, send, servedWorker } from "./deployment.fixture";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a session with a hundred messages hides no other", async () => {
  const t = deployment();
  const worker = await servedWorker(t);
  await send(t, "m", { workerId: "w1" });
  for (let i = 1; i < 100; i++) await send(t, `m${i}`, { sessionId: "session_m" });
  await send(t, "a", { workerId: "w1" });
  await send(t, "z", { workerId: "w1" });
  const turns = async () => (await t.query(api.work.inbox, worker)).turns.map(({ turnId }) => turnId);
  expect(await turns()).toEqual(["turn_a", "turn_m", "turn_z"]);
  await t.mutation(api.messages.claim, { ...worker, turnId: "turn_m" });
  await finish(t, worker, "turn_m");
  expect(await turns()).toEqual(["turn_a", "turn_m1", "turn_z"]);
});

test("200 sessions are shown, the others when these are done", async () => {
  const t = deployment();
  const worker = await servedWorker(t);
  for (let i = 0; i < 203; i++) await send(t, `m${i}`, { workerId: "w1" });
  const { turns } = await t.query(api.work.inbox, worker);
  expect(turns).toHaveLength(200);
  for (const { turnId } of turns.slice(0, 5)) await finish(t, worker, turnId);
  expect((await t.query(api.work.inbox, worker)).turns).toHaveLength(198);
});

test("shows states and marks, no text", async () => {
  const t = deployment();
  const worker = await servedWorker(t);
  const turnId = await claimedTurn(t, worker);
  await t.mutation(api.sessions.setStatus, { ...worker, sessionId: "session_a", status: "active" });
  expect(await t.query(api.work.inbox, worker)).toEqual({
    state: "approved",
    displaced: false,
    turns: [{ turnId, sessionId: "session_a", state: "claimed", abort: false }],
    sessions: [{ sessionId: "session_a", status: "active" }],
    requests: [],
    commands: [],
    tasks: false,
  });
  expect(await code(t.query(api.work.inbox, { ...worker, token: "nonsense" }))).toBe("unauthorized");
});
