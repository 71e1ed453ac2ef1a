// Holds one turn through the official npm client, unchanged: subscribes to `messages:list`, sends a message with
// `messages:send`, waits until the turn is over and prints one JSON object:
//
//   {"sessionId", "turnId", "state", "answer", "parts", "error", "updates"}
//
// `updates` counts the results that the subscription delivered. The owner's JWT comes from --jwt, or better from
// ORCHESTRATOR_OWNER_TOKEN, where no process list shows it.
//
// Exit codes: 0 the turn is complete · 1 it ended otherwise, or a call was refused · 2 usage · 3 the time is up

import { parseArgs } from "node:util";
import { randomUUID } from "node:crypto";
import { ConvexClient } from "convex/browser";
import { makeFunctionReference } from "convex/server";
import { ConvexError } from "convex/values";

const USAGE = "usage: npm-chat.mjs --url URL (--session ID | --worker ID) --text TEXT [--jwt JWT] [--timeout SECONDS]";
const OPEN = ["queued", "claimed"];
const WINDOW = 32;

// The client reports a reconnect with console.log, and stdout is for the result.
console.log = console.error;
const print = (result) => process.stdout.write(`${JSON.stringify(result)}\n`);

const fn = (name) => makeFunctionReference(name);

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        url: { type: "string" },
        jwt: { type: "string", default: process.env.ORCHESTRATOR_OWNER_TOKEN },
        session: { type: "string" },
        worker: { type: "string" },
        text: { type: "string" },
        timeout: { type: "string", default: "60" },
      },
    });
    const complete = values.url && values.jwt && values.text && !values.session !== !values.worker;
    if (complete && Number(values.timeout) > 0) return values;
  } catch (error) {
    console.error(error.message);
  }
  console.error(USAGE);
  process.exit(2);
}

/** Resolves with the turn's row as soon as the subscription shows it closed. */
function turnIsOver(client, sessionId, turnId, counted) {
  return new Promise((resolve, reject) => {
    client.onUpdate(
      fn("messages:list"),
      { sessionId, limit: 20 },
      ({ messages }) => {
        counted.updates += 1;
        const turn = messages.find((message) => message.id === turnId);
        if (turn && !OPEN.includes(turn.state)) resolve(turn);
      },
      reject,
    );
  });
}

/** The answer's parts, wherever they are: in the list, in pages of their own, or still in chunks. */
async function readParts(client, turn) {
  if (turn.parts) return turn.parts;
  return turn.folded ? await readFolded(client, turn.id) : await foldChunks(client, turn.id);
}

async function readFolded(client, turnId) {
  const parts = new Map();
  for (let from = 0; from !== null; ) {
    const page = await client.query(fn("messages:parts"), { turnId, from });
    for (const { partId, kind, text } of page.parts) {
      const before = parts.get(partId)?.text ?? "";
      parts.set(partId, { partId, kind, text: before + text });
    }
    from = page.next;
  }
  return [...parts.values()];
}

async function foldChunks(client, turnId) {
  const parts = new Map();
  for (let from = 0; ; from += WINDOW) {
    const { items, folded } = await client.query(fn("chunks:page"), { turnId, from });
    if (folded) return await readFolded(client, turnId);
    for (const { partId, kind, content } of items) {
      const part = parts.get(partId) ?? { partId, kind, text: "" };
      const anew = kind === "reset" || kind === "tool" || kind !== part.kind;
      parts.set(partId, {
        partId,
        kind: kind === "reset" ? part.kind : kind,
        text: (anew ? "" : part.text) + (kind === "reset" ? "" : content),
      });
    }
    if (items.length < WINDOW) break;
  }
  return [...parts.values()].filter((part) => part.text !== "");
}

async function chat(client, options) {
  const id = `npm-${randomUUID()}`;
  let sessionId = options.session;
  if (!sessionId) {
    // Started by itself, so that the subscription is there before the message.
    sessionId = `session_${id}`;
    await client.mutation(fn("sessions:start"), { id: sessionId, workerId: options.worker });
  }
  const counted = { updates: 0 };
  const turnId = `turn_${id}`;
  const over = turnIsOver(client, sessionId, turnId, counted);
  over.catch(() => {}); // It is awaited below, unless sending fails first.
  await client.mutation(fn("messages:send"), { id, sessionId, content: options.text });
  const turn = await over;
  const parts = await readParts(client, turn);
  const answer = parts.filter(({ kind }) => kind === "text").map(({ text }) => text).join("");
  const { state, error = null } = turn;
  return { sessionId, turnId: turn.id, state, answer, parts, error, updates: counted.updates };
}

const options = readOptions();
const client = new ConvexClient(options.url);
client.setAuth(async () => options.jwt);
const deadline = setTimeout(() => {
  console.error(`the turn did not end within ${options.timeout} s`);
  process.exit(3);
}, Number(options.timeout) * 1_000);
let exitCode = 1;
try {
  const result = await chat(client, options);
  print(result);
  if (result.state === "complete") exitCode = 0;
} catch (error) {
  const refused = error instanceof ConvexError ? error.data : { code: "client", message: String(error?.message ?? error) };
  print({ error: refused });
}
clearTimeout(deadline);
await client.close();
process.exit(exitCode);
