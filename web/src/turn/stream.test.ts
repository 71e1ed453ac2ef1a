import { describe, expect, test } from "vitest";
import type { Item, Page } from "../data/api";
import type { Groups } from "./fold";
import { TurnStream, WINDOW, type Source } from "./stream";

/** A turn on a deployment: it grows, and tells whoever is subscribed to the window that did. */
class Turn implements Source {
  items: Item[] = [];
  fetched = 0;
  subscriptions = new Map<number, (page: Page) => void>();

  page(from: number): Page {
    return { items: this.items.filter((item) => item.index >= from && item.index < from + WINDOW), state: "claimed", folded: false };
  }
  fetch(from: number): Promise<Page> {
    this.fetched += 1;
    return Promise.resolve(this.page(from));
  }
  subscribe(from: number, take: (page: Page) => void): () => void {
    this.subscriptions.set(from, take);
    queueMicrotask(() => take(this.page(from)));
    return () => void this.subscriptions.delete(from);
  }
  pause(): Promise<void> {
    return Promise.resolve();
  }
  grow(by: number): void {
    for (let at = 0; at < by; at++) {
      const index = this.items.length;
      this.items.push({ index, timestamp: 0, partId: "a", kind: "text", content: `${index},` });
      const from = index - (index % WINDOW);
      this.subscriptions.get(from)?.(this.page(from));
    }
  }
}

const settle = () => new Promise((done) => setTimeout(done, 0));
const expected = (length: number) => Array.from({ length }, (_, at) => `${at},`).join("");

function watch(turn: Turn) {
  const seen = { text: "", errors: [] as unknown[] };
  const stream = new TurnStream(turn, {
    changed: (groups: Groups) => void (seen.text = groups.flat().map((part) => part.text).join("")),
    failed: (error) => void seen.errors.push(error),
  });
  return { seen, stream };
}

describe("a stream", () => {
  test("follows a turn from its beginning over many windows, one subscription at a time", async () => {
    const turn = new Turn();
    const { seen } = watch(turn);
    await settle();
    for (let round = 0; round < 10; round++) {
      turn.grow(17);
      await settle();
      expect(turn.subscriptions.size).toBe(1);
    }
    expect(seen.text).toBe(expected(170));
  });

  test.each([0, 1, 31, 32, 33, 255, 256, 257, 1_000, 2_048])("opened after %i items it catches up and goes on", async (length) => {
    const turn = new Turn();
    turn.grow(length);
    const { seen } = watch(turn);
    await settle();
    await settle();
    turn.grow(40);
    await settle();
    expect(seen.text).toBe(expected(length + 40));
    expect(turn.subscriptions.size).toBe(1);
  });

  test("that is closed takes nothing more", async () => {
    const turn = new Turn();
    const { seen, stream } = watch(turn);
    await settle();
    stream.close();
    turn.grow(5);
    await settle();
    expect([seen.text, turn.subscriptions.size]).toEqual(["", 0]);
  });

  test("says when the deployment refuses, and goes on when it does no more", async () => {
    const turn = new Turn();
    turn.grow(100);
    const whole = turn.fetch.bind(turn);
    let refusals = 3;
    turn.fetch = (from) => (from > 0 && refusals-- > 0 ? Promise.reject(new Error("busy")) : whole(from));
    const { seen } = watch(turn);
    await settle();
    await settle();
    expect(seen.errors.length).toBeGreaterThan(0);
    expect(seen.text).toBe(expected(100));
    turn.grow(5);
    expect(seen.text).toBe(expected(105));
  });

  test("that was closed while it waited to try again asks nothing more", async () => {
    const turn = new Turn();
    let asked = 0;
    turn.fetch = () => ((asked += 1), Promise.reject(new Error("busy")));
    let wake = () => {};
    turn.pause = () => new Promise((done) => (wake = done));
    const { seen, stream } = watch(turn);
    await settle();
    stream.close();
    wake();
    await settle();
    expect([asked, seen.errors.length]).toEqual([1, 1]);
  });
});
