// @vitest-environment jsdom
import { render } from "preact";
import { act } from "preact/test-utils";
import { expect, test } from "vitest";
import { WorldContext, type World } from "../data/hooks";
import { Requests } from "./Requests";

async function shown(request: object): Promise<string> {
  const row = { requestId: "r", kind: "permission", title: "run it", deadline: 0, permission: "bash", patterns: ["rm -rf x"], ...request };
  const client = { onUpdate: (_: unknown, __: unknown, take: (value: unknown) => void) => (take([row]), () => {}) };
  const place = document.createElement("div");
  await act(() => render(<WorldContext.Provider value={{ connection: { client } } as unknown as World}><Requests sessionId="s" /></WorldContext.Provider>, place));
  return place.textContent ?? "";
}

test("“Always” says what it allows and for how long, and names nothing that nobody said", async () => {
  expect(await shown({ always: ["rm *"] })).toContain("“Always” allows rm * while the assistant runs.");
  const unnamed = await shown({ always: [] });
  expect(unnamed).toContain("“Always” allows what the assistant takes to be like it while the assistant runs.");
  expect(unnamed).not.toContain("rm -rf x");
});
