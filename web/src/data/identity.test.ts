import { expect, test } from "vitest";
import { claims, given } from "./identity";

const jwt = (payload: object) => `h.${btoa(JSON.stringify(payload)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}.s`;

test("a token says whose it is and until when", () => {
  expect(claims(jwt({ sub: "owner", exp: 1_800_000_000 }))).toEqual({ subject: "owner", expiresAt: 1_800_000_000_000 });
  for (const text of ["", "x", "a.b.c", jwt({ sub: 1, exp: 2 }), "machine_a:worker_b:secret_c"]) expect(claims(text)).toBeNull();
});

test("a link's fragment brings a token or a deployment, and a place in the page is neither", () => {
  expect(given("#token=a.b.c&deployment=https%3A%2F%2Fx.example")).toEqual({ token: "a.b.c", deployment: "https://x.example" });
  expect(given("#/session/token=x")).toEqual({});
  expect(given("")).toEqual({});
});
