// Generated from convex/lib/attaching.ts by `npm run strip`: change that file, not this one.
// Attachments: their bounds, their pieces, and how a message takes them.

import { v,            } from "convex/values";
import { refusal } from "./errors";
import { ATTACHMENTS_PER_MESSAGE, DROP_PIECES, MESSAGE_ATTACHMENT_BYTES, NAME_CHARS, OPEN_ATTACHMENTS, PIECE_BYTES, checkId, checkLine } from "./limits";


/** What an assistant can be shown. Every kind of text is `text/plain`: its name says more. */
const MIMES = ["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "text/plain"];

export const attachmentShown = v.object({ id: v.string(), name: v.string(), mime: v.string(), bytes: v.number() });


const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

export async function findAttachment(ctx          , id        )                                     {
  return await ctx.db
    .query("attachments")
    .withIndex("by_attachment", (q) => q.eq("attachmentId", id))
    .unique();
}

export async function ownedAttachment(ctx          , owner        , id        )                              {
  const attachment = await findAttachment(ctx, id);
  if (!attachment || attachment.isGone) throw refusal("not_found", `attachment ${id} is not here, or not any more: upload it again`);
  if (attachment.owner !== owner) throw refusal("forbidden", `attachment ${id} belongs to somebody else`);
  return attachment;
}

export async function checkNew(ctx          , owner        , { id, name, mime, bytes }            )                {
  checkId("id", id);
  checkLine("the file's name", name, NAME_CHARS);
  if (!MIMES.includes(mime)) {
    throw refusal("invalid", `${name}: a file of the kind ${mime.slice(0, NAME_CHARS)} cannot go along, only ${MIMES.join(", ")}`);
  }
  if (!Number.isSafeInteger(bytes) || bytes < 1) throw refusal("invalid", `${name} is empty, or its size is no whole number`);
  if (bytes > MESSAGE_ATTACHMENT_BYTES) throw tooLarge(name, bytes);
  const open = await ctx.db
    .query("attachments")
    .withIndex("by_open", (q) => q.eq("owner", owner).eq("messageId", undefined))
    .take(OPEN_ATTACHMENTS);
  if (open.length === OPEN_ATTACHMENTS) {
    throw refusal("queue_full", `${OPEN_ATTACHMENTS} uploads wait for their messages already: send those first, or take them back`);
  }
}

function tooLarge(what        , bytes        ) {
  return refusal("too_large", `${what} has ${bytes} bytes and all files of a message together can have ${MESSAGE_ATTACHMENT_BYTES}`);
}

export async function insertAttachment(ctx             , owner        , { id, ...described }            )                  {
  const pieces = Math.ceil(described.bytes / PIECE_BYTES);
  await ctx.db.insert("attachments", { attachmentId: id, owner, ...described, pieces, stored: 0, createdAt: Date.now() });
  return pieces;
}

export function sizeOfPiece({ bytes, pieces }                    , index        )         {
  return index === pieces - 1 ? bytes - index * PIECE_BYTES : PIECE_BYTES;
}

export function checkPiece(data        , bytes        )       {
  const padding = (3 - (bytes % 3)) % 3;
  const isWhole = data.length === Math.ceil(bytes / 3) * 4 && BASE64.test(data) && data.indexOf("=") === (padding === 0 ? -1 : data.length - padding);
  if (!isWhole) throw refusal("invalid", `the piece must be the base64 of ${bytes} bytes`);
}

export async function pieceOf(ctx          , attachmentId        , index        )                  {
  const row = await ctx.db
    .query("attachmentPieces")
    .withIndex("by_piece", (q) => q.eq("attachmentId", attachmentId).eq("index", index))
    .unique();
  if (!row) throw refusal("not_found", `attachment ${attachmentId} has no piece ${index}`);
  return row.data;
}

/** True when none is left. */
export async function deletePieces(ctx             , attachmentId        )                   {
  const rows = await ctx.db
    .query("attachmentPieces")
    .withIndex("by_piece", (q) => q.eq("attachmentId", attachmentId))
    .take(DROP_PIECES);
  for (const row of rows) await ctx.db.delete(row._id);
  return rows.length < DROP_PIECES;
}

/** The message takes whole uploads of its owner, each once. Whatever is wrong with one of them refuses the message. */
export async function takeAttachments(ctx             , owner        , messageId        , ids          )                        {
  if (ids.length > ATTACHMENTS_PER_MESSAGE || new Set(ids).size !== ids.length) {
    throw refusal("invalid", `a message can have ${ATTACHMENTS_PER_MESSAGE} files at most, each once`);
  }
  const taken               = [];
  for (const id of ids) {
    const { _id, attachmentId, name, mime, bytes, ...row } = await ownedAttachment(ctx, owner, id);
    if (row.messageId !== undefined) throw refusal("conflict", `${name} went along with another message: upload it again`);
    if (row.stored < row.pieces) throw refusal("conflict", `${name} is not whole: ${row.stored} of ${row.pieces} pieces are here`);
    await ctx.db.patch(_id, { messageId });
    taken.push({ id: attachmentId, name, mime, bytes });
  }
  const total = taken.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total > MESSAGE_ATTACHMENT_BYTES) throw tooLarge("what goes along", total);
  return taken;
}
