import { expect, test } from "vitest";
import type { Message } from "./api";
import { withEarlier, withNewest, withinKnown, type History } from "./history";

const row = (seq: number, more: Partial<Message> = {}): Message => ({ id: `m${seq}`, role: "user", seq, createdAt: 0, folded: true, ...more });
const rows = (from: number, to: number): Message[] => Array.from({ length: to - from + 1 }, (_, at) => row(from + at));
const seqs = (history: History) => history.map(({ seq }) => seq);

test("new messages join the known ones, and a row that changed is the changed one", () => {
  const joined = withNewest(rows(0, 5), [...rows(3, 4), row(5, { content: "changed" }), ...rows(6, 8)]);
  expect(seqs(joined)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  expect(joined[5]?.content).toBe("changed");
});

test("a long sleep leaves no gap in the middle: what the newest rows do not meet is fetched again", () => {
  const awake = withNewest(rows(0, 29), rows(60, 89));
  expect(seqs(awake)).toEqual(seqs(rows(60, 89)));
  expect(seqs(withEarlier(awake, 60, rows(30, 59)))).toEqual(seqs(rows(30, 89)));
});

test("a page that was asked for before the sleep and comes after it is not put before the newest rows", () => {
  const awake = withNewest(rows(10, 29), rows(60, 89));
  expect(withEarlier(awake, 10, rows(0, 9))).toBe(awake);
});

test("what is watched by itself changes and fills the known run, and does not reach before it", () => {
  const known = withinKnown(rows(1, 5), [row(0), row(1, { content: "done" }), row(1.25), row(1.5)]);
  expect(seqs(known)).toEqual([1, 1.25, 1.5, 2, 3, 4, 5]);
  expect(known[0]?.content).toBe("done");
  expect(withinKnown([], rows(0, 1))).toEqual([]);
});
