// The row of what a worker's messages can name: one a worker, gone with it.

import type { Doc, MutationCtx, QueryCtx } from "./server";

export const CHOICE_MODELS = 500;
export const CHOICE_AGENTS = 50;

export async function choicesOf(ctx: QueryCtx, workerId: string): Promise<Doc<"workerChoices"> | null> {
  return await ctx.db
    .query("workerChoices")
    .withIndex("by_worker", (q) => q.eq("workerId", workerId))
    .unique();
}

export async function dropChoices(ctx: MutationCtx, workerId: string): Promise<void> {
  const known = await choicesOf(ctx, workerId);
  if (known) await ctx.db.delete(known._id);
}
