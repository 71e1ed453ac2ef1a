// @vitest-environment jsdom
import { getFunctionName, type FunctionReference } from "convex/server";
import { render } from "preact";
import { act } from "preact/test-utils";
import { expect, test } from "vitest";
import { WorldContext, type World } from "../data/hooks";
import { Outbox } from "../data/outbox";
import { NewSession } from "./NewSession";

/** Sends a message from the view; `acknowledge` is the deployment's word. */
async function sent() {
  window.matchMedia = () => ({ matches: false }) as MediaQueryList;
  location.hash = "#/new";
  let acknowledge = () => {};
  const outbox = new Outbox(() => new Promise((done) => (acknowledge = () => done({ sessionId: "s1" }))));
  const worker = { workerId: "w", name: "shop", directory: "/shop", state: "approved" };
  const onUpdate = (query: FunctionReference<"query">, _: unknown, take: (value: unknown) => void) => {
    const name = getFunctionName(query);
    take(name === "workers:list" ? [worker] : name === "choices:get" ? null : []);
    return () => {};
  };
  const standing = () => ({ sign: "in", isOnline: true, since: 0, hasEverConnected: true });
  const connection = { client: { onUpdate }, standing, listen: () => () => {} };
  const place = document.createElement("div");
  document.body.append(place);
  const world = { connection, outbox } as unknown as World;
  await act(() => render(<WorldContext.Provider value={world}><NewSession /></WorldContext.Provider>, place));
  const area = place.querySelector("textarea")!;
  await act(() => {
    area.value = "hello";
    area.dispatchEvent(new Event("input", { bubbles: true }));
  });
  await act(() => place.querySelector<HTMLButtonElement>("button[type=submit]")!.click());
  expect(outbox.pending()).toHaveLength(1);
  return { place, settle: () => act(async () => (acknowledge(), await new Promise((done) => setTimeout(done, 0)))) };
}

test("whoever waits for the first message's session is taken there", async () => {
  const { settle } = await sent();
  await settle();
  expect(location.hash).toBe("#/session/s1");
});

test("whoever has gone elsewhere meanwhile is not called back", async () => {
  const { place, settle } = await sent();
  location.hash = "#/session/other";
  await act(() => render(null, place));
  await settle();
  expect(location.hash).toBe("#/session/other");
});
