// @vitest-environment jsdom
import { getFunctionName, type FunctionReference } from "convex/server";
import { render } from "preact";
import { act } from "preact/test-utils";
import { beforeEach, expect, test } from "vitest";
import { WorldContext, type World } from "../data/hooks";
import { Composer } from "./Composer";

beforeEach(() => localStorage.clear());

const OFFERED = { models: [{ id: "openrouter/a/b", name: "B", default: false }], agents: [{ name: "build" }, { name: "plan" }] };

async function shown(offered: unknown) {
  const asked: string[] = [];
  const sent: unknown[] = [];
  const onUpdate = (query: FunctionReference<"query">, args: object, take: (value: unknown) => void) => {
    asked.push(`${getFunctionName(query)} ${JSON.stringify(args)}`);
    take(offered);
    return () => {};
  };
  const place = document.createElement("div");
  document.body.append(place);
  const world = { connection: { client: { onUpdate } } } as unknown as World;
  const send = (...message: unknown[]) => (sent.push(message), Promise.resolve());
  await act(() => render(<WorldContext.Provider value={world}><Composer draftKey="s" label="Message" workerId="w" send={send} /></WorldContext.Provider>, place));
  const write = async (selector: string, value: string, kind: string) => {
    const field = place.querySelector<HTMLInputElement>(selector)!;
    await act(() => ((field.value = value), void field.dispatchEvent(new Event(kind, { bubbles: true }))));
  };
  const submit = () => act(() => place.querySelector<HTMLButtonElement>("button[type=submit]")!.click());
  return { place, asked, sent, write, submit };
}

test("the models and agents of the worker can be chosen, and the sessions are not read once more for them", async () => {
  window.matchMedia = () => ({ matches: false }) as MediaQueryList;
  const { place, asked, sent, write, submit } = await shown(OFFERED);
  expect(asked).toEqual(['choices:get {"workerId":"w"}']);
  expect([...place.querySelectorAll<HTMLOptionElement>("datalist option")].map(({ value }) => value)).toEqual(["openrouter/a/b"]);
  expect([...place.querySelectorAll("select option")].map(({ textContent }) => textContent)).toEqual(["the assistant's own", "build", "plan"]);
  await write("textarea", "first", "input");
  await submit();
  await write(".model input", "openrouter/a/b", "input");
  await write("select", "plan", "change");
  await write("textarea", "second", "input");
  await submit();
  expect(sent).toEqual([
    ["first", {}, []],
    ["second", { model: "openrouter/a/b", agent: "plan" }, []],
  ]);
});

test("an agent that is offered no more can be taken back, and without a report a model is free text", async () => {
  localStorage.setItem("orchestrator.agent.s", "gone");
  const { place } = await shown(null);
  expect(place.querySelector("select")?.value).toBe("gone");
  expect(place.querySelector(".model input")).not.toBeNull();
});
