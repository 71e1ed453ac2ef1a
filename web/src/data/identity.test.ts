import { expect, test } from "vitest";
import { browserName, claims, given, pairingCode } from "./identity";

const jwt = (payload: object) => `h.${btoa(JSON.stringify(payload)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}.s`;

test("a token says whose it is and until when", () => {
  expect(claims(jwt({ sub: "owner", exp: 1_800_000_000 }))).toEqual({ subject: "owner", expiresAt: 1_800_000_000_000 });
  for (const text of ["", "x", "a.b.c", jwt({ sub: 1, exp: 2 }), "machine_a:worker_b:secret_c"]) expect(claims(text)).toBeNull();
});

test("a link's fragment brings a token or a deployment, and a place in the page is neither", () => {
  expect(given("#token=a.b.c&deployment=https%3A%2F%2Fx.example")).toEqual({ token: "a.b.c", deployment: "https://x.example" });
  expect(given("#pair=d.s&deployment=https%3A%2F%2Fx.example")).toEqual({ pair: "d.s", deployment: "https://x.example" });
  expect(given("#/session/token=x")).toEqual({});
  expect(given("")).toEqual({});
});

test("a pairing code is taken alone or out of its link, and a token is none", () => {
  const code = "0123456789ab.abcdefghijklmnopqrstuvwx";
  for (const text of [code, `https://p.example/#pair=${code}`, `http://127.0.0.1:3210/#pair=${code}&deployment=x`]) expect(pairingCode(text)).toBe(code);
  for (const text of ["", "a.b", jwt({ sub: "o", exp: 1 }), "machine_a:worker_b:secret_c"]) expect(pairingCode(text)).toBeNull();
});

test("a browser has a name that tells a phone from a laptop", () => {
  const phone = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36";
  expect(browserName(phone)).toBe("Chrome on Android");
  expect(browserName("")).toBe("a browser");
});
