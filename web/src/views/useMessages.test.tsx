// @vitest-environment jsdom
import { getFunctionName, type FunctionReference } from "convex/server";
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, expect, test } from "vitest";
import type { Message } from "../data/api";
import { WorldContext, type World } from "../data/hooks";
import { useMessages, type Messages } from "./useMessages";

interface Page {
  limit: number;
  beforeSeq?: number;
}

/** A session on a deployment. While the page sleeps nothing is told; on waking each subscription gets its present answer. */
class Session {
  rows: Message[] = [];
  isAsleep = false;
  private readonly watched = new Set<() => void>();

  list({ limit, beforeSeq = Infinity }: Page) {
    return { messages: this.rows.filter(({ seq }) => seq < beforeSeq).sort((a, b) => a.seq - b.seq).slice(-limit) };
  }
  client = {
    onUpdate: (query: FunctionReference<"query">, args: Page, take: (value: unknown) => void) => {
      expect(getFunctionName(query)).toBe("messages:list");
      const tell = () => take(this.list(args));
      this.watched.add(tell);
      tell();
      return () => void this.watched.delete(tell);
    },
    query: (_: unknown, args: Page) => Promise.resolve(this.list(args)),
  };
  say(seq: number, state: Message["state"] = "complete"): void {
    this.put({ id: `u${seq}`, role: "user", seq, createdAt: 0, folded: true, content: "x" });
    this.put({ id: `t${seq + 1}`, role: "assistant", seq: seq + 1, createdAt: 0, folded: state === "complete", state });
  }
  put(row: Message): void {
    this.rows = [...this.rows.filter(({ id }) => id !== row.id), row];
    this.tell();
  }
  tell(): void {
    if (!this.isAsleep) act(() => [...this.watched].forEach((tell) => tell()));
  }
}

let place: HTMLElement | null = null;
afterEach(() => place && act(() => render(null, place!)));

function open(session: Session): () => Messages {
  let seen: Messages | undefined;
  const View = () => ((seen = useMessages("s")), null);
  place = document.createElement("div");
  const world = { connection: { client: session.client } } as unknown as World;
  act(() => render(<WorldContext.Provider value={world}><View /></WorldContext.Provider>, place!));
  return () => seen!;
}

const seqs = (seen: () => Messages) => seen().messages?.map(({ seq }) => seq);
const upTo = (last: number) => Array.from({ length: last + 1 }, (_, at) => at);

test("a page that slept over many exchanges has all of them, those before the newest on demand", async () => {
  const session = new Session();
  for (let seq = 0; seq < 20; seq += 2) session.say(seq);
  const seen = open(session);
  expect(seqs(seen)).toEqual(upTo(19));
  session.isAsleep = true;
  for (let seq = 20; seq < 120; seq += 2) session.say(seq);
  session.isAsleep = false;
  session.tell();
  while (seen().loadEarlier) await act(() => seen().loadEarlier!());
  expect(seqs(seen)).toEqual(upTo(119));
});

test("a turn that has left the newest rows is seen to end, also when another one goes on with it", () => {
  const session = new Session();
  session.say(0, "claimed");
  const seen = open(session);
  for (let seq = 2; seq < 60; seq += 2) session.say(seq, "queued");
  const state = (id: string) => seen().messages?.find((message) => message.id === id)?.state;
  expect(state("t1")).toBe("claimed");
  const more = { role: "assistant", createdAt: 0, folded: true } as const;
  session.isAsleep = true;
  session.put({ ...more, id: "c1", role: "user", seq: 1.25, continues: "t1" });
  session.put({ ...more, id: "t1.5", seq: 1.5, state: "claimed", continues: "t1" });
  session.isAsleep = false;
  session.put({ ...more, id: "t1", seq: 1, state: "interrupted" });
  expect([state("t1"), state("t1.5")]).toEqual(["interrupted", "claimed"]);
  session.put({ ...more, id: "t1.5", seq: 1.5, state: "complete", continues: "t1" });
  expect(state("t1.5")).toBe("complete");
  expect(seqs(seen)).toEqual([0, 1, 1.25, 1.5, ...upTo(59).slice(2)]);
});
