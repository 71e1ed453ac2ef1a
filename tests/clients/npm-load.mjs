// Keeps mutations of `tests/durability/functions` in flight through one official npm ConvexClient, unchanged, until a
// line comes on stdin; then waits for all answers, and for its subscription to show the counter that they imply.
//
// usage: npm-load.mjs URL NAME CALLERS
// stdout: `put KEY`, `add KEY`, `schedule KEY` for each acknowledged mutation; `# COUNT` when all is over
// Exit codes: 0 all is well · 1 a mutation failed or a double was let through · 3 the subscription did not come back

import { ConvexClient } from "convex/browser";
import { makeFunctionReference } from "convex/server";

const LIMIT_MS = 60_000;

const [url, name, callers] = process.argv.slice(2);
// The client reports a reconnect with console.log, and stdout is for the acknowledgements.
console.log = console.error;
const say = (line) => process.stdout.write(`${line}\n`);
const fn = (path) => makeFunctionReference(path);

const client = new ConvexClient(url);
let shown = 0;
client.onUpdate(fn("ledger:count"), { name }, (count) => (shown = count));

let stopping = false;
let added = 0;

const kinds = {
  // Asked for twice at once: one of the two must find it new, and only one.
  async put(key) {
    const news = await Promise.all([0, 1].map(() => client.mutation(fn("ledger:put"), { key })));
    if (news[0] === news[1]) throw new Error(`both puts of ${key} say ${news[0]}`);
  },
  async add(key) {
    await client.mutation(fn("ledger:add"), { name, key });
    added += 1;
  },
  async schedule(key) {
    await client.mutation(fn("ledger:schedule"), { key, ms: Math.floor(Math.random() * 200) });
  },
};

async function call(caller) {
  const order = Object.keys(kinds);
  for (let n = 0; !stopping; n++) {
    const kind = order[(caller + n) % order.length];
    const key = `${name}-${caller}-${n}`;
    await kinds[kind](key);
    say(`${kind} ${key}`);
  }
}

process.stdin.once("data", () => (stopping = true));
try {
  await Promise.all(Array.from({ length: Number(callers) }, (_, caller) => call(caller)));
} catch (error) {
  console.error(error);
  process.exit(1);
}
const deadline = Date.now() + LIMIT_MS;
while (shown !== added) {
  if (Date.now() > deadline) {
    console.error(`the subscription shows ${shown} after ${added} additions`);
    process.exit(3);
  }
  await new Promise((resolve) => setTimeout(resolve, 20));
}
say(`# ${added}`);
await client.close();
process.exit(0);
