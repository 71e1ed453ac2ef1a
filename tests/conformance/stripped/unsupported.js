// Generated from tests/conformance/functions/unsupported.ts by `npm run strip`: change that file, not this one.
// What the embedded deployment does not do, each in a function of its own: it has to say so by name.

import { mutationGeneric as mutation, queryGeneric as query } from "convex/server";

export const filter = query({ handler: (ctx     ) => ctx.db.query("notes").filter((q     ) => q.eq(q.field("seq"), 1)).collect() });
export const paginate = query({ handler: (ctx     ) => ctx.db.query("notes").paginate({ numItems: 1, cursor: null }) });
export const search = query({ handler: (ctx     ) => ctx.db.query("notes").withSearchIndex("s", (q     ) => q.search("a", "b")).collect() });
export const system = query({ handler: (ctx     ) => ctx.db.system.query("_storage").collect() });
export const storage = query({ handler: (ctx     ) => ctx.storage.getUrl("x") });
export const storageInMutation = mutation({ handler: (ctx     ) => ctx.storage.generateUploadUrl() });
export const runAction = mutation({ handler: (ctx     ) => ctx.runAction("a:b", {}) });
export const fetching = query({ handler: () => fetch("http://127.0.0.1:1")        });
export const timer = query({ handler: () => setTimeout(() => {}, 1)        });
export const sign = query({ handler: () => crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-256" }, true, ["sign"])        });
