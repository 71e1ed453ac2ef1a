import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { MESSAGE_ATTACHMENT_BYTES, PIECE_BYTES } from "../lib/limits";
import { api, claimedTurn, code, deployment, listed, ownerOf, pass, refusal, servedWorker, strangerOf, type Deployment } from "./deployment.fixture";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const HOUR = 3_600_000;
const PNG = { name: "shot.png", mime: "image/png" };

/** The base64 of so many bytes. */
const pieceOf = (bytes: number, fill = 7) => Buffer.alloc(bytes, fill).toString("base64");

const begin = (t: Deployment, id: string, bytes: number, more: object = {}) =>
  ownerOf(t).mutation(api.attachments.begin, { id, bytes, ...PNG, ...more });
const put = (t: Deployment, id: string, index: number, data: string) => ownerOf(t).mutation(api.attachments.put, { id, index, data });

async function uploaded(t: Deployment, id: string, bytes = 3) {
  const { pieces } = await begin(t, id, bytes);
  for (let index = 0; index < pieces; index += 1) await put(t, id, index, pieceOf(Math.min(PIECE_BYTES, bytes - index * PIECE_BYTES)));
}

const sendWith = (t: Deployment, id: string, attachments: string[], content = "look") =>
  ownerOf(t).mutation(api.messages.send, { id, workerId: "w1", content, attachments });

const rows = (t: Deployment, table: "attachments" | "attachmentPieces") => t.run(async (ctx) => (await ctx.db.query(table).collect()).length);

describe("an upload", () => {
  test("goes on where it stopped, and its pieces in their order are the file's base64", async () => {
    const t = deployment();
    await servedWorker(t);
    const bytes = PIECE_BYTES + 4;
    expect(await begin(t, "f", bytes)).toEqual({ next: 0, pieces: 2 });
    await put(t, "f", 0, pieceOf(PIECE_BYTES));
    expect(await begin(t, "f", bytes)).toEqual({ next: 1, pieces: 2 });
    expect(await put(t, "f", 0, pieceOf(PIECE_BYTES, 9))).toEqual({ next: 1 });
    await put(t, "f", 1, pieceOf(4));
    const read = async (index: number) => await ownerOf(t).query(api.attachments.piece, { id: "f", index });
    expect((await read(0)) + (await read(1))).toBe(Buffer.alloc(bytes, 7).toString("base64"));
  });

  test("a piece of another size, out of turn or not base64 is refused", async () => {
    const t = deployment();
    await servedWorker(t);
    await begin(t, "f", 4);
    for (const [index, data] of [[0, pieceOf(3)], [0, pieceOf(5)], [0, "A=AAAAA="], [0, "<script>"], [1, pieceOf(4)]] as const) {
      expect(await code(put(t, "f", index, data)), data).toBe("invalid");
    }
  });

  test("what is too large, empty, of another kind or named over two lines is refused before a byte comes", async () => {
    const t = deployment();
    await servedWorker(t);
    const large = await refusal(begin(t, "f", 50_000_000));
    expect(large.code).toBe("too_large");
    expect(large.message).toContain(String(MESSAGE_ATTACHMENT_BYTES));
    expect(await code(begin(t, "f", 0))).toBe("invalid");
    expect(await code(begin(t, "f", 1, { mime: "image/svg+xml" }))).toBe("invalid");
    expect(await code(begin(t, "f", 1, { name: "a\nb" }))).toBe("invalid");
    expect(await rows(t, "attachments")).toBe(0);
  });

  test("an id with another meaning is a conflict, and a stranger reaches nothing", async () => {
    const t = deployment();
    await servedWorker(t);
    await uploaded(t, "f");
    expect(await code(begin(t, "f", 4))).toBe("conflict");
    const stranger = strangerOf(t);
    expect(await code(stranger.mutation(api.attachments.begin, { id: "f", bytes: 3, ...PNG }))).toBe("conflict");
    expect(await code(stranger.query(api.attachments.piece, { id: "f", index: 0 }))).toBe("forbidden");
    expect(await code(stranger.mutation(api.attachments.put, { id: "f", index: 0, data: pieceOf(3) }))).toBe("forbidden");
    expect(await code(stranger.mutation(api.attachments.drop, { id: "f" }))).toBe("forbidden");
    expect(await code(t.query(api.attachments.piece, { id: "f", index: 0 }))).toBe("unauthorized");
  });

  test("that no message took is gone after a day, one that was taken is not", async () => {
    const t = deployment();
    await servedWorker(t);
    await uploaded(t, "left", 10 * PIECE_BYTES);
    await uploaded(t, "taken");
    await sendWith(t, "a", ["taken"]);
    await pass(t, 25 * HOUR);
    await pass(t, 1_000);
    expect(await rows(t, "attachments")).toBe(1);
    expect(await rows(t, "attachmentPieces")).toBe(1);
    expect(await ownerOf(t).query(api.attachments.piece, { id: "taken", index: 0 })).toBe(pieceOf(3));
    expect(await code(sendWith(t, "b", ["left"]))).toBe("not_found");
  });

  test("can be taken back until a message has it", async () => {
    const t = deployment();
    await servedWorker(t);
    await uploaded(t, "f");
    await uploaded(t, "g");
    await sendWith(t, "a", ["g"]);
    for (const id of ["f", "g", "unknown"]) await ownerOf(t).mutation(api.attachments.drop, { id });
    await pass(t, 1_000);
    expect(await rows(t, "attachmentPieces")).toBe(1);
  });
});

describe("a message", () => {
  test("takes whole files with it and shows them; sent again, it is the same message", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await uploaded(t, "f");
    const sent = await sendWith(t, "a", ["f"]);
    expect(await sendWith(t, "a", ["f"])).toEqual(sent);
    expect(await code(sendWith(t, "a", []))).toBe("conflict");
    const shown = [{ id: "f", ...PNG, bytes: 3 }];
    expect((await listed(t, "session_a"))[0]).toMatchObject({ content: "look", attachments: shown });
    expect(await t.mutation(api.messages.claim, { ...worker, turnId: "turn_a" })).toMatchObject({ attachments: shown });
  });

  test("with half a file, somebody's file, another message's or too many is not sent at all", async () => {
    const t = deployment();
    await servedWorker(t);
    await uploaded(t, "whole");
    await begin(t, "half", 2 * PIECE_BYTES);
    await put(t, "half", 0, pieceOf(PIECE_BYTES));
    await uploaded(t, "used");
    await sendWith(t, "first", ["used"]);
    await strangerOf(t).mutation(api.attachments.begin, { id: "theirs", bytes: 3, ...PNG });
    for (const [id, refused] of [["half", "conflict"], ["used", "conflict"], ["theirs", "forbidden"], ["unknown", "not_found"]] as const) {
      expect(await code(sendWith(t, "a", ["whole", id])), id).toBe(refused);
    }
    expect(await code(sendWith(t, "a", ["whole", "whole"]))).toBe("invalid");
    await sendWith(t, "a", ["whole"]);
    expect(await listed(t, "session_a")).toHaveLength(2);
  });

  test("has a bound for all of its files together", async () => {
    const t = deployment();
    await servedWorker(t);
    const bytes = 14 * PIECE_BYTES;
    await uploaded(t, "f", bytes);
    await uploaded(t, "g", bytes);
    expect(await code(sendWith(t, "a", ["f", "g"]))).toBe("too_large");
    await sendWith(t, "a", ["f"]);
  });

  test("can be without words, and has its file's name as its session's title", async () => {
    const t = deployment();
    await servedWorker(t);
    await uploaded(t, "f");
    await sendWith(t, "a", ["f"], "");
    expect(await ownerOf(t).query(api.sessions.get, { sessionId: "session_a" })).toMatchObject({ title: "shot.png" });
    expect(await code(sendWith(t, "b", [], ""))).toBe("invalid");
  });

  test("gives its files to the supervisor that serves its turn, and to no other", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    const other = await servedWorker(t, "w2");
    await uploaded(t, "f");
    await uploaded(t, "loose");
    await sendWith(t, "a", ["f"]);
    await t.mutation(api.messages.claim, { ...worker, turnId: "turn_a" });
    const without = await claimedTurn(t, other, "x", "w2");
    const fetch = async (by: typeof worker, turnId: string, id: string) => await t.query(api.attachments.fetch, { ...by, turnId, id, index: 0 });
    expect(await fetch(worker, "turn_a", "f")).toBe(pieceOf(3));
    expect(await code(fetch(worker, "turn_a", "loose"))).toBe("not_found");
    expect(await code(fetch(other, "turn_a", "f"))).toBe("forbidden");
    expect(await code(fetch(other, without, "f"))).toBe("not_found");
  });

  test("that is gone on with takes its files along", async () => {
    const t = deployment();
    const worker = await servedWorker(t);
    await uploaded(t, "f");
    await sendWith(t, "a", ["f"]);
    await t.mutation(api.messages.claim, { ...worker, turnId: "turn_a" });
    await t.mutation(api.messages.finish, { ...worker, turnId: "turn_a", outcome: "interrupted", then: "continue", items: [] });
    const again = (await listed(t, "session_a")).find((message) => message.continues !== undefined && message.role === "user");
    expect(again).toMatchObject({ attachments: [{ id: "f", ...PNG, bytes: 3 }] });
    const turnId = "turn_a.continued";
    await t.mutation(api.messages.claim, { ...worker, turnId });
    expect(await t.query(api.attachments.fetch, { ...worker, turnId, id: "f", index: 0 })).toBe(pieceOf(3));
  });
});
