import { describe, expect, test } from "vitest";
import type { Item, Part } from "../data/api";
import { Fold, GROUP, joined } from "./fold";

let clock = 0;
const item = (index: number, partId: string, kind: Item["kind"], content: string): Item => ({ index, timestamp: clock++, partId, kind, content });
const parts = (fold: Fold): Part[] => fold.groups.flat();
const texts = (fold: Fold) => parts(fold).map((part) => part.text);

describe("the fold", () => {
  test("joins text, replaces a tool's state, empties what was reset, and keeps places", () => {
    const fold = new Fold();
    fold.apply([
      item(0, "r", "reasoning", "hm"),
      item(1, "a", "text", "one "),
      item(2, "t", "tool", "{1}"),
      item(3, "a", "text", "two"),
      item(4, "t", "tool", "{2}"),
      item(5, "b", "text", "wrong"),
      item(6, "b", "reset", ""),
      item(7, "b", "text", "right"),
    ]);
    expect(texts(fold)).toEqual(["hm", "one two", "{2}", "right"]);
    expect(parts(fold).map((part) => part.kind)).toEqual(["reasoning", "text", "tool", "text"]);
  });

  test("starts a part anew when it becomes another kind, also after a reset that came first", () => {
    const fold = new Fold();
    fold.apply([item(0, "a", "reset", ""), item(1, "a", "reasoning", "think"), item(2, "a", "text", "say")]);
    expect(parts(fold)).toEqual([{ partId: "a", kind: "text", text: "say" }]);
  });

  test("takes what comes twice once, and waits at a gap", () => {
    const fold = new Fold();
    const first = [item(0, "a", "text", "x")];
    expect(fold.apply(first)).toBe(true);
    expect(fold.apply(first)).toBe(false);
    expect(fold.apply([item(2, "a", "text", "z")])).toBe(false);
    fold.apply([item(1, "a", "text", "y"), item(2, "a", "text", "z")]);
    expect([texts(fold), fold.next]).toEqual([["xyz"], 3]);
  });

  test("changes one part, its group and the list, and no other", () => {
    const fold = new Fold();
    fold.apply(Array.from({ length: 2_000 }, (_, at) => item(at, `p${at}`, "text", "x")));
    const before = fold.groups;
    fold.apply([item(2_000, "p1999", "text", "y")]);
    const changed = fold.groups.filter((group, at) => group !== before[at]);
    expect(changed).toHaveLength(1);
    expect(fold.groups).toHaveLength(Math.ceil(2_000 / GROUP));
    expect(parts(fold).filter((part, at) => part !== before.flat()[at])).toEqual([{ partId: "p1999", kind: "text", text: "xy" }]);
  });
});

test("rows of one long part are one part", () => {
  const row = (partId: string, text: string): Part => ({ partId, kind: "text", text });
  expect(joined([row("a", "long "), row("a", "text"), row("b", "x")]).flat()).toEqual([row("a", "long text"), row("b", "x")]);
});
