// The oracle: the same modules in memory by convex-test, a deployment per scenario. `input.modules` is a folder with
// their sources, where imports lack the `.js` that Node wants.

import { register } from "node:module";
import { readdirSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { convexTest } from "convex-test";
import { makeFunctionReference } from "convex/server";
import { input, poll, runAll } from "./steps.mjs";

const hook = `export async function resolve(name, context, next) {
  const bare = name.startsWith(".") && !/[.](m?js)$/.test(name);
  return next(bare ? name + ".js" : name, context);
}`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);

const importOf = (file) => () => import(pathToFileURL(path.join(input.modules, file)));
const modules = Object.fromEntries(
  readdirSync(input.modules, { recursive: true })
    .filter((file) => file.endsWith(".js"))
    .map((file) => [`/${file}`, importOf(file)]),
);
// convex-test finds the root of the functions by their generated folder, which there is none of.
modules["/_generated/api.js"] = async () => ({});
const { default: schema } = await importOf("schema.js")();

// A job that fails on purpose is reported there.
process.on("unhandledRejection", (error) => console.error(error));

let deployment;
let current;
await runAll((identity, scenario) => {
  if (current !== scenario) {
    current = scenario;
    deployment = convexTest({ schema, modules, transactionLimits: true });
  }
  const subject = input.subjects[identity];
  const client = subject ? deployment.withIdentity({ issuer: input.issuer, subject }) : deployment;
  const call = (kind, name, args) => client[kind](makeFunctionReference(name), args);
  return { call, watch: (name, args, to) => poll(() => call("query", name, args), to) };
});
process.exit(0);
