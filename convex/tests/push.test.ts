import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SUPERVISOR, api, code, deployment, ownerOf, servedWorker, strangerOf, type Deployment } from "./deployment.fixture";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const { installId } = SUPERVISOR;
const point = (letter: string) => `B${letter.repeat(86)}`;
const KEY = point("k");
const DAY = 86_400_000;

/** A device of the owner as it stands once it is paired. */
async function device(t: Deployment, deviceId: string, subject = "owner") {
  const owner = `https://orchestrator.local|${subject}`;
  await t.run(async (ctx) => {
    const row = { deviceId, owner, name: deviceId, state: "paired", codeHash: "0".repeat(64), attempts: 0 } as const;
    await ctx.db.insert("devices", { ...row, openUntil: 0, validUntil: Date.now() + DAY, createdAt: Date.now() });
  });
  return t.withIdentity({ issuer: "https://orchestrator.local", subject, device: deviceId } as never);
}

const subscription = (name: string) => ({
  installId,
  publicKey: KEY,
  endpoint: `https://push.example.com/${name}`,
  p256dh: point("p"),
  auth: "a".repeat(22),
});

async function sender(t: Deployment) {
  const { token } = await servedWorker(t);
  expect(await t.mutation(api.push.offer, { token, installId, publicKey: KEY })).toBe(true);
  const targets = async () => (await t.query(api.push.targets, { token, installId })).map(({ endpoint }) => endpoint.split("/").pop());
  return { token, targets };
}

test("a device that has asked for it is told by the one sender whose key it took", async () => {
  const t = deployment();
  const { token, targets } = await sender(t);
  const phone = await device(t, "phone");
  expect(await phone.query(api.push.senders, {})).toMatchObject({ isDevice: true, senders: [{ installId, publicKey: KEY, isSubscribed: false }] });
  await phone.mutation(api.push.subscribe, subscription("one"));
  await phone.mutation(api.push.subscribe, subscription("one"));
  expect(await targets()).toEqual(["one"]);
  expect((await phone.query(api.push.senders, {})).senders[0]!.isSubscribed).toBe(true);
  expect(await t.query(api.push.targets, { token, installId: "another" })).toEqual([]);
  expect(await t.mutation(api.push.offer, { token, installId: "another", publicKey: KEY })).toBe(false);
  await phone.mutation(api.push.subscribe, subscription("renewed"));
  expect(await targets()).toEqual(["renewed"]);
  await phone.mutation(api.push.unsubscribe, {});
  expect(await targets()).toEqual([]);
});

test("nobody but a paired device subscribes, and only to what sends to its owner", async () => {
  const t = deployment();
  const { targets } = await sender(t);
  const subscribe = (caller: ReturnType<typeof ownerOf>, more = {}) => code(caller.mutation(api.push.subscribe, { ...subscription("x"), ...more }));
  expect(await subscribe(ownerOf(t))).toBe("forbidden");
  expect(await code(t.mutation(api.push.subscribe, subscription("x")))).toBe("unauthorized");
  expect(await subscribe(await device(t, "theirs", "stranger"))).toBe("not_found");
  expect((await strangerOf(t).query(api.push.senders, {})).senders).toEqual([]);
  const phone = await device(t, "phone");
  expect(await subscribe(phone, { publicKey: point("o") })).toBe("conflict");
  for (const endpoint of [
    "http://push.example.com/a",
    "https://localhost/a",
    "https://127.0.0.1/a",
    "https://[::1]/a",
    "https://push.example.com:8443/a",
    "https://me@push.example.com/a",
    "https://push.example.com/a b",
    `https://push.example.com/${"a".repeat(2_048)}`,
  ]) {
    expect(await subscribe(phone, { endpoint }), endpoint).toBe("invalid");
  }
  expect(await subscribe(phone, { p256dh: "short" })).toBe("invalid");
  expect(await subscribe(phone, { auth: "short" })).toBe("invalid");
  expect(await targets()).toEqual([]);
});

test("what a device has ends with it, at once", async () => {
  const t = deployment();
  const { token, targets } = await sender(t);
  const [phone, tablet] = [await device(t, "phone"), await device(t, "tablet")];
  await phone.mutation(api.push.subscribe, subscription("one"));
  await tablet.mutation(api.push.subscribe, subscription("two"));
  await ownerOf(t).mutation(api.devices.revoke, { deviceId: "phone" });
  expect(await targets()).toEqual(["two"]);
  expect(await t.run((ctx) => ctx.db.query("pushSubscriptions").collect())).toHaveLength(1);
  expect(await code(phone.mutation(api.push.subscribe, subscription("one")))).toBe("device_revoked");
  vi.advanceTimersByTime(DAY + 1);
  expect(await targets()).toEqual([]);
  expect(await code(t.query(api.push.targets, { token: `${token}x`, installId }))).toBe("unauthorized");
});

test("a browser that was paired anew, or by somebody else, is told once and for its last owner", async () => {
  const t = deployment();
  const { targets } = await sender(t);
  await (await device(t, "before")).mutation(api.push.subscribe, subscription("same"));
  await (await device(t, "after")).mutation(api.push.subscribe, subscription("same"));
  expect(await targets()).toEqual(["same"]);
});

test("a subscription that its service has forgotten goes, and with a new key all of them", async () => {
  const t = deployment();
  const { token, targets } = await sender(t);
  await (await device(t, "phone")).mutation(api.push.subscribe, subscription("one"));
  await (await device(t, "tablet")).mutation(api.push.subscribe, subscription("two"));
  await t.mutation(api.push.gone, { token, installId, endpoint: "https://push.example.com/one" });
  expect(await targets()).toEqual(["two"]);
  await t.mutation(api.push.offer, { token, installId, publicKey: point("n") });
  expect(await targets()).toEqual([]);
});
