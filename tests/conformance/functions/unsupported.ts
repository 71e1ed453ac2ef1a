// What the embedded deployment does not do, each in a function of its own: it has to say so by name.

import { mutationGeneric as mutation, queryGeneric as query } from "convex/server";

export const filter = query({ handler: (ctx: any) => ctx.db.query("notes").filter((q: any) => q.eq(q.field("seq"), 1)).collect() });
export const paginate = query({ handler: (ctx: any) => ctx.db.query("notes").paginate({ numItems: 1, cursor: null }) });
export const search = query({ handler: (ctx: any) => ctx.db.query("notes").withSearchIndex("s", (q: any) => q.search("a", "b")).collect() });
export const system = query({ handler: (ctx: any) => ctx.db.system.query("_storage").collect() });
export const storage = query({ handler: (ctx: any) => ctx.storage.getUrl("x") });
export const storageInMutation = mutation({ handler: (ctx: any) => ctx.storage.generateUploadUrl() });
export const runAction = mutation({ handler: (ctx: any) => ctx.runAction("a:b", {}) });
export const fetching = query({ handler: () => fetch("http://127.0.0.1:1") as any });
export const timer = query({ handler: () => setTimeout(() => {}, 1) as any });
export const sign = query({ handler: () => crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-256" }, true, ["sign"]) as any });
