// "convex/load": what the host calls. It sees what modules export, starts functions, and reads errors.

import { inspect } from "convex/prelude";
import { convexToJson } from "convex/values";
import { functions } from "convex/server/functions";

/** Notes a module's functions; returns the JSON text of what the host has to know of them. */
export function collect(module, exports) {
  const found = [];
  for (const [name, exported] of Object.entries(exports)) {
    if (exported?.isConvexFunction !== true) continue;
    const path = `${module}:${name}`;
    functions.set(path, exported);
    found.push({
      path,
      kind: exported.isQuery ? "query" : "mutation",
      public: exported.isPublic === true,
      args: JSON.parse(exported.exportArgs()),
      returns: JSON.parse(exported.exportReturns()),
    });
  }
  return JSON.stringify(found);
}

export function exportSchema(exports) {
  if (exports.default?.isSchema !== true) throw new Error("the schema module must export `defineSchema(…)` as default");
  return exports.default.export();
}

/** Starts a function with arguments from the host; the promise gives the result's JSON text. */
export function invoke(path, args) {
  return functions.get(path).invoke(args);
}

/** What the host has to know of something thrown, as JSON text. */
export function describe(thrown) {
  const isError = typeof thrown === "object" && thrown !== null && "message" in thrown;
  if (!isError) return JSON.stringify({ message: inspect(thrown) });
  const described = { name: `${thrown.name}`, message: `${thrown.message}`, stack: `${thrown.stack ?? ""}` };
  if (thrown[Symbol.for("ConvexError")] === true) described.data = convexToJson(thrown.data);
  return JSON.stringify(described);
}
