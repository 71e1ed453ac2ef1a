// "convex/prelude": the globals of a Convex function. Time stands still, chance and digests come from the host, what
// a query or mutation must not do (timers, the network) says so.

import { latin } from "convex/bytes";
import host from "convex/host";

// ---- time: the moment the call began

const RealDate = Date;

function FrozenDate(...args) {
  if (new.target === undefined) return new RealDate(host.now()).toString();
  return Reflect.construct(RealDate, args.length === 0 ? [host.now()] : args, new.target);
}
FrozenDate.prototype = RealDate.prototype;
RealDate.prototype.constructor = FrozenDate;
Object.setPrototypeOf(FrozenDate, RealDate);
Object.defineProperties(FrozenDate, {
  name: { value: "Date" },
  length: { value: 7 },
  now: { value: () => host.now(), writable: true, configurable: true },
  UTC: { value: RealDate.UTC, writable: true, configurable: true },
  parse: { value: RealDate.parse, writable: true, configurable: true },
});
globalThis.Date = FrozenDate;
delete globalThis.performance;

// ---- chance

Math.random = () => host.random();

const subtle = {
  async digest(algorithm, data) {
    return host.digest(typeof algorithm === "string" ? algorithm : algorithm.name, latin(data));
  },
};
for (const name of ["decrypt", "deriveBits", "deriveKey", "encrypt", "exportKey", "generateKey", "importKey", "sign", "verify"]) {
  subtle[name] = async () => {
    throw new Error(`\`crypto.subtle.${name}\` is not supported by the embedded deployment`);
  };
}

globalThis.crypto = Object.freeze({
  getRandomValues(array) {
    if (!ArrayBuffer.isView(array)) throw new TypeError("getRandomValues needs a typed array");
    if (array.byteLength > 65536) throw new Error("getRandomValues gives at most 65536 bytes at once");
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(new Uint8Array(host.randomBytes(array.byteLength)));
    return array;
  },
  randomUUID: () => host.randomUuid(),
  subtle: Object.freeze(subtle),
});

// ---- text

globalThis.TextEncoder = class TextEncoder {
  encoding = "utf-8";

  encode(text = "") {
    return new Uint8Array(host.utf8Encode(String(text).toWellFormed()));
  }

  encodeInto(text, target) {
    let read = 0;
    let written = 0;
    for (const character of String(text).toWellFormed()) {
      const bytes = this.encode(character);
      if (written + bytes.length > target.length) break;
      target.set(bytes, written);
      written += bytes.length;
      read += character.length;
    }
    return { read, written };
  }
};

globalThis.TextDecoder = class TextDecoder {
  encoding = "utf-8";

  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    if (!/^(utf-?8|unicode-1-1-utf-8)$/i.test(label)) throw new RangeError(`TextDecoder: \`${label}\` is not supported`);
    this.fatal = fatal;
    this.ignoreBOM = ignoreBOM;
  }

  decode(data = new ArrayBuffer(0), { stream = false } = {}) {
    if (stream) throw new Error("TextDecoder: streams are not supported by the embedded deployment");
    const text = host.utf8Decode(latin(data), this.fatal);
    return !this.ignoreBOM && text.startsWith("\ufeff") ? text.slice(1) : text;
  }
};

globalThis.btoa = (text) => {
  if (/[^\u0000-\u00ff]/.test(text)) throw new Error("btoa: the text has characters outside of Latin-1");
  return host.base64Encode(String(text));
};

globalThis.atob = (text) => latin(host.base64Decode(String(text).replace(/[\t\n\f\r ]/g, "")));

// ---- console: lines of the call's log

/** A value as people read it. */
export function inspect(value, depth = 0) {
  switch (typeof value) {
    case "string":
      return `'${value}'`;
    case "bigint":
      return `${value}n`;
    case "function":
      return `[Function: ${value.name || "(anonymous)"}]`;
    case "symbol":
      return value.toString();
    case "object":
      break;
    default:
      return String(value);
  }
  if (value === null) return "null";
  if (value instanceof Error) return value.stack ? `${value.name}: ${value.message}\n${value.stack}` : String(value);
  if (value instanceof RealDate) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
  if (value instanceof ArrayBuffer) return `ArrayBuffer(${value.byteLength})`;
  if (depth >= 4) return Array.isArray(value) ? "[Array]" : "[Object]";
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    const shown = Array.from(value).slice(0, 100).map((item) => inspect(item, depth + 1));
    return `[ ${shown.join(", ")}${value.length > 100 ? ", …" : ""} ]`;
  }
  const fields = Object.keys(value).map((name) => `${name}: ${inspect(value[name], depth + 1)}`);
  return fields.length === 0 ? "{}" : `{ ${fields.join(", ")} }`;
}

const say = (level) => (...values) => host.log(`[${level}] ${values.map((value) => inspect(value)).join(" ")}`);

globalThis.console = {
  log: say("LOG"),
  info: say("INFO"),
  warn: say("WARN"),
  error: say("ERROR"),
  debug: say("DEBUG"),
  trace: say("LOG"),
  assert: (condition, ...values) => condition || say("ERROR")("assertion failed", ...values),
};

// ---- the deployment's variables

globalThis.process = Object.freeze({ env: Object.freeze({ ...host.environment }) });

// ---- what is not there

for (const name of ["setTimeout", "setInterval", "setImmediate", "fetch", "WebSocket", "require"]) {
  globalThis[name] = () => {
    throw new Error(`\`${name}\` is not available in queries and mutations`);
  };
}
