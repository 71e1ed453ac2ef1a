// The official npm ConvexClient, over its WebSocket.

import { ConvexClient } from "convex/browser";
import { makeFunctionReference } from "convex/server";
import { input, runAll } from "./steps.mjs";

await runAll((identity) => {
  const client = new ConvexClient(input.url, { unsavedChangesWarning: false });
  const token = input.tokens[identity];
  if (token) client.setAuth(async () => token);
  return {
    call: (kind, name, args) => client[kind](makeFunctionReference(name), args),
    watch: (name, args, { value, error }) => client.onUpdate(makeFunctionReference(name), args, value, error),
    close: () => client.close(),
  };
});
process.exit(0);
