// The official npm ConvexHttpClient. It has no subscriptions: it asks again.

import { ConvexHttpClient } from "convex/browser";
import { makeFunctionReference } from "convex/server";
import { input, poll, runAll } from "./steps.mjs";

await runAll((identity) => {
  const client = new ConvexHttpClient(input.url);
  const token = input.tokens[identity];
  if (token) client.setAuth(token);
  const call = (kind, name, args) => client[kind](makeFunctionReference(name), args);
  return { call, watch: (name, args, to) => poll(() => call("query", name, args), to) };
});
process.exit(0);
