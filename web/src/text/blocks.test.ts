import { describe, expect, test } from "vitest";
import { Blocks, LONGEST_BLOCK } from "./blocks";

const all = (text: string) => new Blocks().update(text).map((block) => block.text);

describe("a growing text", () => {
  test("is the same blocks whether it comes at once or letter by letter", () => {
    const text = "# A\n\npara one\nline two\n\n- a\n\n- b\n\n  more of b\n\n```js\nlet x\n\n\ny\n```\n\nafter\n\n1. one\n\n2. two\n\nend\n";
    const blocks = new Blocks();
    let last: readonly { text: string }[] = [];
    for (let end = 1; end <= text.length; end++) last = blocks.update(text.slice(0, end));
    expect(last.map((block) => block.text)).toEqual(all(text));
    expect(all(text).join("")).toBe(text);
    expect(all(text)).toHaveLength(5);
  });

  test("keeps a list and a fence whole", () => {
    expect(all("- a\n\n- b\n\n  c\n")).toHaveLength(1);
    expect(all("~~~\na\n\nb\n~~~\n")).toHaveLength(1);
    expect(all("````\n```\n\nx\n````\n\ny\n")).toEqual(["````\n```\n\nx\n````\n\n", "y\n"]);
  });

  test("leaves settled blocks as they are when it grows", () => {
    const blocks = new Blocks();
    const first = blocks.update("one\n\ntwo\n\nthree\n");
    const second = blocks.update("one\n\ntwo\n\nthree\nand more");
    expect(second[0]).toBe(first[0]);
    expect(second[1]).toBe(first[1]);
  });

  test("starts over when it turns out differently", () => {
    const blocks = new Blocks();
    blocks.update("one\n\ntwo\n\n");
    expect(blocks.update("other\n\ntext\n").map((block) => block.text)).toEqual(["other\n\n", "text\n"]);
  });

  test("is bounded: 5 MB without an end come in plain pieces", () => {
    for (const unit of ["x", "x\n", "```\nx\n"]) {
      const blocks = new Blocks();
      const text = unit.repeat((5 << 20) / unit.length);
      const found = blocks.update(text);
      expect(found.map((block) => block.text).join("")).toBe(text);
      expect(Math.max(...found.map((block) => block.text.length))).toBeLessThanOrEqual(2 * LONGEST_BLOCK);
    }
  });
});
