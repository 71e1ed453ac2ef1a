// Registering functions and running them: what `query({args, returns, handler})` makes, and the `ctx` a handler gets.

import host from "convex/host";
import { asObjectValidator, receive, send, v } from "convex/values";
import { reader, writer } from "convex/server/database";
import { getFunctionName } from "convex/server/references";
import { unsupported } from "convex/server/unsupported";

function register(kind, isPublic, definition) {
  const handler = typeof definition === "function" ? definition : definition?.handler;
  if (typeof handler !== "function") throw new Error(`a ${kind} needs a handler`);
  const { args, returns } = definition;
  const registered = (ctx, given) => handler(ctx, given);
  return Object.assign(registered, {
    isConvexFunction: true,
    [kind === "query" ? "isQuery" : "isMutation"]: true,
    [isPublic ? "isPublic" : "isInternal"]: true,
    exportArgs: () => JSON.stringify((args === undefined ? v.any() : asObjectValidator(args)).json),
    exportReturns: () => JSON.stringify(returns === undefined ? null : asReturns(returns).json),
    invoke: (given) => invoke(kind, handler, given),
  });
}

const asReturns = (returns) => (returns === null ? v.any() : asObjectValidator(returns));

async function invoke(kind, handler, given) {
  const result = await handler(kind === "mutation" ? new MutationContext() : new QueryContext(), receive(given));
  return send(result === undefined ? null : result);
}

// ---- the context of a handler

const auth = Object.freeze({
  async getUserIdentity() {
    return receive(host.identity());
  },
});

const dateOf = (time) => (time instanceof Date ? time.getTime() : time);

const scheduler = Object.freeze({
  async runAfter(delayMs, target, args) {
    if (typeof delayMs !== "number" || !Number.isFinite(delayMs) || delayMs < 0) {
      throw new Error(`runAfter needs a non-negative number of milliseconds, not ${delayMs}`);
    }
    return host.schedule(host.now() + delayMs, getFunctionName(target), send(args ?? {}));
  },
  async runAt(time, target, args) {
    return host.schedule(dateOf(time), getFunctionName(target), send(args ?? {}));
  },
  async cancel(id) {
    host.cancel(id);
  },
});

// What is not there are getters of the prototype: `{ ...ctx }` does not touch them.
class Context {
  get storage() {
    return unsupported("ctx.storage");
  }

  get vectorSearch() {
    return unsupported("ctx.vectorSearch");
  }

  get runAction() {
    return unsupported("ctx.runAction");
  }
}

class QueryContext extends Context {
  db = reader;
  auth = auth;
  runQuery = turns()("query");

  get scheduler() {
    throw new Error("`ctx.scheduler` is not available in a query");
  }

  get runMutation() {
    throw new Error("`ctx.runMutation` is not available in a query");
  }
}

class MutationContext extends Context {
  db = writer;
  auth = auth;
  scheduler = scheduler;

  constructor() {
    super();
    const nested = turns();
    this.runQuery = nested("query");
    this.runMutation = nested("mutation");
  }
}

/** Nested calls of one function take turns: each is undone alone when it fails. */
function turns() {
  let turn = Promise.resolve();
  return (wanted) => (target, args) => {
    const run = turn.then(() => runNested(wanted, target, args));
    turn = run.catch(() => {});
    return run;
  };
}

async function runNested(kind, target, args) {
  const path = getFunctionName(target);
  const given = host.beginNested(path, kind, send(args ?? {}));
  let result;
  try {
    result = await functions.get(path).invoke(given);
  } catch (error) {
    host.endNested(path, false, "");
    throw error;
  }
  return receive(host.endNested(path, true, result));
}

/** All functions of the deployment by `module:name`; the loader fills it. */
export const functions = new Map();

export const queryGeneric = (definition) => register("query", true, definition);
export const internalQueryGeneric = (definition) => register("query", false, definition);
export const mutationGeneric = (definition) => register("mutation", true, definition);
export const internalMutationGeneric = (definition) => register("mutation", false, definition);
