// Generated from convex/lib/stream.ts by `npm run strip`: change that file, not this one.
// A turn's stream: chunk items with indexes from 0, without gaps, each written once. Appending is idempotent on
// (turn, index) and writes chunk rows only, so that streaming wakes nobody but the readers of the last window.

import { ITEM_BYTES, exceeds, isIndex } from "./limits";



const PART_ID_CHARS = 256;

/** The index after the turn's last stored chunk. */
export async function nextIndex(ctx          , turnId        )                  {
  const last = await ctx.db
    .query("chunks")
    .withIndex("by_turn", (q) => q.eq("turnId", turnId))
    .order("desc")
    .first();
  return last ? last.index + 1 : 0;
}

;

/** Stores the items that are not there yet. Either all of them are in order or none is written. */
export async function appendItems(ctx             , turnId        , items        )                    {
  const next = await nextIndex(ctx, turnId);
  const fault = findFault(items, next);
  if (fault !== null) return { status: "invalid", nextIndex: next, message: fault };
  let end = next;
  for (const item of items) {
    if (item.index < next) continue;
    await ctx.db.insert("chunks", { turnId, ...item });
    end = item.index + 1;
  }
  return { status: "ok", nextIndex: end };
}

function findFault(items        , next        )                {
  let expected                = null;
  for (const item of items) {
    if (!isIndex(item.index)) return "an item's index must be a whole number from 0";
    if (expected !== null && item.index !== expected) {
      return `item ${item.index} follows item ${expected - 1}: indexes must rise one by one`;
    }
    if (expected === null && item.index > next) {
      return `item ${item.index} would leave a gap: go on with ${next}`;
    }
    if (item.partId.length === 0 || item.partId.length > PART_ID_CHARS) {
      return `the partId of item ${item.index} must have 1 to ${PART_ID_CHARS} characters`;
    }
    if (exceeds([item.content], ITEM_BYTES)) {
      return `item ${item.index} has more than ${ITEM_BYTES} bytes: split it`;
    }
    expected = item.index + 1;
  }
  return null;
}
