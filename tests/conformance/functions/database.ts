// `ctx.db`: documents from insert to delete, and the ways to read many. Rows are in the table `notes`, whose index
// starts with a scope of the scenario's own.

import { mutationGeneric as mutation, queryGeneric as query } from "convex/server";

const strip = (row: any) => {
  if (row === null) return null;
  const { _id, _creationTime, scope, ...rest } = row;
  return rest;
};

const scoped = (ctx: any, scope: string) => ctx.db.query("notes").withIndex("by_seq", (q: any) => q.eq("scope", scope));

export const insert = mutation({ handler: (ctx: any, { table, doc }: any) => ctx.db.insert(table ?? "notes", doc) });

export const get = query({ handler: (ctx: any, { id }: any) => ctx.db.get(id) });

/** Fields named in `unset` are patched to undefined, which removes them. */
export const patch = mutation({
  handler: async (ctx: any, { id, set, unset }: any) => {
    for (const name of unset ?? []) set[name] = undefined;
    return await ctx.db.patch(id, set);
  },
});

export const replace = mutation({ handler: (ctx: any, { id, doc }: any) => ctx.db.replace(id, doc) });

export const remove = mutation({ handler: (ctx: any, { id }: any) => ctx.db.delete(id) });

export const fill = mutation({
  handler: async (ctx: any, { scope, seqs }: any) => {
    for (const seq of seqs) await ctx.db.insert("notes", { scope, author: `a${seq}`, seq });
  },
});

/** What a range of the index gives: `steps` are [op, field, value], `read` is how. */
export const range = query({
  handler: async (ctx: any, { scope, steps, order, read, count }: any) => {
    let found = ctx.db
      .query("notes")
      .withIndex("by_seq", (q: any) => (steps ?? []).reduce((q: any, [op, field, value]: any) => q[op](field, value), q.eq("scope", scope)));
    if (order !== undefined) found = found.order(order);
    switch (read) {
      case "take":
        return (await found.take(count)).map((row: any) => row.seq);
      case "first":
        return strip(await found.first());
      case "unique":
        return strip(await found.unique());
      case "walk": {
        const seen: unknown[] = [];
        for await (const row of found) {
          seen.push(row.seq);
          if (seen.length === count) break;
        }
        return seen;
      }
      default:
        return (await found.collect()).map((row: any) => row.seq);
    }
  },
});

/** Without an index: in the order of creation. */
export const created = query({
  handler: async (ctx: any, { scope, order }: any) => {
    const rows = await ctx.db.query("notes").order(order ?? "asc").collect();
    return rows.filter((row: any) => row.scope === scope).map((row: any) => row.seq);
  },
});

export const steps = query({
  handler: async (ctx: any, { index, list }: any) =>
    (await ctx.db.query("notes").withIndex(index, (q: any) => list.reduce((q: any, [op, field, value]: any) => q[op](field, value), q)).collect()).length,
});

export const byCreation = query({
  handler: async (ctx: any, { scope }: any) => {
    const rows = await scoped(ctx, scope).collect();
    const later = await ctx.db
      .query("notes")
      .withIndex("by_creation_time", (q: any) => q.gt("_creationTime", rows[0]._creationTime))
      .collect();
    return later.filter((row: any) => row.scope === scope).map((row: any) => row.seq);
  },
});

export const readTwice = query({
  handler: async (ctx: any, { scope }: any) => {
    const found = scoped(ctx, scope);
    await found.collect();
    return (await found.collect()).length;
  },
});

export const normalize = query({ handler: (ctx: any, { table, id }: any) => ctx.db.normalizeId(table, id) });

/** A mutation reads its own writes, by id and by index. */
export const ownWrites = mutation({
  handler: async (ctx: any, { scope }: any) => {
    const id = await ctx.db.insert("notes", { scope, author: "x", seq: 1 });
    await ctx.db.patch(id, { seq: 2 });
    const found = await ctx.db.query("notes").withIndex("by_seq", (q: any) => q.eq("scope", scope).eq("seq", 2)).unique();
    const before = await ctx.db.query("notes").withIndex("by_seq", (q: any) => q.eq("scope", scope).eq("seq", 1)).first();
    await ctx.db.delete(id);
    return [found._id === id, before, await ctx.db.get(id)];
  },
});

/** A failure undoes everything. */
export const insertAndFail = mutation({
  handler: async (ctx: any, { scope }: any) => {
    await ctx.db.insert("notes", { scope, author: "never seen", seq: 1 });
    throw new Error("on purpose");
  },
});

/** Writes made at the same time are all there. */
export const together = mutation({
  handler: async (ctx: any, { scope }: any) => {
    await Promise.all([3, 1, 2].map((seq) => ctx.db.insert("notes", { scope, author: "p", seq })));
    return (await scoped(ctx, scope).collect()).map((row: any) => row.seq);
  },
});

export const writeInQuery = query({ handler: (ctx: any, { scope }: any) => ctx.db.insert("notes", { scope, author: "x", seq: 1 }) });
