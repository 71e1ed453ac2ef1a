// Generated from convex/choices.ts by `npm run strip`: change that file, not this one.
// What a message to a worker can name besides its text: the models and agents that its assistant has. The supervisor reports
// them when an assistant has loaded; a page offers them.

import { v } from "convex/values";
import { choicesOf, CHOICE_AGENTS, CHOICE_MODELS } from "./lib/choosing";
import { refusal } from "./lib/errors";
import { MODEL_CHARS, NAME_CHARS, checkLine } from "./lib/limits";
import { ownedWorker, requireOwner } from "./lib/owners";
import { mutation, query } from "./lib/server";
import { requireApproved } from "./lib/tokens";
import { agentChoice, modelChoice } from "./lib/values";

/** The last report stands; the same again writes nothing. */
export const report = mutation({
  args: { token: v.string(), models: v.array(modelChoice), agents: v.array(agentChoice) },
  returns: v.null(),
  handler: async (ctx, { token, models, agents }) => {
    const { workerId, owner } = await requireApproved(ctx, token);
    if (models.length > CHOICE_MODELS || agents.length > CHOICE_AGENTS) {
      throw refusal("too_large", `a worker can offer ${CHOICE_MODELS} models and ${CHOICE_AGENTS} agents`);
    }
    for (const { id, name } of models) {
      checkLine("a model's id", id, MODEL_CHARS);
      if (name !== "") checkLine("a model's name", name, MODEL_CHARS);
    }
    for (const { name } of agents) checkLine("an agent's name", name, NAME_CHARS);
    const known = await choicesOf(ctx, workerId);
    if (known && JSON.stringify([known.models, known.agents]) === JSON.stringify([models, agents])) return null;
    if (known) await ctx.db.patch(known._id, { models, agents });
    else await ctx.db.insert("workerChoices", { workerId, owner, models, agents });
    return null;
  },
});

/** `null` until an assistant of the worker has loaded for the first time. */
export const get = query({
  args: { workerId: v.string() },
  returns: v.union(v.object({ models: v.array(modelChoice), agents: v.array(agentChoice) }), v.null()),
  handler: async (ctx, { workerId }) => {
    await ownedWorker(ctx, await requireOwner(ctx), workerId);
    const known = await choicesOf(ctx, workerId);
    return known && { models: known.models, agents: known.agents };
  },
});
