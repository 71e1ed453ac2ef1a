// @vitest-environment jsdom
import { getFunctionName, type FunctionReference } from "convex/server";
import { beforeEach, expect, test, vi } from "vitest";
import { Connection } from "./connection";
import { keepToken, storedToken } from "./identity";
import { unansweredPairing } from "./pairing";

/** The official client as far as the connection uses it; what is asked is answered by the test. */
const client = vi.hoisted(() => ({
  mutations: [] as { name: string; args: Record<string, unknown>; answer: (value: unknown) => void; fail: (error: unknown) => void }[],
  updates: [] as { name: string; take: (value: unknown) => void; fail: (error: unknown) => void; isEnded: boolean }[],
  auth: null as ((isIn: boolean) => void) | null,
  state: null as ((state: { isWebSocketConnected: boolean }) => void) | null,
}));
vi.mock("convex/browser", () => ({
  ConvexClient: class {
    subscribeToConnectionState(tell: (state: { isWebSocketConnected: boolean }) => void) {
      client.state = tell;
    }
    setAuth(_: unknown, changed?: (isIn: boolean) => void) {
      client.auth = changed ?? null;
    }
    mutation(reference: FunctionReference<"mutation">, args: Record<string, unknown>) {
      return new Promise((answer, fail) => client.mutations.push({ name: getFunctionName(reference), args, answer, fail }));
    }
    onUpdate(reference: FunctionReference<"query">, _: unknown, take: (value: unknown) => void, fail: (error: unknown) => void) {
      const update = { name: getFunctionName(reference), take, fail, isEnded: false };
      client.updates.push(update);
      return () => void (update.isEnded = true);
    }
  },
}));

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
  Object.assign(client, { mutations: [], updates: [], auth: null, state: null });
});

const CODE = "d1.abcdefghijklmnopqrstuvwx";
const token = (device?: string) => `h.${btoa(JSON.stringify({ sub: "owner", exp: 4_000_000_000, device }))}.s`;
const trades = () => client.mutations.filter(({ name }) => name === "devices:trade");
const settle = () => new Promise((done) => setTimeout(done, 0));

test("a code whose page was ended before the answer is traded again as the same attempt", async () => {
  void new Connection("https://x.example").pair(CODE);
  expect(unansweredPairing()?.code).toBe(CODE);
  const again = new Connection("https://x.example").pair(unansweredPairing()!.code);
  const [first, second] = trades();
  expect(second?.args).toEqual(first?.args);
  expect(second?.args.claim).toMatch(/^[0-9a-f]{32}$/);
  second?.answer({ status: "paired", token: token("d1") });
  await again;
  expect([storedToken(), unansweredPairing()]).toEqual([token("d1"), null]);
});

test("a code that is refused is not tried again, and signs nobody out", async () => {
  keepToken(token());
  const connection = new Connection("https://x.example");
  connection.signIn(token());
  client.auth?.(true);
  const pairing = connection.pair(CODE);
  expect(connection.standing().sign).toBe("in");
  trades()[0]?.answer({ status: "refused", code: "conflict", message: "used already" });
  await pairing;
  expect(connection.standing()).toMatchObject({ sign: "in", problem: "Used already" });
  expect([storedToken(), unansweredPairing()]).toEqual([token(), null]);
  connection.heard();
  expect(connection.standing().problem).toBeUndefined();
});

test("the link by which a browser was paired, opened again, asks nothing", async () => {
  keepToken(token("d1"));
  await new Connection("https://x.example").pair(CODE);
  await settle();
  expect([trades().length, storedToken(), unansweredPairing()]).toEqual([0, token("d1"), null]);
});

test("a deployment that cannot say whether the device is paired is no spinner without an end", () => {
  const connection = new Connection("https://x.example");
  connection.signIn(token("d1"));
  client.auth?.(true);
  expect(connection.standing().sign).toBe("checking");
  client.updates[0]?.fail(new Error("Could not find public function for 'devices:self'"));
  expect(connection.standing()).toMatchObject({ sign: "failed", problem: expect.stringContaining("devices:self") });
  client.updates[0]?.take(null);
  expect([connection.standing().sign, connection.standing().problem]).toEqual(["in", undefined]);
  client.updates[0]?.fail(new Error("busy"));
  expect(connection.standing().sign).toBe("in");
});

test("what waits to be tried again is tried when the deployment is back", async () => {
  const connection = new Connection("https://x.example");
  client.state?.({ isWebSocketConnected: true });
  let isOver = false;
  void connection.pause(1_000_000).then(() => (isOver = true));
  client.state?.({ isWebSocketConnected: false });
  await settle();
  expect(isOver).toBe(false);
  client.state?.({ isWebSocketConnected: true });
  await settle();
  expect(isOver).toBe(true);
});

test("a page that stays open is in use: at each connection, and every hour", () => {
  vi.useFakeTimers();
  try {
    const connection = new Connection("https://x.example");
    const visits = () => client.mutations.filter(({ name }) => name === "devices:visit").length;
    client.state?.({ isWebSocketConnected: true });
    connection.signIn(token("d1"));
    client.auth?.(true);
    expect(visits()).toBe(0);
    client.updates[0]?.take(null);
    expect(visits()).toBe(1);
    client.state?.({ isWebSocketConnected: false });
    vi.advanceTimersByTime(2 * 3_600_000);
    expect(visits()).toBe(1);
    client.state?.({ isWebSocketConnected: true });
    expect(visits()).toBe(2);
    vi.advanceTimersByTime(3_600_000);
    expect(visits()).toBe(3);
    connection.signOut();
    vi.advanceTimersByTime(3_600_000);
    expect(visits()).toBe(3);
  } finally {
    vi.useRealTimers();
  }
});

test("a pairing that was cancelled changes nothing when its answer comes", async () => {
  const connection = new Connection("https://x.example");
  const pairing = connection.pair(CODE);
  connection.cancelPairing();
  trades()[0]?.answer({ status: "paired", token: token("d1") });
  await pairing;
  expect([connection.standing().sign, storedToken()]).toEqual(["out", null]);
});
