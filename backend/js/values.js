// "convex/values": the JSON encoding of values, validators, ConvexError.
//
// Validators here only describe: checking arguments, results and documents is the host's job, from their `json`.

import { latin } from "convex/bytes";
import host from "convex/host";

const CONVEX_ERROR = Symbol.for("ConvexError");

// ---- the JSON encoding

/** A value as JSON can carry it. Fields that are `undefined` are left out, anything else that is no value throws. */
export function convexToJson(value) {
  return encode(value, "");
}

function encode(value, path) {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      if (Number.isFinite(value) && !Object.is(value, -0)) return value;
      return { $float: base64Of((view) => view.setFloat64(0, value, true)) };
    case "bigint":
      if (value < -(2n ** 63n) || value >= 2n ** 63n) {
        throw new Error(`BigInt ${value} does not fit into a 64-bit signed integer${at(path)}`);
      }
      return { $integer: base64Of((view) => view.setBigInt64(0, value, true)) };
    case "object":
      return value === null ? null : encodeObject(value, path);
    case "undefined":
      throw new Error(`undefined is not a valid Convex value${at(path)}`);
    default:
      throw new Error(`${typeof value} is not a supported Convex type${at(path)}`);
  }
}

function encodeObject(value, path) {
  if (Array.isArray(value)) {
    return Array.from(value, (item, index) => encode(item, `${path}[${index}]`));
  }
  if (value instanceof ArrayBuffer) return { $bytes: host.base64Encode(latin(value)) };
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) {
    const name = value.constructor?.name || "a class instance";
    const hint = ArrayBuffer.isView(value) ? " (pass its ArrayBuffer)" : "";
    throw new Error(`${name} is not a supported Convex type${hint}${at(path)}`);
  }
  const encoded = {};
  for (const name of Object.keys(value)) {
    if (value[name] === undefined) continue;
    if (name.startsWith("$")) throw new Error(`Field ${name} starts with a '$', which is reserved${at(path)}`);
    // Never plain assignment: the name may be `__proto__`.
    const field = encode(value[name], `${path}.${name}`);
    if (name === "__proto__") Object.defineProperty(encoded, name, { value: field, enumerable: true });
    else encoded[name] = field;
  }
  return encoded;
}

const at = (path) => (path === "" ? "" : ` (at path ${path})`);

function base64Of(fill) {
  const view = new DataView(new ArrayBuffer(8));
  fill(view);
  return host.base64Encode(latin(view.buffer));
}

const viewOf = (text) => new DataView(host.base64Decode(text));

/** The value that some JSON encodes. */
export function jsonToConvex(json) {
  if (json === null || typeof json !== "object") return json;
  if (Array.isArray(json)) return json.map(jsonToConvex);
  const names = Object.keys(json);
  if (names.length === 1) {
    switch (names[0]) {
      case "$float":
        return viewOf(json.$float).getFloat64(0, true);
      case "$integer":
        return viewOf(json.$integer).getBigInt64(0, true);
      case "$bytes":
        return host.base64Decode(json.$bytes);
    }
  }
  for (const name of names) json[name] = jsonToConvex(json[name]);
  return json;
}

/** What the host hands over is parsed already; only what needs decoding is marked with `$raw`. */
export function receive(value) {
  return value !== null && typeof value === "object" && "$raw" in value ? jsonToConvex(value.$raw) : value;
}

export const send = (value) => JSON.stringify(convexToJson(value));

// ---- errors

export class ConvexError extends Error {
  name = "ConvexError";
  data;

  constructor(data) {
    super(typeof data === "string" ? data : JSON.stringify(data === undefined ? null : convexToJson(data)));
    this.data = data === undefined ? null : data;
    this[CONVEX_ERROR] = true;
  }
}

// ---- validators

class Validator {
  isConvexValidator = true;
  isOptional = "required";

  constructor(kind, describe, properties = {}) {
    this.kind = kind;
    Object.defineProperty(this, "describe", { value: describe });
    Object.assign(this, properties);
  }

  get json() {
    return this.describe();
  }

  optional() {
    return optional(this);
  }
}

class ObjectValidator extends Validator {
  constructor(fields) {
    for (const [name, field] of Object.entries(fields)) {
      if (!field?.isConvexValidator) throw new Error(`v.object: field \`${name}\` is not a validator`);
    }
    super("object", () => ({ type: "object", value: fieldsJson(fields) }), { fields });
  }

  omit(...names) {
    return new ObjectValidator(pick(this.fields, (name) => !names.includes(name)));
  }

  pick(...names) {
    return new ObjectValidator(pick(this.fields, (name) => names.includes(name)));
  }

  partial() {
    return new ObjectValidator(Object.fromEntries(Object.entries(this.fields).map(([k, f]) => [k, optional(f)])));
  }

  extend(fields) {
    return new ObjectValidator({ ...this.fields, ...fields });
  }
}

const pick = (fields, wanted) => Object.fromEntries(Object.entries(fields).filter(([name]) => wanted(name)));

const fieldJson = (field) => ({ fieldType: field.json, optional: field.isOptional === "optional" });

const fieldsJson = (fields) => Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, fieldJson(field)]));

function optional(validator) {
  if (!validator?.isConvexValidator) throw new Error("v.optional needs a validator");
  const copy = Object.create(Object.getPrototypeOf(validator), Object.getOwnPropertyDescriptors(validator));
  copy.isOptional = "optional";
  return copy;
}

function required(validator, where) {
  if (!validator?.isConvexValidator) throw new Error(`${where} needs a validator`);
  if (validator.isOptional === "optional") throw new Error(`${where} cannot hold an optional validator`);
  return validator;
}

const scalar = (kind, type) => () => new Validator(kind, () => ({ type }));

export const v = {
  any: scalar("any", "any"),
  null: scalar("null", "null"),
  number: scalar("float64", "number"),
  float64: scalar("float64", "number"),
  bigint: scalar("int64", "bigint"),
  int64: scalar("int64", "bigint"),
  boolean: scalar("boolean", "boolean"),
  string: scalar("string", "string"),
  bytes: scalar("bytes", "bytes"),
  id: (tableName) => {
    if (typeof tableName !== "string") throw new Error("v.id needs a table name");
    return new Validator("id", () => ({ type: "id", tableName }), { tableName });
  },
  literal: (value) => new Validator("literal", () => ({ type: "literal", value: convexToJson(value) }), { value }),
  array: (element) => {
    required(element, "v.array");
    return new Validator("array", () => ({ type: "array", value: element.json }), { element });
  },
  object: (fields) => new ObjectValidator(fields),
  union: (...members) => {
    for (const member of members) required(member, "v.union");
    return new Validator("union", () => ({ type: "union", value: members.map((member) => member.json) }), { members });
  },
  record: (key, value) => {
    required(key, "v.record");
    required(value, "v.record");
    const describe = () => ({ type: "record", keys: key.json, values: fieldJson(value) });
    return new Validator("record", describe, { key, value });
  },
  nullable: (validator) => v.union(validator, v.null()),
  optional,
};

/** `args` may be given as an object of fields. */
export function asObjectValidator(validators) {
  return validators.isConvexValidator ? validators : v.object(validators);
}
