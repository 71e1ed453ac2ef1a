import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  api,
  append,
  claimedTurn,
  code,
  countRows,
  createWorker,
  deployment,
  finish,
  item,
  listed,
  ownerOf,
  pass,
  refusal,
  send,
  servedWorker,
  type Deployment,
  strangerOf,
  turnRow,
} from "./deployment.fixture";
import { queuedLimitMs } from "../lib/settings";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());
afterEach(() => void vi.unstubAllEnvs());

const HOUR = 3_600_000;

describe("send", () => {
  test("to a worker starts a session, to a session goes on with it", async () => {
    const t = deployment();
    await servedWorker(t);
    const first = await send(t, "a", { workerId: "w1" }, "\n  hello there \nand more");
    expect(first).toEqual({ sessionId: "session_a", turnId: "turn_a", seq: 0 });
    expect(await send(t, "b", { sessionId: "session_a" })).toEqual({ sessionId: "session_a", turnId: "turn_b", seq: 2 });
    expect(await ownerOf(t).query(api.sessions.get, { sessionId: "session_a" })).toMatchObject({ title: "hello there" });
    const messages = await listed(t, "session_a");
    expect(messages.map(({ id, role, seq, state }) => [id, role, seq, state])).toEqual([
      ["a", "user", 0, undefined],
      ["turn_a", "assistant", 1, "queued"],
      ["b", "user", 2, undefined],
      ["turn_b", "assistant", 3, "queued"],
    ]);
    expect(messages[0]!.content).toBe("\n  hello there \nand more");
    expect(messages[1]).toMatchObject({ folded: false });
  });

  test("a title has 60 whole characters at most", async () => {
    const t = deployment();
    await servedWorker(t);
    await send(t, "a", { workerId: "w1" }, "😀".repeat(100));
    const session = await ownerOf(t).query(api.sessions.get, { sessionId: "session_a" });
    expect(session!.title).toBe("😀".repeat(60));
  });

  test("the same message again gets the same answer, whatever has happened since", async () => {
    const t = deployment();
    await servedWorker(t);
    const sent = await send(t, "a", { workerId: "w1" });
    expect(await send(t, "a", { workerId: "w1" })).toEqual(sent);
    expect(await send(t, "a", { sessionId: "session_a" })).toEqual(sent);
    await ownerOf(t).mutation(api.workers.remove, { workerId: "w1" });
    expect(await send(t, "a", { workerId: "w1" })).toEqual(sent);
    expect(await countRows(t, "messages")).toBe(2);
    expect(await countRows(t, "sessions")).toBe(1);
  });

  test("an id with another meaning is a conflict", async () => {
    const t = deployment();
    await servedWorker(t);
    await send(t, "a", { workerId: "w1" });
    await send(t, "b", { workerId: "w1" });
    expect(await code(send(t, "a", { workerId: "w1" }, "other text"))).toBe("conflict");
    expect(await code(send(t, "a", { sessionId: "session_b" }))).toBe("conflict");
    expect(await code(send(t, "turn_a", { sessionId: "session_a" }))).toBe("conflict");
    await send(t, "turn_c", { workerId: "w1" });
    expect(await code(send(t, "c", { workerId: "w1" }))).toBe("conflict");
    await ownerOf(t).mutation(api.sessions.start, { id: "session_d", workerId: "w1" });
    expect(await code(send(t, "d", { workerId: "w1" }))).toBe("conflict");
    const stranger = strangerOf(t).mutation(api.messages.send, { id: "a", workerId: "w1", content: "text of a" });
    expect(await code(stranger)).toBe("conflict");
  });

  test("needs an owner, a target of theirs, and exactly one", async () => {
    const t = deployment();
    await servedWorker(t);
    await send(t, "a", { workerId: "w1" });
    const message = { id: "b", content: "text" };
    expect(await code(t.mutation(api.messages.send, { ...message, workerId: "w1" }))).toBe("unauthorized");
    expect(await code(strangerOf(t).mutation(api.messages.send, { ...message, workerId: "w1" }))).toBe("forbidden");
    expect(await code(strangerOf(t).mutation(api.messages.send, { ...message, sessionId: "session_a" }))).toBe("forbidden");
    const owner = ownerOf(t);
    expect(await code(owner.mutation(api.messages.send, { ...message, workerId: "none" }))).toBe("not_found");
    expect(await code(owner.mutation(api.messages.send, { ...message, sessionId: "none" }))).toBe("not_found");
    expect(await code(owner.mutation(api.messages.send, message))).toBe("invalid");
    expect(await code(owner.mutation(api.messages.send, { ...message, workerId: "w1", sessionId: "session_a" }))).toBe("invalid");
    expect(await code(owner.mutation(api.messages.send, { ...message, id: "x y", workerId: "w1" }))).toBe("invalid");
  });

  test("a message must say something and fit", async () => {
    const t = deployment();
    await servedWorker(t);
    expect(await code(send(t, "a", { workerId: "w1" }, ""))).toBe("invalid");
    expect(await code(send(t, "a", { workerId: "w1" }, " \n"))).toBe("invalid");
    const refused = await refusal(send(t, "a", { workerId: "w1" }, "x".repeat(2_000_000)));
    expect(refused.code).toBe("too_large");
    expect(refused.message).toContain("2000000 bytes and the limit is 900000");
    expect(await code(send(t, "a", { workerId: "w1" }, "ä".repeat(450_001)))).toBe("too_large");
    expect(await countRows(t, "sessions")).toBe(0);
    await send(t, "a", { workerId: "w1" }, "ä".repeat(450_000));
    expect((await listed(t, "session_a"))[0]!.content).toHaveLength(450_000);
  });

  test("a pending worker's queue is filled, a full one is not", async () => {
    const t = deployment();
    await createWorker(ownerOf(t));
    await send(t, "a", { workerId: "w1" });
    for (let i = 1; i < 100; i++) await send(t, `a${i}`, { sessionId: "session_a" });
    expect(await code(send(t, "b", { sessionId: "session_a" }))).toBe("queue_full");
    await ownerOf(t).mutation(api.messages.abort, { turnId: "turn_a50" });
    expect((await send(t, "b", { sessionId: "session_a" })).seq).toBe(200);
  });
});

describe("list", () => {
  test("gives the newest, and pages backwards", async () => {
    const t = deployment();
    await servedWorker(t);
    await send(t, "a", { workerId: "w1" });
    await send(t, "b", { sessionId: "session_a" });
    const page = async (args: object) =>
      (await ownerOf(t).query(api.messages.list, { sessionId: "session_a", ...args })).messages.map(({ seq }) => seq);
    expect(await page({})).toEqual([0, 1, 2, 3]);
    expect(await page({ limit: 2 })).toEqual([2, 3]);
    expect(await page({ limit: 2, beforeSeq: 2 })).toEqual([0, 1]);
    expect(await page({ beforeSeq: 0 })).toEqual([]);
    expect(await code(page({ limit: 101 }))).toBe("invalid");
    expect(await code(page({ limit: 0 }))).toBe("invalid");
    expect(await code(page({ beforeSeq: -1 }))).toBe("invalid");
  });

  test("is the owner's, for a session that exists", async () => {
    const t = deployment();
    await servedWorker(t);
    await send(t, "a", { workerId: "w1" });
    await ownerOf(t).mutation(api.sessions.start, { id: "empty", workerId: "w1" });
    const list = (caller: ReturnType<typeof ownerOf>, sessionId: string) => caller.query(api.messages.list, { sessionId });
    expect(await list(ownerOf(t), "empty")).toEqual({ messages: [] });
    expect(await code(list(strangerOf(t), "empty"))).toBe("forbidden");
    expect(await code(list(strangerOf(t), "session_a"))).toBe("forbidden");
    expect(await code(list(ownerOf(t), "none"))).toBe("not_found");
    expect(await code(t.query(api.messages.list, { sessionId: "session_a" }))).toBe("unauthorized");
  });

  test("large messages shorten the page instead of breaking it", async () => {
    const t = deployment();
    await servedWorker(t);
    await send(t, "a", { workerId: "w1" }, "x".repeat(900_000));
    await send(t, "b", { sessionId: "session_a" }, "y".repeat(900_000));
    expect((await listed(t, "session_a")).map(({ id }) => id)).toEqual(["turn_a", "b", "turn_b"]);
  });

  test("parts come along, newest first, until 256 KiB are used", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    for (const id of ["a", "b", "c"]) {
      const { turnId } = await send(t, id, id === "a" ? { workerId: "w1" } : { sessionId: "session_a" });
      await t.mutation(api.messages.claim, { ...worker, turnId });
      const items = [0, 1].map((index) => item(index, id.repeat(60 * 1024)));
      await finish(t, worker, turnId, items);
    }
    const turns = (await listed(t, "session_a")).filter(({ role }) => role === "assistant");
    expect(turns.map(({ parts, partsOmitted, folded }) => [parts?.length, partsOmitted, folded])).toEqual([
      [undefined, true, true],
      [1, undefined, true],
      [1, undefined, true],
    ]);
    expect(turns[2]!.parts![0]!.text).toBe("c".repeat(120 * 1024));
    const page = await ownerOf(t).query(api.messages.parts, { turnId: "turn_a", from: 0 });
    expect(page).toEqual({ parts: [{ partId: "p1", kind: "text", text: "a".repeat(120 * 1024) }], next: null });
  });
});

describe("abort", () => {
  test("withdraws a queued turn at once", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const { turnId } = await send(t, "a", { workerId: "w1" });
    const abort = () => ownerOf(t).mutation(api.messages.abort, { turnId });
    expect(await abort()).toEqual({ state: "aborted" });
    expect(await abort()).toEqual({ state: "aborted" });
    expect(await turnRow(t, turnId)).toMatchObject({ state: "aborted", folded: true, parts: [] });
    expect(await t.mutation(api.messages.claim, { ...worker, turnId })).toEqual({ status: "closed", state: "aborted" });
    expect(await finish(t, worker, turnId)).toEqual({ status: "already", state: "aborted" });
  });

  test("marks a claimed one, and claim and inbox show the mark", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    expect((await t.query(api.work.inbox, worker)).turns[0]!.abort).toBe(false);
    const abort = () => ownerOf(t).mutation(api.messages.abort, { turnId });
    expect(await abort()).toEqual({ state: "claimed" });
    expect(await abort()).toEqual({ state: "claimed" });
    expect((await t.query(api.work.inbox, worker)).turns[0]!.abort).toBe(true);
    expect(await t.mutation(api.messages.claim, { ...worker, turnId })).toMatchObject({ abort: true, first: false });
    expect(await finish(t, worker, turnId)).toEqual({ status: "closed" });
    expect(await abort()).toEqual({ state: "complete" });
    expect((await turnRow(t, turnId)).state).toBe("complete");
  });

  test("is the owner's, of a turn", async () => {
    const t = deployment();
    await servedWorker(t);
    await send(t, "a", { workerId: "w1" });
    expect(await code(strangerOf(t).mutation(api.messages.abort, { turnId: "turn_a" }))).toBe("forbidden");
    expect(await code(ownerOf(t).mutation(api.messages.abort, { turnId: "a" }))).toBe("not_found");
    expect(await code(ownerOf(t).mutation(api.messages.abort, { turnId: "none" }))).toBe("not_found");
    expect(await code(t.mutation(api.messages.abort, { turnId: "turn_a" }))).toBe("unauthorized");
  });
});

describe("time", () => {
  test("a message that nobody takes in a day is closed with a reason", async () => {
    const t = deployment();
    await servedWorker(t);
    const { turnId } = await send(t, "a", { workerId: "w1" });
    await pass(t, 24 * HOUR - 1);
    expect((await turnRow(t, turnId)).state).toBe("queued");
    await pass(t, 1);
    expect(await turnRow(t, turnId)).toMatchObject({ state: "failed", error: { code: "expired" }, folded: true });
  });

  test("a claimed turn outlives the day while its supervisor is there, and an hour without it ends it", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await append(t, worker, turnId, [item(0, "half")]);
    for (let hour = 0; hour < 30; hour++) {
      await pass(t, HOUR / 2);
      await t.mutation(api.presence.beat, worker);
      await pass(t, HOUR / 2);
    }
    expect((await turnRow(t, turnId)).state).toBe("claimed");
    await pass(t, HOUR / 2);
    expect((await turnRow(t, turnId)).state).toBe("claimed");
    await pass(t, 60_000);
    expect(await turnRow(t, turnId)).toMatchObject({ state: "interrupted", error: { code: "abandoned" }, folded: false });
    expect((await t.query(api.work.inbox, worker)).turns).toEqual([]);
    // It comes back with the answer after all.
    expect(await append(t, worker, turnId, [item(1, " and")])).toEqual({ turn: turnId, status: "ok", nextIndex: 2 });
    expect(await finish(t, worker, turnId, [item(2, " half")])).toEqual({ status: "closed" });
    const turn = await turnRow(t, turnId);
    expect(turn).toMatchObject({ state: "complete", parts: [{ text: "half and half" }] });
    expect(turn.error).toBeUndefined();
  });

  test("a deployment that slept with its supervisor hears from it before it closes anything", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await pass(t, HOUR);
    await t.mutation(api.presence.beat, worker);
    await pass(t, 60_000);
    expect((await turnRow(t, turnId)).state).toBe("claimed");
    await pass(t, 2 * HOUR);
    expect((await turnRow(t, turnId)).state).toBe("interrupted");
  });

  test("what is set decides how long a turn waits", async () => {
    vi.stubEnv("QUEUED_LIMIT_MS", "90000");
    vi.stubEnv("ABANDONED_LIMIT_MS", "300000");
    const t = deployment();
    const worker = await servedWorker(t);
    const claimed = await claimedTurn(t, worker);
    const { turnId } = await send(t, "b", { workerId: "w1" });
    await pass(t, 90_000 - 1);
    expect((await turnRow(t, turnId)).state).toBe("queued");
    await pass(t, 1);
    const { error } = await turnRow(t, turnId);
    expect(error).toEqual({ code: "expired", message: "no supervisor took the message within 90 seconds: start one and send it again" });
    expect((await turnRow(t, claimed)).state).toBe("claimed");
    await pass(t, 300_000);
    expect((await turnRow(t, claimed)).error).toEqual({
      code: "abandoned",
      message: "the supervisor that ran the turn has not been seen for 5 minutes",
    });
  });

  test("a setting that makes no sense is left out and said", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    for (const wrong of ["soon", "-1", "999", "1e99"]) {
      vi.stubEnv("QUEUED_LIMIT_MS", wrong);
      expect(queuedLimitMs()).toBe(24 * HOUR);
    }
    expect(warn).toHaveBeenCalledTimes(4);
    expect(warn.mock.calls[0]![0]).toContain("QUEUED_LIMIT_MS");
  });

  test("the checks leave closed turns alone", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await finish(t, worker, turnId, [item(0, "done")]);
    await pass(t, 48 * HOUR);
    expect(await turnRow(t, turnId)).toMatchObject({ state: "complete", parts: [{ text: "done" }] });
    expect(await t.mutation(api.messages.expire, { turnId })).toBeNull();
    expect(await t.mutation(api.messages.checkClaim, { turnId: "none" })).toBeNull();
  });
});

describe("then", () => {
  const end = async (t: ReturnType<typeof deployment>, worker: { token: string; epoch: number }, turnId: string, ending: object) =>
    await t.mutation(api.messages.finish, { ...worker, turnId, outcome: "interrupted", items: [], ...ending });
  const texts = async (t: ReturnType<typeof deployment>) =>
    (await listed(t, "session_a")).map(({ id, state }) => (state === undefined ? id : `${id} ${state}`));

  test("continue makes one message that goes on with the turn, ahead of what waits", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await send(t, "b", { sessionId: "session_a" });
    expect(await end(t, worker, turnId, { then: "continue" })).toEqual({ status: "closed" });
    expect(await end(t, worker, turnId, { then: "continue" })).toEqual({ status: "already", state: "interrupted" });
    expect(await texts(t)).toEqual([
      "a",
      "turn_a interrupted",
      "a.continued",
      "turn_a.continued queued",
      "b",
      "turn_b queued",
    ]);
    expect(await t.mutation(api.messages.claim, { ...worker, turnId: "turn_b" })).toEqual({ status: "not_next" });
    const claimed = await t.mutation(api.messages.claim, { ...worker, turnId: "turn_a.continued" });
    expect(claimed).toMatchObject({ status: "claimed", first: true });
    expect((claimed as { content: string }).content).toMatch(/interrupted.*\n\ntext of a$/s);
    expect(await turnRow(t, "turn_a.continued")).toMatchObject({ continues: "turn_a" });
    // What goes on with a turn is not gone on with, and the numbers of messages stay whole.
    await end(t, worker, "turn_a.continued", { then: "continue" });
    expect(await send(t, "c", { sessionId: "session_a" })).toMatchObject({ seq: 4 });
    expect((await texts(t)).slice(2)).toEqual([
      "a.continued",
      "turn_a.continued interrupted",
      "b",
      "turn_b queued",
      "c",
      "turn_c queued",
    ]);
  });

  test("the message after one that went on has a whole number, and pages go past it", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await end(t, worker, await claimedTurn(t, worker), { then: "continue" });
    expect(await send(t, "b", { sessionId: "session_a" })).toMatchObject({ seq: 2 });
    const before = async (beforeSeq: number) =>
      (await ownerOf(t).query(api.messages.list, { sessionId: "session_a", limit: 2, beforeSeq })).messages.map(({ id }) => id);
    expect(await before(2)).toEqual(["a.continued", "turn_a.continued"]);
    expect(await before(1.25)).toEqual(["a", "turn_a"]);
    expect(await code(ownerOf(t).query(api.messages.list, { sessionId: "session_a", beforeSeq: -1 }))).toBe("invalid");
  });

  test("continue makes nothing of a turn that its owner stopped or ended, or that did not end so", async () => {
    for (const [how, ending] of [
      ["abort", {}],
      ["end", {}],
      ["", { outcome: "failed" }],
      ["", { outcome: "complete" }],
    ] as const) {
      const t = deployment();
      const worker = await servedWorker(t);
      const turnId = await claimedTurn(t, worker);
      if (how === "abort") await ownerOf(t).mutation(api.messages.abort, { turnId });
      if (how === "end") await ownerOf(t).mutation(api.sessions.end, { sessionId: "session_a" });
      await end(t, worker, turnId, { ...ending, then: "continue" });
      expect(await listed(t, "session_a")).toHaveLength(2);
    }
  });

  test("provisional is replaced by the answer, which the session's next claim is told to look for", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await append(t, worker, turnId, [item(0, "half")]);
    const provisional = { outcome: "failed", error: { code: "parked", message: "parked" }, then: "provisional", items: [item(1, " an")] };
    expect(await end(t, worker, turnId, provisional)).toEqual({ status: "closed" });
    expect(await end(t, worker, turnId, provisional)).toEqual({ status: "already", state: "failed" });
    expect(await turnRow(t, turnId)).toMatchObject({ state: "failed", folded: false });
    const { turnId: next } = await send(t, "b", { sessionId: "session_a" });
    expect(await t.mutation(api.messages.claim, { ...worker, turnId: next })).toMatchObject({
      status: "claimed",
      unsettled: [{ turnId, nextIndex: 2 }],
    });
    expect(await append(t, worker, turnId, [item(2, "", "p1", "reset"), item(3, "the whole")])).toMatchObject({ status: "ok" });
    expect(await finish(t, worker, turnId)).toEqual({ status: "closed" });
    expect(await turnRow(t, turnId)).toMatchObject({ state: "complete", parts: [{ text: "the whole" }] });
    expect((await turnRow(t, turnId)).error).toBeUndefined();
    expect(await t.mutation(api.messages.claim, { ...worker, turnId: next })).toMatchObject({ unsettled: [] });
  });

  test("provisional of what its owner stopped stays aborted, unless the answer was whole", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    const stopped = { code: "aborted", message: "stopped by its owner" };
    await end(t, worker, turnId, { outcome: "aborted", error: stopped, then: "provisional" });
    const begun = { outcome: "interrupted", error: { code: "begun", message: "it had begun" } };
    expect(await end(t, worker, turnId, begun)).toEqual({ status: "closed" });
    expect(await turnRow(t, turnId)).toMatchObject({ state: "aborted", error: stopped, folded: true });
  });

  test("provisional of a turn that nobody claimed is final", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const { turnId } = await send(t, "a", { workerId: "w1" });
    await end(t, worker, turnId, { outcome: "failed", then: "provisional" });
    expect(await finish(t, worker, turnId)).toEqual({ status: "already", state: "failed" });
  });
});

describe("an agent for one message", () => {
  test("is handed over with the claim and shown with the message", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const { sessionId, turnId } = await ownerOf(t).mutation(api.messages.send, { id: "a", workerId: "w1", content: "look", agent: "plan" });
    expect(await t.mutation(api.messages.claim, { ...worker, turnId })).toMatchObject({ agent: "plan" });
    expect((await listed(t, sessionId)).map(({ agent }) => agent)).toEqual(["plan", "plan"]);
    await finish(t, worker, turnId);
    const next = await send(t, "b", { sessionId });
    expect(await t.mutation(api.messages.claim, { ...worker, turnId: next.turnId })).toMatchObject({ agent: null });
    const odd = { id: "c", sessionId, content: "x", agent: "two\nlines" };
    expect(await code(ownerOf(t).mutation(api.messages.send, odd))).toBe("invalid");
  });
});

describe("what a session has used", () => {
  const usage = { inputTokens: 10, outputTokens: 2, reasoningTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0, cost: 0.25 };
  const used = async (t: Deployment) => (await ownerOf(t).query(api.sessions.get, { sessionId: "session_a" }))?.usage;

  test("is the sum of its turns", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    expect(await used(t)).toBeUndefined();
    await t.mutation(api.messages.finish, { ...worker, turnId, outcome: "complete", usage, items: [] });
    await t.mutation(api.messages.finish, { ...worker, turnId, outcome: "complete", usage, items: [] });
    expect(await used(t)).toEqual(usage);
    const { turnId: second } = await send(t, "b", { sessionId: "session_a" });
    await t.mutation(api.messages.claim, { ...worker, turnId: second });
    await t.mutation(api.messages.finish, { ...worker, turnId: second, outcome: "failed", usage, items: [] });
    expect(await used(t)).toMatchObject({ inputTokens: 20, cost: 0.5 });
  });

  test("has the end that counts in it, and not the provisional one before", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    const provisional = { ...worker, turnId, outcome: "failed" as const, then: "provisional" as const, usage, items: [] };
    await t.mutation(api.messages.finish, provisional);
    await t.mutation(api.messages.finish, { ...worker, turnId, outcome: "complete", usage: { ...usage, inputTokens: 15 }, items: [] });
    expect(await used(t)).toMatchObject({ inputTokens: 15, cost: 0.25 });
  });
});
