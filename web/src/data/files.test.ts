// @vitest-environment jsdom
import { describe, expect, test } from "vitest";
import { MESSAGE_ATTACHMENT_BYTES, ATTACHMENTS_PER_MESSAGE, PIECE_BYTES as THEIRS } from "../../../convex/lib/limits";
import { FileLost, MOST_FILES, MOST_FILE_BYTES, PIECE_BYTES, inOneLine, keepFile, kindOf, upload } from "./files";

const bytesOf = (text: string) => Uint8Array.from([...text].map((char) => char.charCodeAt(0)));

/** jsdom's has no `arrayBuffer`. */
const blob = (bytes: Uint8Array) =>
  ({ size: bytes.length, slice: (from: number, to: number) => blob(bytes.slice(from, to)), arrayBuffer: () => Promise.resolve(bytes.slice().buffer) }) as unknown as Blob;

test("the bounds are the deployment's", () => {
  expect([MOST_FILE_BYTES, MOST_FILES, PIECE_BYTES]).toEqual([MESSAGE_ATTACHMENT_BYTES, ATTACHMENTS_PER_MESSAGE, THEIRS]);
});

test("a file is what is in it, whatever its name says", () => {
  expect(kindOf(bytesOf("\x89PNG\r\n\x1a\nrest"))).toBe("image/png");
  expect(kindOf(bytesOf("RIFF....WEBPVP8 "))).toBe("image/webp");
  expect(kindOf(bytesOf("%PDF-1.7"))).toBe("application/pdf");
  expect(kindOf(new TextEncoder().encode("<svg onload=alert(1)> ä"))).toBe("text/plain");
  expect(kindOf(bytesOf("PK\x03\x04\x00"))).toBeNull();
  expect(kindOf(bytesOf("latin \xe4"))).toBeNull();
  expect(inOneLine("a\nb\u202ec")).toBe("a_b_c");
});

describe("an upload", () => {
  const content = new Uint8Array(PIECE_BYTES + 5).fill(7);
  const file = { id: "f", name: "shot.png", mime: "image/png", bytes: content.length };

  test("goes on where it stopped", async () => {
    await keepFile("f", blob(content));
    const put: [number, number][] = [];
    const told: number[] = [];
    await upload([file], {
      begin: () => Promise.resolve({ next: 1, pieces: 2 }),
      put: ({ index, data }) => Promise.resolve(put.push([index, atob(data).length])),
      tell: (part) => told.push(part),
    });
    expect(put).toEqual([[1, 5]]);
    expect(told.at(-1)).toBe(1);
  });

  test("whose bytes are gone is told of, unless the deployment has them all", async () => {
    const none = { put: () => Promise.reject(new Error("nothing to put")), tell: () => {} };
    const lost = { ...file, id: "lost" };
    await expect(upload([lost], { ...none, begin: () => Promise.resolve({ next: 1, pieces: 2 }) })).rejects.toThrow(FileLost);
    await upload([lost], { ...none, begin: () => Promise.resolve({ next: 2, pieces: 2 }) });
  });
});
