// @vitest-environment jsdom
import { ConvexError } from "convex/values";
import { beforeEach, describe, expect, test } from "vitest";
import { Outbox, newId, type Message } from "./outbox";

beforeEach(() => localStorage.clear());

const message = (id: string): Message => ({ id, sessionId: "s", content: `text of ${id}` });

describe("a message on its way", () => {
  test("is kept until it is acknowledged, and sent again under its id after a reload", async () => {
    const never = new Outbox(() => new Promise(() => {}));
    void never.add(message("m1"));
    const sent: string[] = [];
    const after = new Outbox((one) => {
      sent.push(`${one.id}:${one.content}`);
      return Promise.resolve({ sessionId: "s" });
    });
    expect(after.pending()).toHaveLength(1);
    after.resume();
    await Promise.resolve();
    await Promise.resolve();
    expect(sent).toEqual(["m1:text of m1"]);
    expect(after.pending()).toEqual([]);
    expect(new Outbox(() => Promise.reject(new Error())).pending()).toEqual([]);
  });

  test("that was refused stays with its reason until it is sent again or dropped", async () => {
    let isRefused = true;
    const outbox = new Outbox(() =>
      isRefused ? Promise.reject(new ConvexError({ code: "queue_full", message: "too many wait" })) : Promise.resolve({ sessionId: "s" }),
    );
    expect(await outbox.add(message("m1"))).toBeNull();
    expect(outbox.pending()[0]?.refusal).toEqual({ code: "queue_full", message: "Too many wait" });
    outbox.resume();
    expect(outbox.pending()).toHaveLength(1);
    isRefused = false;
    expect(await outbox.again("m1")).toBe("s");
    expect(outbox.pending()).toEqual([]);
  });

  test("waits for an identity when there is none, and is no refusal", async () => {
    const outbox = new Outbox(() => Promise.reject(new ConvexError({ code: "unauthorized", message: "sign in" })));
    await outbox.add(message("m1"));
    expect(outbox.pending()[0]?.refusal).toBeUndefined();
  });

  test("outlives a browser that keeps nothing, as long as the page is open", async () => {
    const setItem = Storage.prototype.setItem;
    Storage.prototype.setItem = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
    try {
      const outbox = new Outbox(() => new Promise(() => {}));
      void outbox.add(message("m9"));
      expect(outbox.pending()).toHaveLength(1);
      expect(outbox.outlives("m9")).toBe(false);
      outbox.drop("m9");
    } finally {
      Storage.prototype.setItem = setItem;
    }
  });
});

describe("with another tab open", () => {
  const told = (id: string) => dispatchEvent(new StorageEvent("storage", { key: `orchestrator.send.${id}` }));

  test("what was taken back there is not sent here", async () => {
    const there = new Outbox(() => Promise.reject(new ConvexError({ code: "unauthorized", message: "sign in" })));
    await there.add(message("m1"));
    await there.add(message("m2"));
    const sent: string[] = [];
    const here = new Outbox(({ id }) => (sent.push(id), Promise.resolve({ sessionId: "s" })));
    there.drop("m1");
    here.resume();
    await new Promise((done) => setTimeout(done, 0));
    expect(sent).toEqual(["m2"]);
    expect(here.pending()).toEqual([]);
  });

  test("what was sent or taken back there is shown here no more, and what was added is", async () => {
    const there = new Outbox(() => new Promise(() => {}));
    const here = new Outbox(() => new Promise(() => {}));
    void there.add(message("m1"));
    told("m1");
    expect(here.pending().map(({ id }) => id)).toEqual(["m1"]);
    expect(here.outlives("m1")).toBe(true);
    there.drop("m1");
    told("m1");
    expect(here.pending()).toEqual([]);
  });

  test("what was taken back there is not put back by a refusal that comes here", async () => {
    const there = new Outbox(() => new Promise(() => {}));
    void there.add(message("m1"));
    let refuse = (_: unknown) => {};
    const here = new Outbox(() => new Promise((_, fail) => (refuse = fail)));
    here.resume();
    await Promise.resolve();
    there.drop("m1");
    refuse(new ConvexError({ code: "queue_full", message: "too many wait" }));
    await new Promise((done) => setTimeout(done, 0));
    expect(new Outbox(() => new Promise(() => {})).pending()).toEqual([]);
  });
});

test("ids are unlike each other", () => {
  expect(new Set(Array.from({ length: 1_000 }, newId)).size).toBe(1_000);
  expect(newId()).toMatch(/^[0-9a-f]{32}$/);
});
