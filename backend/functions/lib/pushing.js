// Generated from convex/lib/pushing.ts by `npm run strip`: change that file, not this one.
// What of Web Push ends with something else.

import { PUSH_SENDERS } from "./limits";


/** The device is told nothing more: it was revoked, is forgotten, or has said so. One subscription a sender is all that it can have. */
export async function dropSubscriptions(ctx             , deviceId        )                {
  const rows = await ctx.db
    .query("pushSubscriptions")
    .withIndex("by_device", (q) => q.eq("deviceId", deviceId))
    .take(PUSH_SENDERS);
  for (const row of rows) await ctx.db.delete(row._id);
}
