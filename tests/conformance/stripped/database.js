// Generated from tests/conformance/functions/database.ts by `npm run strip`: change that file, not this one.
// `ctx.db`: documents from insert to delete, and the ways to read many. Rows are in the table `notes`, whose index
// starts with a scope of the scenario's own.

import { mutationGeneric as mutation, queryGeneric as query } from "convex/server";

const strip = (row     ) => {
  if (row === null) return null;
  const { _id, _creationTime, scope, ...rest } = row;
  return rest;
};

const scoped = (ctx     , scope        ) => ctx.db.query("notes").withIndex("by_seq", (q     ) => q.eq("scope", scope));

export const insert = mutation({ handler: (ctx     , { table, doc }     ) => ctx.db.insert(table ?? "notes", doc) });

export const get = query({ handler: (ctx     , { id }     ) => ctx.db.get(id) });

/** Fields named in `unset` are patched to undefined, which removes them. */
export const patch = mutation({
  handler: async (ctx     , { id, set, unset }     ) => {
    for (const name of unset ?? []) set[name] = undefined;
    return await ctx.db.patch(id, set);
  },
});

export const replace = mutation({ handler: (ctx     , { id, doc }     ) => ctx.db.replace(id, doc) });

export const remove = mutation({ handler: (ctx     , { id }     ) => ctx.db.delete(id) });

export const fill = mutation({
  handler: async (ctx     , { scope, seqs }     ) => {
    for (const seq of seqs) await ctx.db.insert("notes", { scope, author: `a${seq}`, seq });
  },
});

/** What a range of the index gives: `steps` are [op, field, value], `read` is how. */
export const range = query({
  handler: async (ctx     , { scope, steps, order, read, count }     ) => {
    let found = ctx.db
      .query("notes")
      .withIndex("by_seq", (q     ) => (steps ?? []).reduce((q     , [op, field, value]     ) => q[op](field, value), q.eq("scope", scope)));
    if (order !== undefined) found = found.order(order);
    switch (read) {
      case "take":
        return (await found.take(count)).map((row     ) => row.seq);
      case "first":
        return strip(await found.first());
      case "unique":
        return strip(await found.unique());
      case "walk": {
        const seen            = [];
        for await (const row of found) {
          seen.push(row.seq);
          if (seen.length === count) break;
        }
        return seen;
      }
      default:
        return (await found.collect()).map((row     ) => row.seq);
    }
  },
});

/** Without an index: in the order of creation. */
export const created = query({
  handler: async (ctx     , { scope, order }     ) => {
    const rows = await ctx.db.query("notes").order(order ?? "asc").collect();
    return rows.filter((row     ) => row.scope === scope).map((row     ) => row.seq);
  },
});

export const steps = query({
  handler: async (ctx     , { index, list }     ) =>
    (await ctx.db.query("notes").withIndex(index, (q     ) => list.reduce((q     , [op, field, value]     ) => q[op](field, value), q)).collect()).length,
});

export const byCreation = query({
  handler: async (ctx     , { scope }     ) => {
    const rows = await scoped(ctx, scope).collect();
    const later = await ctx.db
      .query("notes")
      .withIndex("by_creation_time", (q     ) => q.gt("_creationTime", rows[0]._creationTime))
      .collect();
    return later.filter((row     ) => row.scope === scope).map((row     ) => row.seq);
  },
});

export const readTwice = query({
  handler: async (ctx     , { scope }     ) => {
    const found = scoped(ctx, scope);
    await found.collect();
    return (await found.collect()).length;
  },
});

export const normalize = query({ handler: (ctx     , { table, id }     ) => ctx.db.normalizeId(table, id) });

/** A mutation reads its own writes, by id and by index. */
export const ownWrites = mutation({
  handler: async (ctx     , { scope }     ) => {
    const id = await ctx.db.insert("notes", { scope, author: "x", seq: 1 });
    await ctx.db.patch(id, { seq: 2 });
    const found = await ctx.db.query("notes").withIndex("by_seq", (q     ) => q.eq("scope", scope).eq("seq", 2)).unique();
    const before = await ctx.db.query("notes").withIndex("by_seq", (q     ) => q.eq("scope", scope).eq("seq", 1)).first();
    await ctx.db.delete(id);
    return [found._id === id, before, await ctx.db.get(id)];
  },
});

/** A failure undoes everything. */
export const insertAndFail = mutation({
  handler: async (ctx     , { scope }     ) => {
    await ctx.db.insert("notes", { scope, author: "never seen", seq: 1 });
    throw new Error("on purpose");
  },
});

/** Writes made at the same time are all there. */
export const together = mutation({
  handler: async (ctx     , { scope }     ) => {
    await Promise.all([3, 1, 2].map((seq) => ctx.db.insert("notes", { scope, author: "p", seq })));
    return (await scoped(ctx, scope).collect()).map((row     ) => row.seq);
  },
});

export const writeInQuery = query({ handler: (ctx     , { scope }     ) => ctx.db.insert("notes", { scope, author: "x", seq: 1 }) });
