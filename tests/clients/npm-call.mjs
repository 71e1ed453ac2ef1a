// One call through the official npm ConvexHttpClient, unchanged: prints {"value"} or {"error": {"code", "message"}}.
// The owner's JWT comes from ORCHESTRATOR_OWNER_TOKEN; without it the call is made without an identity.
//
// usage: npm-call.mjs URL query|mutation MODULE:FUNCTION JSON
// Exit codes: 0 a value · 1 refused · 2 usage

import { ConvexHttpClient } from "convex/browser";
import { makeFunctionReference } from "convex/server";
import { ConvexError } from "convex/values";

const [url, kind, name, args] = process.argv.slice(2);
if (!args || !["query", "mutation"].includes(kind)) {
  console.error("usage: npm-call.mjs URL query|mutation MODULE:FUNCTION JSON");
  process.exit(2);
}
const client = new ConvexHttpClient(url);
const jwt = process.env.ORCHESTRATOR_OWNER_TOKEN;
if (jwt) client.setAuth(jwt);
try {
  console.log(JSON.stringify({ value: await client[kind](makeFunctionReference(name), JSON.parse(args)) }));
} catch (error) {
  const refused = error instanceof ConvexError ? error.data : { code: "client", message: String(error?.message ?? error) };
  console.log(JSON.stringify({ error: refused }));
  process.exitCode = 1;
}
