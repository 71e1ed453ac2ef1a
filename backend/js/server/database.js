// `ctx.db`: a thin face over the host's operations, which are synchronous; only the promises are made here.

import host from "convex/host";
import { convexToJson, receive, send } from "convex/values";
import { unsupported } from "convex/server/unsupported";

// ---- queries

class RangeBuilder {
  constructor(steps) {
    this.steps = steps;
  }

  #step(op, field, value) {
    const step = { op, field };
    if (value !== undefined) step.value = convexToJson(value);
    return new RangeBuilder([...this.steps, step]);
  }

  eq(field, value) {
    return this.#step("eq", field, value);
  }

  gt(field, value) {
    return this.#step("gt", field, value);
  }

  gte(field, value) {
    return this.#step("gte", field, value);
  }

  lt(field, value) {
    return this.#step("lt", field, value);
  }

  lte(field, value) {
    return this.#step("lte", field, value);
  }
}

class Query {
  #table;
  #index = "";
  #range = "[]";
  #descending;
  #used = false;

  constructor(table) {
    this.#table = table;
  }

  #open() {
    if (this.#used) throw new Error("This query has been read already: a query can be read only once");
    this.#used = true;
    return [this.#table, this.#index, this.#range, this.#descending ?? false];
  }

  withIndex(name, build) {
    if (this.#index !== "") throw new Error("`withIndex` can be used only once in a query");
    this.#index = name;
    if (build !== undefined) {
      const range = build(new RangeBuilder([]));
      if (!(range instanceof RangeBuilder)) throw new Error("`withIndex` needs `(q) => q.eq(…)…`");
      this.#range = JSON.stringify(range.steps);
    }
    return this;
  }

  fullTableScan() {
    return this;
  }

  order(order) {
    if (order !== "asc" && order !== "desc") throw new Error(`order must be "asc" or "desc", not ${order}`);
    if (this.#descending !== undefined) throw new Error("`order` can be used only once in a query");
    this.#descending = order === "desc";
    return this;
  }

  async collect() {
    return receive(host.scan(...this.#open(), -1));
  }

  async take(count) {
    if (!Number.isInteger(count) || count < 0) throw new Error(`take needs a non-negative integer, not ${count}`);
    return receive(host.scan(...this.#open(), count));
  }

  async first() {
    return receive(host.scan(...this.#open(), 1))[0] ?? null;
  }

  async unique() {
    const found = receive(host.scan(...this.#open(), 2));
    if (found.length > 1) {
      const ids = found.map((document) => document._id).join(", ");
      throw new Error(`unique() query returned more than one result from table ${this.#table}: ${ids}, …`);
    }
    return found[0] ?? null;
  }

  async *[Symbol.asyncIterator]() {
    const cursor = host.openCursor(...this.#open());
    for (;;) {
      const row = host.nextRow(cursor);
      if (row === null) return;
      yield receive(row);
    }
  }

  filter() {
    return unsupported("filter", "use `withIndex`, or filter the documents in code");
  }

  paginate() {
    return unsupported("paginate", "use an index range and `take`");
  }

  withSearchIndex() {
    return unsupported("withSearchIndex");
  }

  count() {
    return unsupported("count");
  }
}

// ---- the database

function idOf(id, verb) {
  if (typeof id !== "string") throw new Error(`Invalid argument \`id\` for \`db.${verb}\`: it must be a string`);
  return id;
}

class Reader {
  async get(...args) {
    return receive(host.get(idOf(args.at(-1), "get")));
  }

  query(table) {
    return new Query(table);
  }

  normalizeId(table, id) {
    return host.normalizeId(table, id);
  }

  get system() {
    return unsupported("ctx.db.system");
  }
}

for (const verb of ["insert", "patch", "replace", "delete"]) {
  Reader.prototype[verb] = async () => {
    throw new Error(`\`db.${verb}\` is not available in a query`);
  };
}

// Newer clients name the table first (`patch(table, id, fields)`): the id says it anyway.
class Writer extends Reader {
  async insert(table, document) {
    return host.insert(table, send(document));
  }

  async patch(...args) {
    const [id, fields] = args.slice(-2);
    const unset = Object.keys(fields).filter((name) => fields[name] === undefined);
    host.patch(idOf(id, "patch"), send(fields), unset);
  }

  async replace(...args) {
    const [id, document] = args.slice(-2);
    host.replace(idOf(id, "replace"), send(document));
  }

  async delete(...args) {
    host.delete(idOf(args.at(-1), "delete"));
  }
}

export const reader = Object.freeze(new Reader());
export const writer = Object.freeze(new Writer());
