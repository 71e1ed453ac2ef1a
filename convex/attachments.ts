// Images and files that go along with a message. One is uploaded first, piece by piece, by an id of the caller's making, so
// that an upload which was cut off goes on where it stopped; `messages:send` takes whole ones, in the transaction that
// writes the message. What no message took within a day is deleted.
//
// Pieces are base64: a piece has a number of bytes that three divides, so that the pieces in their order are the file's
// base64, and nobody on the way has to decode it.

import { v } from "convex/values";
import { attachmentShown, checkNew, checkPiece, deletePieces, findAttachment, insertAttachment, ownedAttachment, pieceOf, sizeOfPiece } from "./lib/attaching";
import { refusal } from "./lib/errors";
import { expireAttachment } from "./lib/jobs";
import { ATTACHMENTS_PER_MESSAGE, ATTACHMENT_KEPT_MS, MESSAGE_ATTACHMENT_BYTES, PIECE_BYTES, checkIndex } from "./lib/limits";
import { findMessage, requireOwner } from "./lib/owners";
import { internalMutation, mutation, query } from "./lib/server";
import { requireServing } from "./lib/tokens";
import { asTurn } from "./lib/turns";

/** The bounds, for whoever uploads. */
export const limits = query({
  args: {},
  returns: v.object({ messageBytes: v.number(), perMessage: v.number(), pieceBytes: v.number() }),
  handler: async (ctx) => {
    await requireOwner(ctx);
    return { messageBytes: MESSAGE_ATTACHMENT_BYTES, perMessage: ATTACHMENTS_PER_MESSAGE, pieceBytes: PIECE_BYTES };
  },
});

/** Begins an upload, or goes on with it: the answer says which piece is next. All are there when that is the number of pieces. */
export const begin = mutation({
  args: attachmentShown.fields,
  returns: v.object({ next: v.number(), pieces: v.number() }),
  handler: async (ctx, described) => {
    const owner = await requireOwner(ctx);
    const known = await findAttachment(ctx, described.id);
    if (known) {
      const isSame = known.owner === owner && known.name === described.name && known.mime === described.mime && known.bytes === described.bytes;
      if (!isSame) throw refusal("conflict", `attachment id ${described.id} is taken by another file: make a new id`);
      return { next: known.stored, pieces: known.pieces };
    }
    await checkNew(ctx, owner, described);
    const pieces = await insertAttachment(ctx, owner, described);
    await ctx.scheduler.runAfter(ATTACHMENT_KEPT_MS, expireAttachment, { attachmentId: described.id });
    return { next: 0, pieces };
  },
});

/** Stores the next piece. One that is there already stays as it is. */
export const put = mutation({
  args: { id: v.string(), index: v.number(), data: v.string() },
  returns: v.object({ next: v.number() }),
  handler: async (ctx, { id, index, data }) => {
    const attachment = await ownedAttachment(ctx, await requireOwner(ctx), id);
    checkIndex("index", index);
    if (index < attachment.stored) return { next: attachment.stored };
    if (index !== attachment.stored || index >= attachment.pieces) {
      throw refusal("invalid", `the next piece of ${id} is ${attachment.stored} of ${attachment.pieces}, not ${index}`);
    }
    checkPiece(data, sizeOfPiece(attachment, index));
    await ctx.db.insert("attachmentPieces", { attachmentId: id, index, data });
    await ctx.db.patch(attachment._id, { stored: index + 1 });
    return { next: index + 1 };
  },
});

/** Takes an upload back. What a message has taken stays with it. */
export const drop = mutation({
  args: { id: v.string() },
  returns: v.null(),
  handler: async (ctx, { id }) => {
    const owner = await requireOwner(ctx);
    const attachment = await findAttachment(ctx, id);
    if (!attachment || attachment.messageId !== undefined) return null;
    if (attachment.owner !== owner) throw refusal("forbidden", `attachment ${id} belongs to somebody else`);
    await ctx.scheduler.runAfter(0, expireAttachment, { attachmentId: id });
    return null;
  },
});

/** A piece, for its owner. */
export const piece = query({
  args: { id: v.string(), index: v.number() },
  returns: v.string(),
  handler: async (ctx, { id, index }) => {
    const attachment = await ownedAttachment(ctx, await requireOwner(ctx), id);
    checkIndex("index", index);
    return await pieceOf(ctx, attachment.attachmentId, index);
  },
});

/** A piece, for the supervisor that has claimed the turn whose message the attachment goes along with. */
export const fetch = query({
  args: { token: v.string(), epoch: v.number(), turnId: v.string(), id: v.string(), index: v.number() },
  returns: v.string(),
  handler: async (ctx, { token, epoch, turnId, id, index }) => {
    const worker = await requireServing(ctx, token, epoch);
    const turn = asTurn(await findMessage(ctx, turnId));
    if (!turn) throw refusal("not_found", `turn ${turnId} does not exist here`);
    if (turn.workerId !== worker.workerId) throw refusal("forbidden", `turn ${turnId} belongs to another worker`);
    const prompt = await findMessage(ctx, turn.promptId);
    if (!prompt?.attachments?.some((one) => one.id === id)) {
      throw refusal("not_found", `attachment ${id} does not go along with the message of turn ${turnId}`);
    }
    checkIndex("index", index);
    return await pieceOf(ctx, id, index);
  },
});

/** Deletes what no message has taken, some pieces at a time. */
export const expire = internalMutation({
  args: { attachmentId: v.string() },
  returns: v.null(),
  handler: async (ctx, { attachmentId }) => {
    const attachment = await findAttachment(ctx, attachmentId);
    if (!attachment || attachment.messageId !== undefined) return null;
    // From here on no message can take it.
    await ctx.db.patch(attachment._id, { stored: 0, isGone: true });
    if (await deletePieces(ctx, attachmentId)) await ctx.db.delete(attachment._id);
    else await ctx.scheduler.runAfter(0, expireAttachment, { attachmentId });
    return null;
  },
});
