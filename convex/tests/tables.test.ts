// Which tables a function touches: what it reads decides when a subscription runs again, so these are promises.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import * as chunks from "../chunks";
import * as messages from "../messages";
import * as presence from "../presence";
import * as sessions from "../sessions";
import * as work from "../work";
import { api, append, claimedTurn, deployment, finish, item, ownerOf, servedWorker, type Deployment } from "./deployment.fixture";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

interface Touched {
  reads: string[];
  writes: string[];
}

/** Runs a function's handler over a database that notes the tables of what is read and written. */
async function touched(t: Pick<Deployment, "run">, fn: unknown, args: object): Promise<Touched> {
  const reads = new Set<string>();
  const writes = new Set<string>();
  const { _handler: handler } = fn as { _handler: (ctx: object, args: object) => Promise<unknown> };
  await t.run(async (ctx) => {
    const tables = new Map<unknown, string>();
    const noting = (table: string, value: object | null) => {
      if (value && "_id" in value) tables.set(value._id, table);
      return value;
    };
    const db = new Proxy(ctx.db, {
      get(target, name: keyof typeof ctx.db) {
        if (name === "query") {
          return (table: never) => {
            reads.add(table);
            return notingQuery(target.query(table), (row) => noting(table, row));
          };
        }
        if (name === "insert") {
          return (table: never, row: never) => {
            writes.add(table);
            return target.insert(table, row);
          };
        }
        if (name === "patch" || name === "replace" || name === "delete") {
          return (id: never, value: never) => {
            writes.add(tables.get(id) ?? `an unread ${id}`);
            return Reflect.apply(target[name], target, [id, value]);
          };
        }
        return target[name];
      },
    });
    const identity = { tokenIdentifier: "https://orchestrator.local|owner" };
    await handler({ ...ctx, db, auth: { getUserIdentity: async () => identity } }, args);
  });
  return { reads: [...reads].sort(), writes: [...writes].sort() };
}

/** The query, with every row that comes out of it shown to `note`. */
function notingQuery<Query extends object>(query: Query, note: (row: object | null) => object | null): Query {
  return new Proxy(query, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const out = value.apply(target, args);
        if (name === "withIndex" || name === "order") return notingQuery(out, note);
        if (!(out instanceof Promise)) return out;
        return out.then((rows) => (Array.isArray(rows) ? rows.map(note) : note(rows)));
      };
    },
  });
}

async function busySession() {
  const t = deployment();
  const worker = await servedWorker(t);
  const turnId = await claimedTurn(t, worker);
  await append(t, worker, turnId, [item(0, "a")]);
  return { t: t as Pick<Deployment, "run">, whole: t, worker, turnId };
}

test("work:inbox reads neither presence nor any text", async () => {
  const { t, worker } = await busySession();
  const { reads } = await touched(t, work.inbox, worker);
  expect(reads).toEqual(["credentials", "machineCommands", "messages", "permissions", "sessions", "tasks", "workers"]);
});

test("a beat writes presence alone", async () => {
  const { t, worker } = await busySession();
  expect((await touched(t, presence.beat, worker)).writes).toEqual(["presence"]);
});

test("an append writes chunks alone", async () => {
  const { t, worker, turnId } = await busySession();
  const batches = [{ ...worker, turn: turnId, items: [item(1, "b")] }];
  expect(await touched(t, chunks.append, { batches })).toEqual({
    reads: ["chunks", "credentials", "messages", "workers"],
    writes: ["chunks"],
  });
});

test("messages:list never reads chunks, nor the session's row", async () => {
  const { t, whole, worker, turnId } = await busySession();
  const list = () => touched(t, messages.list, { sessionId: "session_a" });
  expect((await list()).reads).toEqual(["contents", "messages"]);
  await finish(whole, worker, turnId, [item(1, "b")]);
  expect((await list()).reads).toEqual(["contents", "messages", "parts"]);
});

test("chunks:page reads the turn and its chunks", async () => {
  const { t, turnId } = await busySession();
  expect((await touched(t, chunks.page, { turnId, from: 0 })).reads).toEqual(["chunks", "messages"]);
});

test("saying the same again writes nothing, so that nobody is woken", async () => {
  const { t, whole, worker, turnId } = await busySession();
  const session = { ...worker, sessionId: "session_a" };
  await whole.mutation(api.sessions.setStatus, { ...session, status: "active" });
  expect((await touched(t, sessions.setStatus, { ...session, status: "active" })).writes).toEqual([]);
  const batches = [{ ...worker, turn: turnId, items: [item(0, "a")] }];
  expect((await touched(t, chunks.append, { batches })).writes).toEqual([]);
  expect((await touched(t, messages.claim, { ...worker, turnId })).writes).toEqual([]);
  const again = { id: "a", workerId: "w1", content: "text of a" };
  expect((await touched(t, messages.send, again)).writes).toEqual([]);
  await ownerOf(whole).mutation(api.messages.abort, { turnId });
  expect((await touched(t, messages.abort, { turnId })).writes).toEqual([]);
});
