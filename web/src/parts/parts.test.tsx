// @vitest-environment jsdom
import { render } from "preact";
import { act } from "preact/test-utils";
import { expect, test } from "vitest";
import { PartView } from "./PartView";
import { parseTool } from "./tool";

const HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>";

async function shown(kind: "text" | "reasoning" | "tool", text: string): Promise<HTMLElement> {
  const place = document.createElement("div");
  document.body.append(place);
  act(() => render(<PartView part={{ partId: "p", kind, text }} isOpen={false} />, place));
  for (const fold of place.querySelectorAll("details")) {
    fold.open = true;
    fold.dispatchEvent(new Event("toggle"));
  }
  await new Promise((done) => setTimeout(done, 10));
  return place;
}

const tool = (state: object) => JSON.stringify({ tool: "bash", status: "completed", ...state });

test.each([
  ["text", HOSTILE],
  ["reasoning", HOSTILE],
  ["tool", tool({ title: HOSTILE, input: { command: HOSTILE }, output: HOSTILE, error: HOSTILE, metadata: { diff: `+${HOSTILE}` } })],
  ["tool", tool({ tool: HOSTILE, status: HOSTILE })],
  ["tool", HOSTILE],
] as const)("hostile %s is shown and does nothing", async (kind, text) => {
  const place = await shown(kind, text);
  expect(place.querySelector("img, script")).toBeNull();
  expect(place.textContent).toContain("<script>window.hacked=1</script>");
  expect((window as { hacked?: unknown }).hacked).toBeUndefined();
});

test("a tool call says what it did, and the rest on demand", async () => {
  const place = await shown("tool", tool({ input: { command: "ls\n-l", count: 3 }, output: "a\nb", metadata: { diff: "@@ 1\n+new\n-old" } }));
  expect(place.querySelector("summary")?.textContent).toContain("bash ls");
  expect(place.textContent).toContain("count: 3");
  expect(place.querySelector(".added")?.textContent).toContain("+new");
  expect(place.querySelector(".removed")?.textContent).toContain("-old");
});

test("a list of things to do is a list, and whatever else stands there is none", async () => {
  const todos = [{ content: "one <b>", status: "completed" }, { content: "two", status: "in_progress" }, { content: 3 }, null, { content: "four", status: {} }];
  const place = await shown("tool", tool({ tool: "todowrite", input: { todos }, output: JSON.stringify(todos) }));
  expect([...place.querySelectorAll(".todos li")].map((row) => row.textContent)).toEqual(["✓ done: one <b>", "◐ under way: two", "○ to do: four"]);
  expect(place.textContent).not.toContain('"content"');
  expect(place.querySelector("summary")?.textContent).toContain("1 of 3 done");
  expect(parseTool(tool({ tool: "todowrite", input: { todos: "x" } })).todos).toEqual([]);
  expect(parseTool(tool({ tool: "bash", input: { todos } })).todos).toEqual([]);
});

test("a long output is cut until it is wanted", async () => {
  const place = await shown("tool", tool({ output: "x".repeat(1_000_000) }));
  expect(place.textContent?.length).toBeLessThan(10_000);
  expect(place.querySelector("button")?.textContent).toBe("Show all 1000 kB");
});

test("whatever an assistant sends as a tool's state is some tool call", () => {
  for (const text of ["", "null", "[]", "3", "{", '{"tool":7,"status":{},"input":[1],"metadata":"x","output":{}}']) {
    expect(parseTool(text).tool).toBe("tool");
  }
});
