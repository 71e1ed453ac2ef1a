// What the drivers in JavaScript share: reads the scenarios from stdin, takes one step after the other, and prints an
// outcome per step as a line of JSON. What a step should have given is not looked at here.
//
// A client is {call(kind, function, args), watch(function, args, {value, error})}; `connect(identity, scenario)` makes one.

import { readFileSync } from "node:fs";
import { ConvexError, convexToJson, jsonToConvex } from "convex/values";

const STEP_LIMIT_MS = 30_000;

/** As JSON writes it: not every reader takes it. */
const LONE_SURROGATE = /\\ud[89a-f][0-9a-f]{2}/g;

// Clients report with console.log, and stdout is for outcomes.
const print = (line) => process.stdout.write(`${JSON.stringify(line).replaceAll(LONE_SURROGATE, "\\ufffd")}\n`);
for (const level of ["log", "info", "debug", "warn"]) console[level] = console.error;

export const input = JSON.parse(readFileSync(0, "utf8"));

export async function runAll(connect) {
  for (const scenario of input.scenarios) {
    const run = new Run(connect, scenario);
    for (const [at, step] of scenario.steps.entries()) {
      print({ scenario: scenario.name, step: at, ...(await run.take(step)) });
    }
    await run.close();
  }
}

class Run {
  saved;
  scenario;
  clients = new Map();
  watches = new Map();

  constructor(connect, scenario) {
    this.connect = connect;
    this.scenario = scenario;
    this.saved = { run: scenario.run };
  }

  async take(step) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("no answer in time")), STEP_LIMIT_MS);
    });
    try {
      const value = toJson(await Promise.race([this.perform(step), late]));
      for (const [name, path] of Object.entries(step.save ?? {})) this.saved[name] = at(value, path);
      return { value };
    } catch (error) {
      if (isConvexError(error)) return { refused: toJson(error.data) };
      return { failed: String(error?.message ?? error) };
    } finally {
      clearTimeout(timer);
    }
  }

  async perform(step) {
    if (step.changed !== undefined) return await this.watches.get(step.changed).next();
    const client = await this.client(step.as);
    const name = step.query ?? step.mutation ?? step.subscribe;
    const args = jsonToConvex(fillIn(step.args ?? {}, this.saved));
    if (step.subscribe === undefined) return await client.call(step.query ? "query" : "mutation", name, args);
    const watch = new Watch(client, name, args);
    this.watches.set(step.id, watch);
    return await watch.next();
  }

  async client(identity) {
    if (!this.clients.has(identity)) this.clients.set(identity, await this.connect(identity, this.scenario));
    return this.clients.get(identity);
  }

  async close() {
    for (const watch of this.watches.values()) watch.end();
    for (const client of this.clients.values()) await client.close?.();
  }
}

/** A subscription as the scenarios see it: the next result that differs from the last one they have seen. */
class Watch {
  #seen;
  #latest;
  #wake = () => {};
  #end;

  constructor(client, name, args) {
    const arrived = (outcome) => {
      this.#latest = outcome;
      this.#wake();
    };
    this.#end = client.watch(name, args, {
      value: (value) => arrived({ key: JSON.stringify(toJson(value)), value }),
      error: (error) => arrived({ key: `error ${error.message}`, error }),
    });
  }

  async next() {
    while (this.#latest === undefined || this.#latest.key === this.#seen) {
      await new Promise((resolve) => (this.#wake = resolve));
    }
    const { key, value, error } = this.#latest;
    this.#seen = key;
    if (error) throw error;
    return value;
  }

  end() {
    this.#end();
  }
}

/** A subscription for clients that have none: asks again and again. */
export function poll(ask, { value, error }) {
  let ended = false;
  (async () => {
    while (!ended) {
      await ask().then(value, error);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  return () => {
    ended = true;
  };
}

const toJson = (value) => (value === undefined ? { $undefined: true } : convexToJson(value));

const isConvexError = (error) => error instanceof ConvexError || error?.[Symbol.for("ConvexError")] === true;

/** Puts what was saved in the place of `${name}`. */
function fillIn(value, saved) {
  if (typeof value === "string") {
    const whole = /^\$\{(\w+)\}$/.exec(value);
    if (whole) return saved[whole[1]];
    return value.replaceAll(/\$\{(\w+)\}/g, (_, name) => saved[name]);
  }
  if (Array.isArray(value)) return value.map((item) => fillIn(item, saved));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, fillIn(field, saved)]));
}

function at(value, path) {
  return path.split(".").filter(Boolean).reduce((value, name) => value?.[name], value);
}
