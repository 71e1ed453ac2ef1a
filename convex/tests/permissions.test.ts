import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { SUPERVISOR, api, claimedTurn, code, countRows, deployment, finish, ownerOf, pass, refusal, send, servedWorker, strangerOf, type Credential, type Deployment } from "./deployment.fixture";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const BASH = { kind: "permission" as const, title: "bash: git push", permission: "bash", patterns: ["git push"], always: ["git push *"], details: "git push" };
const COLOURS = [{ label: "red" }, { label: "blue", description: "like the sea" }];
const QUESTION = { kind: "question" as const, title: "Which colour?", questions: [{ question: "Which colour?", header: "Colour", options: COLOURS }] };
const MINUTE = 60_000;

function ask(t: Deployment, worker: Credential, turnId: string, requestId = "r1", asked: object = BASH) {
  return t.mutation(api.permissions.ask, { ...worker, turnId, requestId, timeoutMs: 30 * MINUTE, ...BASH, ...asked });
}

const answer = (t: Deployment, requestId: string, given: object) =>
  ownerOf(t).mutation(api.permissions.answer, { requestId, reply: "once", ...given });
const take = (t: Deployment, worker: Credential, requestId = "r1") => t.mutation(api.permissions.take, { ...worker, requestId });
const withdraw = (t: Deployment, worker: Credential, requestId = "r1") => t.mutation(api.permissions.withdraw, { ...worker, requestId });
const list = (t: Deployment, args: { sessionId?: string; ended?: number } = {}) => ownerOf(t).query(api.permissions.list, args);
const heard = async (t: Deployment, worker: Credential) => (await t.query(api.work.inbox, worker)).requests;
const waiting = async (t: Deployment) => (await ownerOf(t).query(api.sessions.get, { sessionId: "session_a" }))?.waiting;

async function askedOnce(asked: object = BASH) {
  const t = deployment();
  const worker = await servedWorker(t);
  const turnId = await claimedTurn(t, worker);
  expect(await ask(t, worker, turnId, "r1", asked)).toEqual({ state: "open" });
  return { t, worker, turnId };
}

describe("a request", () => {
  test("is put before its owner, answered, and taken by its supervisor once it has heard of it", async () => {
    const { t, worker, turnId } = await askedOnce();
    const now = Date.now();
    expect(await list(t)).toEqual([
      { requestId: "r1", workerId: "w1", sessionId: "session_a", turnId, state: "open", askedAt: now, deadline: now + 30 * MINUTE, ...BASH },
    ]);
    expect(await waiting(t)).toBe(1);
    expect(await heard(t, worker)).toEqual([{ requestId: "r1", sessionId: "session_a", state: "open" }]);
    expect(await answer(t, "r1", { reply: "always" })).toEqual({ state: "answered" });
    expect(await waiting(t)).toBeUndefined();
    expect(await heard(t, worker)).toEqual([{ requestId: "r1", sessionId: "session_a", state: "answered" }]);
    const taken = { state: "answered", answer: { reply: "always" } };
    expect(await take(t, worker)).toEqual(taken);
    expect(await take(t, worker)).toEqual(taken);
    expect(await heard(t, worker)).toEqual([]);
    expect(await list(t)).toEqual([]);
    expect(await list(t, { ended: 5 })).toMatchObject([{ requestId: "r1", state: "answered", answer: { reply: "always" }, endedAt: now }]);
  });

  test("asked again is the same request, also when it was answered meanwhile", async () => {
    const { t, worker, turnId } = await askedOnce();
    expect(await ask(t, worker, turnId)).toEqual({ state: "open" });
    await answer(t, "r1", { reply: "reject", message: "use the other remote" });
    expect(await ask(t, worker, turnId)).toEqual({ state: "answered", answer: { reply: "reject", message: "use the other remote" } });
    expect(await list(t, { ended: 5 })).toHaveLength(1);
    const other = await claimedTurn(t, worker, "b");
    expect(await code(ask(t, worker, other))).toBe("conflict");
  });

  test("has one answer: the same again is taken for the same, another one is told that it is late", async () => {
    const { t } = await askedOnce();
    await answer(t, "r1", { reply: "reject", message: "no" });
    expect(await answer(t, "r1", { reply: "reject", message: "no" })).toEqual({ state: "answered" });
    expect(await refusal(answer(t, "r1", { reply: "once" }))).toMatchObject({ code: "gone", message: expect.stringContaining("answered before") });
    expect(await code(answer(t, "nowhere", {}))).toBe("gone");
  });

  test("that nobody answers expires, and its supervisor hears so", async () => {
    const { t, worker } = await askedOnce();
    await pass(t, 30 * MINUTE);
    expect(await heard(t, worker)).toMatchObject([{ requestId: "r1", state: "expired" }]);
    expect(await refusal(answer(t, "r1", {}))).toMatchObject({ code: "gone", message: expect.stringContaining("expired") });
    expect(await take(t, worker)).toEqual({ state: "expired" });
    expect(await heard(t, worker)).toEqual([]);
    expect(await waiting(t)).toBeUndefined();
  });

  test("that was answered does not expire", async () => {
    const { t, worker } = await askedOnce();
    await answer(t, "r1", {});
    await pass(t, 31 * MINUTE);
    expect(await take(t, worker)).toEqual({ state: "answered", answer: { reply: "once" } });
  });

  test("is withdrawn when the assistant does not wait any more; an answer that came first stays", async () => {
    const { t, worker, turnId } = await askedOnce();
    await ask(t, worker, turnId, "r2");
    expect(await waiting(t)).toBe(2);
    expect(await withdraw(t, worker)).toEqual({ state: "withdrawn" });
    expect(await withdraw(t, worker)).toEqual({ state: "withdrawn" });
    expect(await refusal(answer(t, "r1", {}))).toMatchObject({ code: "gone", message: expect.stringContaining("not waited for") });
    await answer(t, "r2", {});
    expect(await withdraw(t, worker, "r2")).toEqual({ state: "answered", answer: { reply: "once" } });
    expect(await heard(t, worker)).toEqual([]);
    expect(await withdraw(t, worker, "nowhere")).toEqual({ state: "withdrawn" });
  });

  test("belongs to its owner and its worker", async () => {
    const { t, worker, turnId } = await askedOnce();
    const other = await servedWorker(t, "w2");
    expect(await code(strangerOf(t).mutation(api.permissions.answer, { requestId: "r1", reply: "once" }))).toBe("forbidden");
    expect(await code(t.mutation(api.permissions.answer, { requestId: "r1", reply: "once" }))).toBe("unauthorized");
    expect(await strangerOf(t).query(api.permissions.list, {})).toEqual([]);
    expect(await code(strangerOf(t).query(api.permissions.list, { sessionId: "session_a" }))).toBe("forbidden");
    expect(await code(ask(t, other, turnId, "r2"))).toBe("forbidden");
    expect(await code(ask(t, other, turnId))).toBe("conflict");
    expect(await code(take(t, other))).toBe("forbidden");
    expect(await code(withdraw(t, other))).toBe("forbidden");
    expect(await code(ask(t, worker, "nowhere", "r2"))).toBe("not_found");
    expect(await heard(t, other)).toEqual([]);
  });

  test("is not a displaced supervisor's to ask, take or withdraw", async () => {
    const { t, worker, turnId } = await askedOnce();
    await t.mutation(api.workers.connect, { token: worker.token, ...SUPERVISOR, startId: "start-2" });
    expect(await code(ask(t, worker, turnId, "r2"))).toBe("displaced");
    expect(await code(take(t, worker))).toBe("displaced");
    expect(await code(withdraw(t, worker))).toBe("displaced");
  });
});

describe("an answer", () => {
  test("to a permission is once, always or reject", async () => {
    const { t } = await askedOnce();
    expect(await code(answer(t, "r1", { reply: "answer", answers: [] }))).toBe("invalid");
    expect(await code(answer(t, "r1", { reply: "once", message: "please" }))).toBe("invalid");
    expect(await code(answer(t, "r1", { reply: "once", answers: [] }))).toBe("invalid");
    expect(await code(answer(t, "r1", { reply: "reject", message: "x".repeat(5_000_000) }))).toBe("too_large");
    expect(await answer(t, "r1", { reply: "reject", message: " " })).toEqual({ state: "answered" });
    expect(await list(t, { ended: 1 })).toMatchObject([{ answer: { reply: "reject" } }]);
  });

  test("to a question has an element for each, options that it has, or a text", async () => {
    const questions = [
      { question: "Which colour?", options: COLOURS },
      { question: "Which sizes?", options: [{ label: "S" }, { label: "M" }], multiple: true, custom: false },
    ];
    const { t, worker } = await askedOnce({ ...QUESTION, questions });
    const both = (first: object, second: object) => answer(t, "r1", { reply: "answer", answers: [first, second] });
    const [colour, sizes] = [{ options: ["red"] }, { options: ["S", "M"] }];
    expect(await code(answer(t, "r1", { reply: "once" }))).toBe("invalid");
    expect(await code(answer(t, "r1", { reply: "answer" }))).toBe("invalid");
    expect(await code(answer(t, "r1", { reply: "answer", answers: [colour] }))).toBe("invalid");
    expect(await code(both({ options: ["green"] }, sizes))).toBe("invalid");
    expect(await code(both({ options: ["red", "blue"] }, sizes))).toBe("invalid");
    expect(await code(both({ options: ["red"], text: "dark" }, sizes))).toBe("invalid");
    expect(await code(both({ options: [], text: "  " }, sizes))).toBe("invalid");
    expect(await code(both(colour, { options: [], text: "XL" }))).toBe("invalid");
    expect(await code(both({ options: [], text: "x".repeat(20_000) }, sizes))).toBe("too_large");
    expect(await both({ options: [], text: "green, please" }, sizes)).toEqual({ state: "answered" });
    expect(await take(t, worker)).toEqual({
      state: "answered",
      answer: { reply: "answer", answers: [{ options: [], text: "green, please" }, sizes] },
    });
  });

  test("to a question can be a rejection", async () => {
    const { t, worker } = await askedOnce(QUESTION);
    expect(await answer(t, "r1", { reply: "reject" })).toEqual({ state: "answered" });
    expect(await take(t, worker)).toEqual({ state: "answered", answer: { reply: "reject" } });
  });
});

describe("a turn's end closes what it asked", () => {
  const isGone = async (t: Deployment, worker: Credential) => {
    expect(await code(answer(t, "r1", {}))).toBe("gone");
    expect(await list(t)).toEqual([]);
    expect(await waiting(t)).toBeUndefined();
    expect(await heard(t, worker)).toEqual([]);
  };

  test("a finish", async () => {
    const { t, worker, turnId } = await askedOnce();
    await finish(t, worker, turnId);
    await isGone(t, worker);
    expect(await ask(t, worker, turnId, "r2")).toEqual({ state: "withdrawn" });
  });

  test("an answer that nobody took any more is not named for ever", async () => {
    const { t, worker, turnId } = await askedOnce();
    await answer(t, "r1", { reply: "always" });
    await finish(t, worker, turnId);
    expect(await heard(t, worker)).toEqual([]);
    expect(await list(t, { ended: 1 })).toMatchObject([{ state: "answered" }]);
  });

  test("an abort, at once, and nothing is asked after it", async () => {
    const { t, worker, turnId } = await askedOnce();
    await ownerOf(t).mutation(api.messages.abort, { turnId });
    await isGone(t, worker);
    expect(await ask(t, worker, turnId, "r2")).toEqual({ state: "withdrawn" });
  });

  test("the end of its session", async () => {
    const { t, worker } = await askedOnce();
    await ownerOf(t).mutation(api.sessions.end, { sessionId: "session_a" });
    await isGone(t, worker);
  });

  test.each(["revoke", "remove"] as const)("its worker's %s", async (how) => {
    const { t } = await askedOnce();
    await ownerOf(t).mutation(api.workers[how], { workerId: "w1" });
    expect(await code(answer(t, "r1", {}))).toBe("gone");
    expect(await list(t)).toEqual([]);
  });

  test("a supervisor that stays away", async () => {
    const { t } = await askedOnce();
    await pass(t, 29 * MINUTE);
    expect(await list(t)).toHaveLength(1);
    await pass(t, 60 * MINUTE);
    expect(await list(t)).toEqual([]);
  });

  test("another installation with a store of its own", async () => {
    const { t, worker } = await askedOnce();
    await t.mutation(api.workers.connect, { token: worker.token, ...SUPERVISOR, installId: "i2", storeId: "store-2", takeOver: true });
    expect(await list(t, { ended: 1 })).toMatchObject([{ state: "withdrawn" }]);
  });
});

describe("bounds", () => {
  test("what an assistant asks is cut to what a person can read", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const turnId = await claimedTurn(t, worker);
    const options = Array.from({ length: 200 }, (_, i) => ({ label: `o${i}`, description: "d".repeat(5_000) }));
    const huge = {
      title: "t".repeat(10_000),
      details: "x".repeat(900_000),
      patterns: Array.from({ length: 500 }, () => "p".repeat(10_000)),
      questions: Array.from({ length: 50 }, () => ({ question: "q".repeat(50_000), options: [{ label: "l".repeat(1_000) }, ...options] })),
    };
    await ask(t, worker, turnId, "r1", huge);
    const [shown] = await list(t);
    expect(JSON.stringify(shown).length).toBeLessThan(400_000);
    expect(shown?.details).toHaveLength(16_385);
    expect(shown?.questions).toHaveLength(10);
    expect(shown?.questions?.[0]?.options).toHaveLength(20);
    expect(shown?.questions?.[0]?.options[0]?.label).toBe("o0");
  });

  test("a turn asks fifty things at once, and no more", async () => {
    const { t, worker, turnId } = await askedOnce();
    for (let i = 2; i <= 50; i++) await ask(t, worker, turnId, `r${i}`);
    expect(await code(ask(t, worker, turnId, "r51"))).toBe("queue_full");
    expect(await waiting(t)).toBe(50);
    await withdraw(t, worker, "r7");
    expect(await ask(t, worker, turnId, "r51")).toEqual({ state: "open" });
    await finish(t, worker, turnId);
    expect(await list(t)).toEqual([]);
  });

  test("of a session's ended requests the newest hundred stay", async () => {
    const { t, worker, turnId } = await askedOnce();
    for (let i = 2; i <= 120; i++) {
      await withdraw(t, worker, `r${i - 1}`);
      await pass(t, 1_000);
      await ask(t, worker, turnId, `r${i}`);
    }
    expect(await countRows(t, "permissions")).toBe(101);
    expect(await countRows(t, "permissionTexts")).toBe(101);
    expect((await list(t, { ended: 100 })).at(-1)?.requestId).toBe("r20");
    expect(await code(list(t, { ended: 101 }))).toBe("invalid");
  });

  test("a deadline is between a second and a week", async () => {
    const { t, worker, turnId } = await askedOnce();
    for (const timeoutMs of [0, 999, 8 * 24 * 60 * MINUTE, Number.NaN]) {
      expect(await code(ask(t, worker, turnId, "r2", { timeoutMs }))).toBe("invalid");
    }
    expect(await code(ask(t, worker, turnId, "r 2"))).toBe("invalid");
  });

  test("requests of several sessions are listed longest waiting first, or those of one", async () => {
    const { t, worker } = await askedOnce();
    await send(t, "b", { workerId: "w1" });
    await t.mutation(api.messages.claim, { ...worker, turnId: "turn_b" });
    await pass(t, 1_000);
    await ask(t, worker, "turn_b", "r2", QUESTION);
    expect((await list(t)).map(({ requestId }) => requestId)).toEqual(["r1", "r2"]);
    expect((await list(t, { sessionId: "session_b" })).map(({ requestId }) => requestId)).toEqual(["r2"]);
  });
});
