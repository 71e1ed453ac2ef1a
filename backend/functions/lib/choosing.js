// Generated from convex/lib/choosing.ts by `npm run strip`: change that file, not this one.
// The row of what a worker's messages can name: one a worker, gone with it.



export const CHOICE_MODELS = 500;
export const CHOICE_AGENTS = 50;

export async function choicesOf(ctx          , workerId        )                                       {
  return await ctx.db
    .query("workerChoices")
    .withIndex("by_worker", (q) => q.eq("workerId", workerId))
    .unique();
}

export async function dropChoices(ctx             , workerId        )                {
  const known = await choicesOf(ctx, workerId);
  if (known) await ctx.db.delete(known._id);
}
