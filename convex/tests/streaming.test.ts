import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  SUPERVISOR,
  api,
  append,
  claimedTurn,
  code,
  countRows,
  deployment,
  finish,
  item,
  ownerOf,
  pass,
  send,
  servedWorker,
  strangerOf,
  turnRow,
} from "./deployment.fixture";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const KIB = 1_024;

describe("claim", () => {
  test("gives all that the turn needs, and records who claimed first", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await ownerOf(t).mutation(api.sessions.start, { id: "s1", workerId: "w1", model: "p/default", title: "mine" });
    const { turnId } = await send(t, "a", { sessionId: "s1" }, "hello");
    const claim = (credential = worker) => t.mutation(api.messages.claim, { ...credential, turnId });
    const claimed = {
      status: "claimed",
      sessionId: "s1",
      content: "hello",
      model: "p/default",
      agent: null,
      title: "mine",
      agentSessionId: null,
      abort: false,
      nextIndex: 0,
      first: true,
      claimedBootId: "boot-1",
      unsettled: [],
    };
    expect(await claim()).toEqual(claimed);
    await append(t, worker, turnId, [item(0, "a"), item(1, "b")]);
    await t.mutation(api.sessions.confirm, { ...worker, sessionId: "s1", agentSessionId: "ses_1" });
    const again = { ...claimed, first: false, nextIndex: 2, agentSessionId: "ses_1" };
    expect(await claim()).toEqual(again);
    const restarted = { ...SUPERVISOR, startId: "start-2", bootId: "boot-2" };
    const { epoch } = await t.mutation(api.workers.connect, { token: worker.token, ...restarted });
    expect(await claim({ ...worker, epoch })).toEqual(again);
  });

  test("the message's model comes before the session's", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const model = { model: "p/first" };
    await ownerOf(t).mutation(api.messages.send, { id: "a", workerId: "w1", content: "x", ...model });
    await ownerOf(t).mutation(api.messages.send, { id: "b", sessionId: "session_a", content: "x", model: "p/second" });
    await send(t, "c", { sessionId: "session_a" });
    const models = [];
    for (const turnId of ["turn_a", "turn_b", "turn_c"]) {
      models.push(await t.mutation(api.messages.claim, { ...worker, turnId }));
      await finish(t, worker, turnId);
    }
    expect(models).toMatchObject([{ model: "p/first" }, { model: "p/second" }, { model: "p/first" }]);
    await ownerOf(t).mutation(api.sessions.start, { id: "s1", workerId: "w1" });
    const { turnId } = await send(t, "d", { sessionId: "s1" });
    expect(await t.mutation(api.messages.claim, { ...worker, turnId })).toMatchObject({ model: null });
  });

  test("only the session's oldest open turn can be claimed", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await send(t, "a", { workerId: "w1" });
    await send(t, "b", { sessionId: "session_a" });
    const claim = (turnId: string) => t.mutation(api.messages.claim, { ...worker, turnId });
    expect(await claim("turn_b")).toEqual({ status: "not_next" });
    expect(await claim("turn_a")).toMatchObject({ status: "claimed" });
    expect(await claim("turn_b")).toEqual({ status: "not_next" });
    await finish(t, worker, "turn_a");
    expect(await claim("turn_a")).toEqual({ status: "closed", state: "complete" });
    expect(await claim("turn_b")).toMatchObject({ status: "claimed" });
  });

  test("under another store it closes the turn", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    // A connection that did not come across the turn, as with more sessions than it looks at.
    await t.run(async (ctx) => {
      const row = await ctx.db.query("workers").first();
      await ctx.db.patch(row!._id, { storeId: "store-2" });
    });
    expect(await t.mutation(api.messages.claim, { ...worker, turnId })).toEqual({ status: "closed", state: "interrupted" });
    expect(await turnRow(t, turnId)).toMatchObject({ state: "interrupted", error: { code: "other_store" } });
  });
});

describe("append", () => {
  test("stores each index once, in order, without gaps", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turn = await claimedTurn(t, worker);
    expect(await append(t, worker, turn, [])).toEqual({ turn, status: "ok", nextIndex: 0 });
    expect(await append(t, worker, turn, [item(0, "a"), item(1, "b")])).toEqual({ turn, status: "ok", nextIndex: 2 });
    expect(await append(t, worker, turn, [item(0, "a"), item(1, "b")])).toEqual({ turn, status: "ok", nextIndex: 2 });
    expect(await append(t, worker, turn, [item(1, "b"), item(2, "c")])).toEqual({ turn, status: "ok", nextIndex: 3 });
    expect(await append(t, worker, turn, [item(4, "e")])).toMatchObject({ status: "invalid", nextIndex: 3 });
    expect(await append(t, worker, turn, [item(3, "d"), item(5, "f")])).toMatchObject({ status: "invalid", nextIndex: 3 });
    expect(await append(t, worker, turn, [item(0.5, "x")])).toMatchObject({ status: "invalid", nextIndex: 3 });
    const page = await ownerOf(t).query(api.chunks.page, { turnId: turn, from: 0 });
    expect(page).toEqual({ items: [item(0, "a"), item(1, "b"), item(2, "c")], state: "claimed", folded: false });
  });

  test("what is wrong with one batch is no other's fault", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turn = await claimedTurn(t, worker);
    const queued = await send(t, "b", { workerId: "w1" });
    const closed = await claimedTurn(t, worker, "c");
    await finish(t, worker, closed, [item(0, "done")]);
    const token = worker.token.slice(0, -3) + "xxx";
    const items = [item(0, "x")];
    const { results } = await t.mutation(api.chunks.append, {
      batches: [
        { ...worker, turn, items: [item(7, "gap")] },
        { ...worker, token, turn, items },
        { ...worker, epoch: 9, turn, items },
        { ...worker, turn: "none", items },
        { ...worker, turn: queued.turnId, items },
        { ...worker, turn: closed, items: [item(1, "late")] },
        { ...worker, turn, items: [item(0, "x".repeat(64 * KIB + 1))] },
        { ...worker, turn, items: [{ ...item(0, "x"), partId: "" }] },
        { ...worker, turn, items: [item(0, "good")] },
        { ...worker, turn, items: [item(1, "more")] },
      ],
    });
    expect(results.map(({ status, nextIndex }) => [status, nextIndex])).toEqual([
      ["invalid", 0],
      ["unauthorized", 0],
      ["displaced", 0],
      ["unknown", 0],
      ["invalid", 0],
      ["closed", 1],
      ["invalid", 0],
      ["invalid", 0],
      ["ok", 1],
      ["ok", 2],
    ]);
    for (const { status, message } of results) expect(message === undefined).toBe(status === "ok");
    await ownerOf(t).mutation(api.workers.revoke, { workerId: "w1" });
    expect(await append(t, worker, turn, items)).toMatchObject({ status: "revoked" });
  });

  test("a call is bounded in bytes and items", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turn = await claimedTurn(t, worker);
    const four = [0, 1, 2, 3].map((index) => item(index, "x".repeat(64 * KIB)));
    expect(await append(t, worker, turn, four)).toMatchObject({ status: "ok", nextIndex: 4 });
    expect(await code(append(t, worker, turn, [...four, item(4, "x")]))).toBe("too_large");
    const many = Array.from({ length: 3_001 }, (_, index) => item(index, ""));
    expect(await code(append(t, worker, turn, many))).toBe("too_large");
  });

  test("windows hold 32 indexes, and belong to the owner", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await append(t, worker, turnId, Array.from({ length: 70 }, (_, index) => item(index, `${index}`)));
    const indexes = async (from: number) =>
      (await ownerOf(t).query(api.chunks.page, { turnId, from })).items.map(({ index }) => index);
    expect((await indexes(0)).length).toBe(32);
    expect((await indexes(32))[0]).toBe(32);
    expect(await indexes(64)).toEqual([64, 65, 66, 67, 68, 69]);
    expect(await indexes(96)).toEqual([]);
    expect(await code(indexes(-1))).toBe("invalid");
    for (const from of [5, 33, 63]) expect(await code(indexes(from))).toBe("invalid");
    expect(await code(strangerOf(t).query(api.chunks.page, { turnId, from: 0 }))).toBe("forbidden");
    expect(await code(t.query(api.chunks.page, { turnId, from: 0 }))).toBe("unauthorized");
    expect(await code(ownerOf(t).query(api.chunks.page, { turnId: "none", from: 0 }))).toBe("not_found");
  });
});

describe("finish", () => {
  const usage = { inputTokens: 1, outputTokens: 2, reasoningTokens: 3, cacheReadTokens: 4, cacheWriteTokens: 5, cost: 0.25 };

  test("stores the rest, closes the turn and folds it", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await append(t, worker, turnId, [item(0, "one "), item(1, "two ")]);
    vi.advanceTimersByTime(5_000);
    const items = [item(1, "two "), item(2, "three")];
    await t.mutation(api.messages.finish, { ...worker, turnId, outcome: "complete", usage, items });
    expect(await turnRow(t, turnId)).toMatchObject({
      state: "complete",
      usage,
      finishedAt: Date.now(),
      folded: true,
      parts: [{ partId: "p1", kind: "text", text: "one two three" }],
    });
    const session = await ownerOf(t).query(api.sessions.get, { sessionId: "session_a" });
    expect(session!.lastActivityAt).toBe(Date.now());
    expect((await t.query(api.work.inbox, worker)).turns).toEqual([]);
  });

  test("the first one stays", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    const error = { code: "provider", message: "m".repeat(9_000) };
    await t.mutation(api.messages.finish, { ...worker, turnId, outcome: "failed", error, items: [] });
    expect(await finish(t, worker, turnId, [item(0, "late")])).toEqual({ status: "already", state: "failed" });
    const turn = await turnRow(t, turnId);
    expect(turn).toMatchObject({ state: "failed", error: { code: "provider" }, parts: [] });
    expect(turn.error!.message).toHaveLength(4_001);
  });

  test("a turn can be closed without ever being claimed", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const { turnId } = await send(t, "a", { workerId: "w1" });
    const error = { code: "boot", message: "opencode does not start" };
    await t.mutation(api.messages.finish, { ...worker, turnId, outcome: "failed", error, items: [] });
    expect(await turnRow(t, turnId)).toMatchObject({ state: "failed", error, folded: true });
  });

  test("a gap or too much refuses the whole call", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    expect(await code(finish(t, worker, turnId, [item(1, "x")]))).toBe("invalid");
    const large = Array.from({ length: 65 }, (_, index) => item(index, "x".repeat(64 * KIB)));
    expect(await code(finish(t, worker, turnId, large))).toBe("too_large");
    expect((await turnRow(t, turnId)).state).toBe("claimed");
    expect(await countRows(t, "chunks")).toBe(0);
    expect(await finish(t, worker, turnId, large.slice(0, 64))).toEqual({ status: "closed" });
  });

  test("replaces a provisional close, from the store that claimed the turn only", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await append(t, worker, turnId, [item(0, "kept ")]);
    const connect = (change: object) => t.mutation(api.workers.connect, { token: worker.token, ...SUPERVISOR, ...change });
    const second = await connect({ startId: "start-2", storeId: "store-2" });
    const elsewhere = { ...worker, epoch: second.epoch };
    expect((await turnRow(t, turnId)).state).toBe("interrupted");
    expect(await append(t, elsewhere, turnId, [item(1, "x")])).toMatchObject({ status: "closed", nextIndex: 1 });
    expect(await finish(t, elsewhere, turnId)).toEqual({ status: "already", state: "interrupted" });
    await pass(t, 120_000);
    const third = await connect({ startId: "start-3" });
    const back = { ...worker, epoch: third.epoch };
    expect(await append(t, back, turnId, [item(1, "and ")])).toMatchObject({ status: "ok", nextIndex: 2 });
    expect(await finish(t, back, turnId, [item(2, "answered")])).toEqual({ status: "closed" });
    expect(await turnRow(t, turnId)).toMatchObject({ state: "complete", parts: [{ text: "kept and answered" }] });
    expect(await finish(t, back, turnId)).toEqual({ status: "already", state: "complete" });
  });

  test("a turn closed by revoking is replaced after an approval", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await ownerOf(t).mutation(api.workers.revoke, { workerId: "w1" });
    expect(await code(finish(t, worker, turnId))).toBe("revoked");
    await ownerOf(t).mutation(api.workers.approve, { workerId: "w1" });
    const { epoch } = await t.mutation(api.workers.connect, { token: worker.token, ...SUPERVISOR });
    expect(await finish(t, { ...worker, epoch }, turnId, [item(0, "answer")])).toEqual({ status: "closed" });
    expect((await turnRow(t, turnId)).state).toBe("complete");
  });
});

describe("folding", () => {
  async function foldedParts(items: ReturnType<typeof item>[]) {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await finish(t, worker, turnId, items);
    return (await turnRow(t, turnId)).parts;
  }

  test("keeps the order of first sight; tools replace, resets void", async () => {
    expect(
      await foldedParts([
        item(0, "think", "r1", "reasoning"),
        item(1, "draft", "t1"),
        item(2, '{"status":"running"}', "c1", "tool"),
        item(3, "ing", "r1", "reasoning"),
        item(4, '{"status":"completed"}', "c1", "tool"),
        item(5, "", "t1", "reset"),
        item(6, "final", "t1"),
        item(7, "abandoned", "t2"),
        item(8, "", "t2", "reset"),
        item(9, "", "t3", "reset"),
        item(10, "a", "t4"),
        item(11, "b", "t4", "reasoning"),
      ]),
    ).toEqual([
      { partId: "r1", kind: "reasoning", text: "thinking" },
      { partId: "t1", kind: "text", text: "final" },
      { partId: "c1", kind: "tool", text: '{"status":"completed"}' },
      { partId: "t4", kind: "reasoning", text: "b" },
    ]);
  });

  test("the chunks of a folded turn go after a minute", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await finish(t, worker, turnId, [item(0, "a"), item(1, "b")]);
    await pass(t, 59_999);
    expect(await countRows(t, "chunks")).toBe(2);
    expect((await ownerOf(t).query(api.chunks.page, { turnId, from: 0 })).folded).toBe(true);
    await pass(t, 1);
    expect(await countRows(t, "chunks")).toBe(0);
    expect((await turnRow(t, turnId)).parts).toEqual([{ partId: "p1", kind: "text", text: "ab" }]);
  });

  test("a turn of many chunks is folded in pages, and read from chunks until then", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    const items = Array.from({ length: 1_200 }, (_, index) => item(index, `${index} `, `p${index % 3}`));
    await finish(t, worker, turnId, items);
    expect(await turnRow(t, turnId)).toMatchObject({ state: "complete", folded: false });
    expect(await ownerOf(t).query(api.messages.parts, { turnId, from: 0 })).toEqual({ parts: [], next: null });
    await t.finishAllScheduledFunctions(() => void vi.advanceTimersByTime(1));
    const { parts, folded } = await turnRow(t, turnId);
    expect(folded).toBe(true);
    const expected = (part: number) => items.filter(({ index }) => index % 3 === part).map(({ content }) => content).join("");
    expect(parts!.map(({ partId, text }) => [partId, text])).toEqual([0, 1, 2].map((part) => [`p${part}`, expected(part)]));
    await pass(t, 60_000);
    await t.finishAllScheduledFunctions(() => void vi.advanceTimersByTime(1));
    expect(await countRows(t, "chunks")).toBe(0);
  });

  test("a long text is kept in pieces, and a reset voids all of them", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    const text = "ä".repeat(32 * KIB);
    let index = 0;
    const stream = async (partId: string, count: number) => {
      for (let left = count; left > 0; left -= 4) {
        const items = Array.from({ length: Math.min(4, left) }, () => item(index++, text, partId));
        expect((await append(t, worker, turnId, items)).status).toBe("ok");
      }
    };
    await stream("voided", 140);
    await stream("kept", 17);
    await append(t, worker, turnId, [item(index++, "", "voided", "reset"), item(index++, "short", "voided")]);
    await finish(t, worker, turnId);
    await t.finishAllScheduledFunctions(() => void vi.advanceTimersByTime(1));
    const turn = await turnRow(t, turnId);
    expect(turn).toMatchObject({ folded: true, partsOmitted: true });
    const pages = [];
    let from: number | null = 0;
    while (from !== null) {
      const page: { parts: { partId: string; text: string }[]; next: number | null } = await ownerOf(t).query(api.messages.parts, { turnId, from });
      pages.push(page.parts.map(({ partId, text }) => `${partId} ${text.length / KIB}`));
      from = page.next;
    }
    const piece = "kept 128";
    expect(pages).toEqual([[`voided ${5 / KIB}`, piece], [piece, piece], [piece, "kept 32"]]);
    expect(await countRows(t, "parts")).toBe(6);
  });

  test("a turn of thousands of tiny parts is read in pages, and left out of the list", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await finish(t, worker, turnId, [item(0, "x", "p0")]);
    // As the fold of so many would have left them, which takes its time.
    await t.run(async (ctx) => {
      for (let place = 1; place < 2_100; place += 1) {
        await ctx.db.insert("parts", { turnId, ordinal: place * 4_096, partId: `p${place}`, kind: "text", text: "x" });
      }
    });
    const turn = await turnRow(t, turnId);
    expect(turn).toMatchObject({ folded: true, partsOmitted: true });
    expect(turn.parts).toBeUndefined();
    const first = await ownerOf(t).query(api.messages.parts, { turnId, from: 0 });
    expect(first.parts.length).toBe(2_000);
    const second = await ownerOf(t).query(api.messages.parts, { turnId, from: first.next! });
    expect([second.parts.length, second.parts[0]!.partId, second.next]).toEqual([100, "p2000", null]);
  });

  test("parts are the owner's, by position", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    await finish(t, worker, turnId, [item(0, "a")]);
    const parts = (from: number) => ownerOf(t).query(api.messages.parts, { turnId, from });
    expect(await parts(1)).toEqual({ parts: [], next: null });
    expect(await code(parts(-1))).toBe("invalid");
    expect(await code(strangerOf(t).query(api.messages.parts, { turnId, from: 0 }))).toBe("forbidden");
  });
});
