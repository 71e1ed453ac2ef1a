// What of Web Push ends with something else.

import { PUSH_SENDERS } from "./limits";
import type { MutationCtx } from "./server";

/** The device is told nothing more: it was revoked, is forgotten, or has said so. One subscription a sender is all that it can have. */
export async function dropSubscriptions(ctx: MutationCtx, deviceId: string): Promise<void> {
  const rows = await ctx.db
    .query("pushSubscriptions")
    .withIndex("by_device", (q) => q.eq("deviceId", deviceId))
    .take(PUSH_SENDERS);
  for (const row of rows) await ctx.db.delete(row._id);
}
