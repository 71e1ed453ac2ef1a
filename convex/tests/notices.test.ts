import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { SUPERVISOR, api, claimedTurn, code, deployment, finish, ownerOf, servedWorker, strangerOf } from "./deployment.fixture";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const { installId } = SUPERVISOR;

describe("what there is to tell", () => {
  test("is what waits, and which turns have ended, newest first", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker, "a");
    const asked = { kind: "permission", title: "cargo test", permission: "bash" } as const;
    await t.mutation(api.permissions.ask, { ...worker, requestId: "r1", turnId, timeoutMs: 60_000, ...asked });
    const told = () => t.query(api.notices.list, { token: worker.token, installId });
    expect({ served: true, ...(await ownerOf(t).query(api.notices.recent, {})) }).toEqual(await told());
    expect(await strangerOf(t).query(api.notices.recent, {})).toEqual({ waiting: [], ended: [] });
    expect(await told()).toMatchObject({ waiting: [{ requestId: "r1", sessionId: "session_a", kind: "permission" }], ended: [] });
    await ownerOf(t).mutation(api.permissions.answer, { requestId: "r1", reply: "once" });
    vi.advanceTimersByTime(5_000);
    await finish(t, worker, turnId);
    const second = await claimedTurn(t, worker, "b");
    vi.advanceTimersByTime(1_000);
    await t.mutation(api.messages.finish, { ...worker, turnId: second, outcome: "failed", error: { code: "provider", message: "no" }, items: [] });
    const { waiting, ended } = await told();
    expect(waiting).toEqual([]);
    expect(ended.map(({ turnId, state, code }) => [turnId, state, code])).toEqual([
      [second, "failed", "provider"],
      [turnId, "complete", undefined],
    ]);
    expect(ended[1]!.finishedAt - ended[1]!.createdAt).toBe(5_000);
  });

  test("is the serving installation's to tell, and the newest twenty", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    for (let at = 0; at < 25; at++) {
      vi.advanceTimersByTime(1);
      await finish(t, worker, await claimedTurn(t, worker, `m${at}`));
    }
    const { served, ended } = await t.query(api.notices.list, { token: worker.token, installId });
    expect(served).toBe(true);
    expect(ended).toHaveLength(20);
    const none = { served: false, waiting: [], ended: [] };
    expect(await t.query(api.notices.list, { token: worker.token, installId: "another" })).toEqual(none);
    expect(await code(t.query(api.notices.list, { token: `${worker.token}x`, installId }))).toBe("unauthorized");
  });
});

describe("a viewer", () => {
  test("looks at a session until it says otherwise, or nothing for a while", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await claimedTurn(t, worker, "a");
    const looking = () => t.query(api.viewers.looking, { token: worker.token, sessionId: "session_a" });
    const look = (sessionId?: string) => ownerOf(t).mutation(api.viewers.look, { viewerId: "v1", ...(sessionId === undefined ? {} : { sessionId }) });
    expect(await looking()).toBe(false);
    await look("session_a");
    expect(await looking()).toBe(true);
    expect(await ownerOf(t).query(api.viewers.watched, { sessionId: "session_a" })).toBe(true);
    expect(await code(strangerOf(t).query(api.viewers.watched, { sessionId: "session_a" }))).toBe("forbidden");
    await look();
    expect(await looking()).toBe(false);
    await look("session_a");
    vi.advanceTimersByTime(45_000);
    expect(await looking()).toBe(false);
    expect(await code(look("nothing"))).toBe("not_found");
    expect(await code(strangerOf(t).mutation(api.viewers.look, { viewerId: "v2", sessionId: "session_a" }))).toBe("forbidden");
    expect(await code(t.mutation(api.viewers.look, { viewerId: "v2", sessionId: "session_a" }))).toBe("unauthorized");
  });

  test("is one of a hundred at most, and those that went away take no place", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await claimedTurn(t, worker, "a");
    const look = (viewerId: string) => ownerOf(t).mutation(api.viewers.look, { viewerId, sessionId: "session_a" });
    for (let at = 0; at < 105; at++) await look(`v${at}`);
    const count = () => t.run(async (ctx) => (await ctx.db.query("viewers").collect()).length);
    expect(await count()).toBe(100);
    vi.advanceTimersByTime(60_000);
    await look("fresh");
    expect(await count()).toBe(1);
  });

  test("is nobody's whose session is another worker's", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const other = await servedWorker(t, "w2");
    await claimedTurn(t, worker, "a");
    await ownerOf(t).mutation(api.viewers.look, { viewerId: "v1", sessionId: "session_a" });
    expect(await t.query(api.viewers.looking, { token: other.token, sessionId: "session_a" })).toBe(false);
  });
});
