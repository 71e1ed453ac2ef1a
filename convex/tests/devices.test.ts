import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { api, code, createWorker, deployment, ownerOf, strangerOf, type Deployment } from "./deployment.fixture";

const SECRET = "abcdefghijklmnopqrstuvwxyz123456";
const TOKEN = "header.claims-of-a-token-that-is-longer-than-one-block-of-the-seal.signature";
const MINUTE = 60_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function digest(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** As the command line seals it. */
async function seal(token: string, code: string): Promise<string> {
  const bytes = new TextEncoder().encode(token);
  for (let at = 0; at < bytes.length; at++) bytes[at]! ^= (await digest(`pairing seal ${Math.floor(at / 32)} ${code}`))[at % 32]!;
  return btoa(String.fromCharCode(...bytes));
}

async function invite(t: Deployment, deviceId = "d1", more: { name?: string; ttlMs?: number } = {}): Promise<string> {
  const pairing = `${deviceId}.${SECRET}`;
  await ownerOf(t).mutation(api.devices.invite, {
    deviceId,
    codeHash: hex(await digest(pairing)),
    sealed: await seal(TOKEN, pairing),
    ttlMs: 10 * MINUTE,
    validUntil: Date.now() + 90 * 86_400_000,
    ...more,
  });
  return pairing;
}

const deviceOf = (t: Deployment, device: unknown = "d1") =>
  t.withIdentity({ issuer: "https://orchestrator.local", subject: "owner", device } as never);

async function paired(t: Deployment, deviceId = "d1") {
  const pairing = await invite(t, deviceId);
  expect(await t.mutation(api.devices.trade, { code: pairing })).toMatchObject({ status: "paired" });
  return deviceOf(t, deviceId);
}

const refusedAs = async (trade: Promise<unknown>) => ((await trade) as { status: string; code?: string }).code;

describe("a pairing code", () => {
  test("is traded once, without an identity, for the token that was sealed under it", async () => {
    const t = deployment();
    const pairing = await invite(t);
    const got = await t.mutation(api.devices.trade, { code: pairing, name: "Chrome on Android" });
    expect(got).toMatchObject({ status: "paired", deviceId: "d1", name: "Chrome on Android", token: TOKEN });
    const again = await t.mutation(api.devices.trade, { code: pairing });
    expect(again).toMatchObject({ status: "refused", code: "conflict" });
    expect(JSON.stringify(again)).toContain("orchestrator device revoke d1");
  });

  test("gives whoever lost the answer the same one again, and nobody else, until it lapses", async () => {
    const t = deployment();
    const pairing = await invite(t);
    const claim = "0123456789abcdef0123456789abcdef";
    const trade = (more: object) => t.mutation(api.devices.trade, { code: pairing, ...more });
    expect(await code(trade({ claim: "short" }))).toBe("invalid");
    const got = await trade({ claim, name: "Chrome on Android" });
    expect(got).toMatchObject({ status: "paired", token: TOKEN });
    expect(await trade({ claim, name: "Chrome on Android" })).toEqual(got);
    expect(await refusedAs(trade({}))).toBe("conflict");
    expect(await refusedAs(trade({ claim: claim.replace("0", "f") }))).toBe("conflict");
    expect(await refusedAs(t.mutation(api.devices.trade, { code: `d1.${SECRET}0`, claim }))).toBe("unauthorized");
    const stored = await t.run(async (ctx) => JSON.stringify(await ctx.db.query("devices").collect()));
    for (const secret of [SECRET, TOKEN, claim]) expect(stored).not.toContain(secret);
    vi.advanceTimersByTime(10 * MINUTE);
    expect(await refusedAs(trade({ claim }))).toBe("conflict");
    await t.finishInProgressScheduledFunctions();
    expect(await t.run(async (ctx) => Object.keys((await ctx.db.query("devices").unique())!))).not.toContain("sealed");
  });

  test("that is revoked gives nothing to whoever traded it", async () => {
    const t = deployment();
    const pairing = await invite(t);
    const claim = "0123456789abcdef0123456789abcdef";
    await t.mutation(api.devices.trade, { code: pairing, claim });
    await ownerOf(t).mutation(api.devices.revoke, { deviceId: "d1" });
    expect(await refusedAs(t.mutation(api.devices.trade, { code: pairing, claim }))).toBe("device_revoked");
  });

  test("is in the database neither before it is traded nor after, and the token neither", async () => {
    const t = deployment();
    const pairing = await invite(t);
    const stored = () => t.run(async (ctx) => JSON.stringify(await ctx.db.query("devices").collect()));
    for (const secret of [SECRET, pairing, TOKEN, btoa(TOKEN)]) expect(await stored()).not.toContain(secret);
    await t.mutation(api.devices.trade, { code: pairing });
    expect(await stored()).not.toContain("sealed");
    expect(await stored()).not.toContain(SECRET);
  });

  test("lapses by the deployment's clock, and keeps no token then", async () => {
    const t = deployment();
    const pairing = await invite(t, "d1", { ttlMs: MINUTE });
    vi.advanceTimersByTime(MINUTE);
    expect(await refusedAs(t.mutation(api.devices.trade, { code: pairing }))).toBe("expired");
    await t.finishInProgressScheduledFunctions();
    expect(await t.run(async (ctx) => Object.keys((await ctx.db.query("devices").unique())!))).not.toContain("sealed");
  });

  test("is void after five wrong ones, and a worker's token is none", async () => {
    const t = deployment();
    const pairing = await invite(t);
    for (const text of ["", "machine_m1:worker_w1:secret_abcdefghijklmnopqrstuvwxyz", "d1.short", "../../x"]) {
      expect(await refusedAs(t.mutation(api.devices.trade, { code: text }))).toBe("invalid");
    }
    expect(await refusedAs(t.mutation(api.devices.trade, { code: `nobody.${SECRET}` }))).toBe("unauthorized");
    for (let wrong = 0; wrong < 5; wrong++) {
      expect(await refusedAs(t.mutation(api.devices.trade, { code: `d1.${SECRET}${wrong}` }))).toBe("unauthorized");
    }
    expect(await refusedAs(t.mutation(api.devices.trade, { code: pairing }))).toBe("unauthorized");
  });

  test("is refused beyond five that wait, and one that has lapsed takes no place", async () => {
    const t = deployment();
    for (let at = 0; at < 5; at++) await invite(t, `d${at}`, { ttlMs: MINUTE });
    expect(await code(invite(t, "more"))).toBe("queue_full");
    vi.advanceTimersByTime(MINUTE);
    await invite(t, "more");
    expect(await ownerOf(t).query(api.devices.list, {})).toHaveLength(1);
  });

  test("is the owner's to make, for an id that nobody has, within bounds", async () => {
    const t = deployment();
    const good = { deviceId: "d1", codeHash: "0".repeat(64), sealed: "QQ==", ttlMs: MINUTE, validUntil: Date.now() };
    expect(await code(t.mutation(api.devices.invite, good))).toBe("unauthorized");
    const ask = (wrong: object) => code(ownerOf(t).mutation(api.devices.invite, { ...good, ...wrong }));
    for (const wrong of [{ deviceId: "a b" }, { codeHash: "x" }, { sealed: "" }, { sealed: "Q".repeat(9_000) }, { ttlMs: 0 }, { ttlMs: Infinity }, { ttlMs: 2 * 3_600_000 }, { validUntil: NaN }, { name: "a\nb" }]) {
      expect(await ask(wrong)).toBe("invalid");
    }
    await ownerOf(t).mutation(api.devices.invite, good);
    await ownerOf(t).mutation(api.devices.invite, good);
    expect(await code(strangerOf(t).mutation(api.devices.invite, good))).toBe("conflict");
    expect(await ask({ codeHash: "1".repeat(64) })).toBe("conflict");
    const device = await paired(t, "d2");
    expect(await code(device.mutation(api.devices.invite, { ...good, deviceId: "d3" }))).toBe("forbidden");
  });
});

describe("a paired device", () => {
  test("speaks for its owner until it is revoked, and is listed", async () => {
    const t = deployment();
    const device = await paired(t);
    await createWorker(ownerOf(t));
    expect(await device.query(api.workers.list, {})).toHaveLength(1);
    await device.mutation(api.devices.visit, {});
    expect(await device.query(api.devices.self, {})).toMatchObject({ deviceId: "d1" });
    expect(await device.query(api.devices.list, {})).toMatchObject([{ deviceId: "d1", state: "paired", isThis: true, seenAt: Date.now() }]);
    expect(await ownerOf(t).query(api.devices.list, {})).toMatchObject([{ isThis: false }]);
    expect(await ownerOf(t).query(api.devices.self, {})).toBeNull();

    await ownerOf(t).mutation(api.devices.revoke, { deviceId: "d1" });
    expect(await code(device.query(api.workers.list, {}))).toBe("device_revoked");
    expect(await code(device.query(api.devices.self, {}))).toBe("device_revoked");
    expect(await code(device.mutation(api.devices.visit, {}))).toBe("device_revoked");
    expect(await ownerOf(t).query(api.devices.list, {})).toMatchObject([{ state: "revoked" }]);
  });

  test("makes no token that would outlive it", async () => {
    const t = deployment();
    const device = await paired(t);
    await createWorker(ownerOf(t));
    const worker = { workerId: "w9", machineId: "m1", name: "w", directory: "/w" };
    expect(await code(device.mutation(api.workers.create, worker))).toBe("forbidden");
    expect(await code(device.mutation(api.workers.rotate, { workerId: "w1" }))).toBe("forbidden");
    expect(await code(device.mutation(api.machines.rotate, { machineId: "m1" }))).toBe("forbidden");
  });

  test("that is not known here, or whose claim is no id, or that is another owner's, is refused", async () => {
    const t = deployment();
    await paired(t);
    for (const device of ["nobody", "", 7, null, { a: 1 }]) {
      expect(await code(deviceOf(t, device).query(api.workers.list, {}))).toBe("device_revoked");
    }
    const other = t.withIdentity({ issuer: "https://orchestrator.local", subject: "stranger", device: "d1" } as never);
    expect(await code(other.query(api.workers.list, {}))).toBe("device_revoked");
  });

  test("can revoke itself and no other, and whose code is open can be revoked before it is traded", async () => {
    const t = deployment();
    const [first, second] = [await paired(t, "d1"), await paired(t, "d2")];
    expect(await code(first.mutation(api.devices.revoke, { deviceId: "d2" }))).toBe("forbidden");
    expect(await code(first.mutation(api.devices.rename, { deviceId: "d2", name: "mine" }))).toBe("forbidden");
    expect(await code(strangerOf(t).mutation(api.devices.revoke, { deviceId: "d2" }))).toBe("not_found");
    await first.mutation(api.devices.rename, { deviceId: "d1", name: "mine" });
    await first.mutation(api.devices.revoke, { deviceId: "d1" });
    expect(await code(first.query(api.devices.self, {}))).toBe("device_revoked");
    expect(await second.query(api.devices.list, {})).toMatchObject([{ deviceId: "d2" }, { deviceId: "d1", name: "mine" }]);

    const pairing = await invite(t, "d3");
    await ownerOf(t).mutation(api.devices.revoke, { deviceId: "d3" });
    expect(await refusedAs(t.mutation(api.devices.trade, { code: pairing }))).toBe("device_revoked");
  });

  test("is one of fifty at most, those whose token has ended left out; of revoked ones twenty stay", async () => {
    const t = deployment();
    for (let at = 0; at < 50; at++) await paired(t, `d${at}`);
    expect(await code(invite(t, "more"))).toBe("queue_full");
    for (let at = 0; at < 30; at++) {
      vi.advanceTimersByTime(1);
      await ownerOf(t).mutation(api.devices.revoke, { deviceId: `d${at}` });
    }
    const rows = await ownerOf(t).query(api.devices.list, {});
    expect(rows.filter((row) => row.state === "revoked")).toHaveLength(20);
    vi.advanceTimersByTime(91 * 86_400_000);
    await invite(t, "more");
    expect((await ownerOf(t).query(api.devices.list, {})).filter((row) => row.state === "paired")).toHaveLength(0);
  });
});
