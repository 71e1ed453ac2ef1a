// What people read: a session's messages, with the parts of the answers that are folded. Bounded by bytes as well as
// by rows, and never the chunks: those change many times a second and are read in windows of their own.

import { v, type Infer } from "convex/values";
import { attachmentShown } from "./attaching";
import { LIST_CONTENT_BYTES, LIST_PARTS_BYTES, PARTS_PAGE_BYTES, PARTS_ROWS, utf8Bytes } from "./limits";
import { contentOf } from "./sending";
import type { Doc, QueryCtx } from "./server";
import { asTurn, type Turn } from "./turns";
import { part, turnError, turnState, usage, type Part } from "./values";

/** A message as `messages:list` shows it: `content` of a user's, the rest of a turn. */
export const shownMessage = v.object({
  id: v.string(),
  role: v.union(v.literal("user"), v.literal("assistant")),
  seq: v.number(),
  state: v.optional(turnState),
  content: v.optional(v.string()),
  attachments: v.optional(v.array(attachmentShown)),
  model: v.optional(v.string()),
  agent: v.optional(v.string()),
  error: v.optional(turnError),
  usage: v.optional(usage),
  createdAt: v.number(),
  finishedAt: v.optional(v.number()),
  abortRequested: v.optional(v.boolean()),
  /** The interrupted turn that this message goes on with. */
  continues: v.optional(v.string()),
  parts: v.optional(v.array(part)),
  partsOmitted: v.optional(v.boolean()),
  /** The content is whole in this answer or in `messages:parts`; else it is in chunks. */
  folded: v.boolean(),
});
type ShownMessage = Infer<typeof shownMessage>;

/** The newest rows first, as many as the content's bound allows; the first one always fits. */
export async function showMessages(ctx: QueryCtx, newestFirst: Doc<"messages">[]): Promise<ShownMessage[]> {
  const shown: ShownMessage[] = [];
  let contentBytes = 0;
  const budget = { bytes: LIST_PARTS_BYTES, rows: PARTS_ROWS };
  for (const row of newestFirst) {
    const turn = asTurn(row);
    if (turn) {
      shown.push(showTurn(turn, await partsWithin(ctx, turn, budget)));
    } else {
      const content = (await contentOf(ctx, row.messageId)) ?? "";
      contentBytes += utf8Bytes(content);
      if (shown.length > 0 && contentBytes > LIST_CONTENT_BYTES) break;
      shown.push({ ...showRow(row), content, folded: true });
    }
  }
  return shown;
}

/** A page of a folded turn's parts, from an ordinal on, and the ordinal of the next page. */
export async function readParts(ctx: QueryCtx, turnId: string, from: number) {
  const { parts, next } = await readPage(ctx, turnId, from, PARTS_ROWS);
  return { parts, next };
}

async function readPage(ctx: QueryCtx, turnId: string, from: number, most: number) {
  const parts: Part[] = [];
  let bytes = 0;
  let read = 0;
  const rows = ctx.db.query("parts").withIndex("by_turn", (q) => q.eq("turnId", turnId).gte("ordinal", from));
  for await (const row of rows) {
    bytes += utf8Bytes(row.text);
    if (read === most || (parts.length > 0 && bytes > PARTS_PAGE_BYTES)) return { parts, next: row.ordinal, read };
    read += 1;
    if (row.text !== "") parts.push({ partId: row.partId, kind: row.kind, text: row.text });
  }
  return { parts, next: null, read };
}

/** The turn's parts, if it is folded and they fit into what is left of the budget. */
async function partsWithin(ctx: QueryCtx, turn: Turn, budget: { bytes: number; rows: number }): Promise<Part[] | null> {
  if (!turn.folded || (turn.partsBytes ?? 0) > budget.bytes) return null;
  if (turn.partsBytes === 0) return [];
  const { parts, next, read } = await readPage(ctx, turn.messageId, 0, budget.rows);
  budget.rows -= read;
  if (next !== null) return null;
  budget.bytes -= turn.partsBytes ?? 0;
  return parts;
}

function showTurn(turn: Turn, parts: Part[] | null): ShownMessage {
  const folded = turn.folded === true;
  return {
    ...showRow(turn),
    state: turn.state,
    ...(turn.error === undefined ? {} : { error: turn.error }),
    ...(turn.usage === undefined ? {} : { usage: turn.usage }),
    ...(turn.finishedAt === undefined ? {} : { finishedAt: turn.finishedAt }),
    ...(turn.abortRequested === undefined ? {} : { abortRequested: turn.abortRequested }),
    ...(parts === null ? {} : { parts }),
    ...(folded && parts === null ? { partsOmitted: true } : {}),
    folded,
  };
}

function showRow(row: Doc<"messages">) {
  return {
    id: row.messageId,
    role: row.role,
    seq: row.seq,
    ...(row.model === undefined ? {} : { model: row.model }),
    ...(row.agent === undefined ? {} : { agent: row.agent }),
    ...(row.attachments === undefined ? {} : { attachments: row.attachments }),
    ...(row.continues === undefined ? {} : { continues: row.continues }),
    createdAt: row.createdAt,
  };
}
