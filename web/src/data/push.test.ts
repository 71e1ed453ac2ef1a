import { expect, test } from "vitest";
import { fromBase64url, toBase64url } from "./push";

test("a key goes to the browser and back as the deployment wrote it", () => {
  const bytes = Uint8Array.from({ length: 65 }, (_, at) => (at * 37 + 251) % 256);
  const text = toBase64url(bytes.buffer);
  expect(text).toMatch(/^[A-Za-z0-9_-]{87}$/);
  expect([...fromBase64url(text)]).toEqual([...bytes]);
  expect(toBase64url(null)).toBe("");
});
