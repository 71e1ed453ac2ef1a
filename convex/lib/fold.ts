// Folding: from a turn's chunks to its parts, what people read. Text and reasoning are appended to their part, a
// tool's state replaces the one before, `reset` voids what its part had; a part of another kind starts anew. Parts
// stand in the order in which they were first seen.
//
// A part's text is kept in pieces of at most PART_ROW_BYTES, one row each. A row's `ordinal` is the part's place
// times PIECES plus the number of the piece, so the index order is the reading order. A voided part keeps its first
// row, empty, as a mark of its place; readers leave empty rows out.
//
// A long turn is folded in pages, each one a transaction: what a page needs to know of the ones before it is in the
// rows themselves.

import {
  DROP_PAGE_BYTES,
  DROP_PAGE_ROWS,
  FOLDED_CHUNKS_KEPT_MS,
  FOLD_AT_ONCE_BYTES,
  FOLD_AT_ONCE_ROWS,
  FOLD_PAGE_BYTES,
  FOLD_PAGE_ROWS,
  PART_ROW_BYTES,
  utf8Bytes,
} from "./limits";
import { dropChunks, foldChunks } from "./jobs";
import type { Doc, Id, MutationCtx } from "./server";
import type { Turn } from "./turns";
import type { PartKind } from "./values";

const PIECES = 4_096;
/** Rows of a voided part that one transaction deletes: 4 MiB of text, which counts twice, read and deleted. */
const VOID_ROWS = 16;

/** A part's last piece, in memory while a page is folded. */
interface OpenPart {
  partId: string;
  place: number;
  piece: number;
  kind: PartKind;
  text: string;
  bytes: number;
  /** The piece's row and its size there, once it has one. */
  row: Id<"parts"> | null;
  rowBytes: number;
}

interface Fold {
  turnId: string;
  parts: Map<string, OpenPart>;
  /** The next free place. */
  places: number;
  /** By how much the stored text has grown. */
  grown: number;
}

/** Folds a turn that was just closed for good: at once if it is small, else by the scheduler. */
export async function foldClosedTurn(ctx: MutationCtx, turn: Turn): Promise<void> {
  const chunks = await readChunks(ctx, turn.messageId, 0, FOLD_AT_ONCE_ROWS, FOLD_AT_ONCE_BYTES);
  if (chunks.more) {
    await ctx.db.patch(turn._id, { foldedTo: 0, partsBytes: 0 });
    await ctx.scheduler.runAfter(0, foldChunks, { turnId: turn.messageId });
    return;
  }
  const folded = await foldPage(ctx, turn.messageId, chunks.rows);
  await completeFold(ctx, turn, folded.grown);
}

/** Folds the next page of a long turn, and schedules the one after it. */
export async function foldNextPage(ctx: MutationCtx, turn: Turn): Promise<void> {
  const from = turn.foldedTo ?? 0;
  const chunks = await readChunks(ctx, turn.messageId, from, FOLD_PAGE_ROWS, FOLD_PAGE_BYTES);
  const folded = await foldPage(ctx, turn.messageId, chunks.rows);
  const bytes = (turn.partsBytes ?? 0) + folded.grown;
  if (folded.stoppedAt === null && !chunks.more) {
    await completeFold(ctx, turn, bytes);
    return;
  }
  const last = chunks.rows[chunks.rows.length - 1];
  const foldedTo = folded.stoppedAt ?? (last ? last.index + 1 : from);
  await ctx.db.patch(turn._id, { foldedTo, partsBytes: bytes });
  await ctx.scheduler.runAfter(0, foldChunks, { turnId: turn.messageId });
}

/** Deletes a page of a folded turn's chunks, and schedules the next one. */
export async function dropNextPage(ctx: MutationCtx, turnId: string): Promise<void> {
  const chunks = await readChunks(ctx, turnId, 0, DROP_PAGE_ROWS, DROP_PAGE_BYTES);
  for (const chunk of chunks.rows) await ctx.db.delete(chunk._id);
  if (chunks.more) await ctx.scheduler.runAfter(0, dropChunks, { turnId });
}

async function completeFold(ctx: MutationCtx, turn: Turn, partsBytes: number): Promise<void> {
  await ctx.db.patch(turn._id, { folded: true, partsBytes, foldedTo: undefined });
  await ctx.scheduler.runAfter(FOLDED_CHUNKS_KEPT_MS, dropChunks, { turnId: turn.messageId });
}

/** Chunks from an index on, until one of the bounds is reached; `more` says that it was. The first one always fits. */
async function readChunks(ctx: MutationCtx, turnId: string, from: number, mostRows: number, mostBytes: number) {
  const rows: Doc<"chunks">[] = [];
  let bytes = 0;
  const chunks = ctx.db.query("chunks").withIndex("by_turn", (q) => q.eq("turnId", turnId).gte("index", from));
  for await (const chunk of chunks) {
    bytes += utf8Bytes(chunk.content);
    if (rows.length > 0 && (rows.length === mostRows || bytes > mostBytes)) return { rows, more: true };
    rows.push(chunk);
  }
  return { rows, more: false };
}

async function foldPage(ctx: MutationCtx, turnId: string, chunks: Doc<"chunks">[]) {
  const last = await ctx.db
    .query("parts")
    .withIndex("by_turn", (q) => q.eq("turnId", turnId))
    .order("desc")
    .first();
  const places = last ? Math.floor(last.ordinal / PIECES) + 1 : 0;
  const fold: Fold = { turnId, parts: new Map(), places, grown: 0 };
  let stoppedAt: number | null = null;
  for (const chunk of chunks) {
    if (!(await foldChunk(ctx, fold, chunk))) {
      stoppedAt = chunk.index;
      break;
    }
  }
  for (const part of fold.parts.values()) await savePiece(ctx, fold, part);
  return { grown: fold.grown, stoppedAt };
}

/** False when a transaction cannot hold what the chunk voids: the next one goes on at the same chunk. */
async function foldChunk(ctx: MutationCtx, fold: Fold, chunk: Doc<"chunks">): Promise<boolean> {
  const part = await openPart(ctx, fold, chunk.partId, chunk.kind === "reset" ? "text" : chunk.kind);
  const startsAnew = chunk.kind === "reset" || chunk.kind === "tool" || chunk.kind !== part.kind;
  if (startsAnew && !(await voidPart(ctx, fold, part))) return false;
  if (chunk.kind === "reset") return true;
  part.kind = chunk.kind;
  const bytes = utf8Bytes(chunk.content);
  if (part.bytes + bytes > PART_ROW_BYTES) {
    await savePiece(ctx, fold, part);
    Object.assign(part, { piece: part.piece + 1, text: "", bytes: 0, row: null, rowBytes: 0 });
  }
  part.text += chunk.content;
  part.bytes += bytes;
  return true;
}

/** The part's last piece: from this page, else from its row, else a new one at the next place. */
async function openPart(ctx: MutationCtx, fold: Fold, partId: string, kind: PartKind): Promise<OpenPart> {
  const known = fold.parts.get(partId);
  if (known) return known;
  const row = await ctx.db
    .query("parts")
    .withIndex("by_part", (q) => q.eq("turnId", fold.turnId).eq("partId", partId))
    .order("desc")
    .first();
  const part: OpenPart = row ? fromRow(row) : emptyPiece(partId, fold.places, kind);
  if (!row) fold.places += 1;
  fold.parts.set(partId, part);
  return part;
}

/** Empties a part but for its place. Its further rows are deleted, a bounded number at a time. */
async function voidPart(ctx: MutationCtx, fold: Fold, part: OpenPart): Promise<boolean> {
  if (part.piece > 0) {
    const first = part.place * PIECES;
    const rows = await ctx.db
      .query("parts")
      .withIndex("by_turn", (q) => q.eq("turnId", fold.turnId).gt("ordinal", first).lt("ordinal", first + PIECES))
      .take(VOID_ROWS);
    for (const row of rows) {
      await ctx.db.delete(row._id);
      fold.grown -= utf8Bytes(row.text);
    }
    if (rows.length === VOID_ROWS) {
      fold.parts.delete(part.partId);
      return false;
    }
    const head = await ctx.db
      .query("parts")
      .withIndex("by_turn", (q) => q.eq("turnId", fold.turnId).eq("ordinal", first))
      .unique();
    Object.assign(part, head ? fromRow(head) : emptyPiece(part.partId, part.place, part.kind));
  }
  part.text = "";
  part.bytes = 0;
  return true;
}

async function savePiece(ctx: MutationCtx, fold: Fold, part: OpenPart): Promise<void> {
  if (part.row) {
    await ctx.db.patch(part.row, { kind: part.kind, text: part.text });
  } else {
    const ordinal = part.place * PIECES + part.piece;
    part.row = await ctx.db.insert("parts", {
      turnId: fold.turnId,
      ordinal,
      partId: part.partId,
      kind: part.kind,
      text: part.text,
    });
  }
  fold.grown += part.bytes - part.rowBytes;
  part.rowBytes = part.bytes;
}

function fromRow(row: Doc<"parts">): OpenPart {
  const bytes = utf8Bytes(row.text);
  return {
    partId: row.partId,
    place: Math.floor(row.ordinal / PIECES),
    piece: row.ordinal % PIECES,
    kind: row.kind,
    text: row.text,
    bytes,
    row: row._id,
    rowBytes: bytes,
  };
}

function emptyPiece(partId: string, place: number, kind: PartKind): OpenPart {
  return { partId, place, piece: 0, kind, text: "", bytes: 0, row: null, rowBytes: 0 };
}
