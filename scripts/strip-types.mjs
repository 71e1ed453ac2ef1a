// Writes the functions that the embedded deployment runs: convex/**/*.ts without their types, one file to one file,
// into backend/functions. The engine compiles them in, so that building it needs no Node. The modules of the
// conformance suite go the same way.
//
//   node scripts/strip-types.mjs           writes
//   node scripts/strip-types.mjs --check   compares, exits 1 when something is out of date
//
// Only types are taken out: what stays keeps its line (but for the header) and its text, so that a stack trace of the
// engine can be read against either file.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import tsBlankSpace from "ts-blank-space";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const FOLDERS = [
  { from: "convex", to: "backend/functions" },
  { from: "tests/conformance/functions", to: "tests/conformance/stripped" },
];

/** Convex skips files with a further dot in their name (tests, fixtures, auth.config), and so does the engine. */
const isModule = (file) => /^[^.]+\.ts$/.test(path.basename(file));

function filesUnder(folder, suffix) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true })
    .map((file) => file.split(path.sep).join("/"))
    .filter((file) => file.endsWith(suffix))
    .sort();
}

function strip(folder, file) {
  const refused = [];
  const text = tsBlankSpace(readFileSync(path.join(root, folder, file), "utf8"), (node) => refused.push(node.getText()));
  if (refused.length > 0) {
    throw new Error(`${folder}/${file}: this TypeScript is more than types and cannot be stripped: ${refused[0]}`);
  }
  const lines = text.split("\n").map((line) => line.trimEnd());
  return `// Generated from ${folder}/${file} by \`npm run strip\`: change that file, not this one.\n${lines.join("\n")}`;
}

function wanted(folder) {
  const modules = filesUnder(path.join(root, folder), ".ts").filter(isModule);
  return new Map(modules.map((file) => [file.replace(/\.ts$/, ".js"), strip(folder, file)]));
}

function differences(target, files) {
  const found = [];
  for (const [file, text] of files) {
    const there = path.join(target, file);
    if (!existsSync(there)) found.push(`${file} is missing`);
    else if (readFileSync(there, "utf8") !== text) found.push(`${file} differs from its source`);
  }
  for (const file of filesUnder(target, ".js")) {
    if (!files.has(file)) found.push(`${file} has no source`);
  }
  return found;
}

function write(target, files) {
  for (const file of filesUnder(target, ".js")) {
    if (!files.has(file)) rmSync(path.join(target, file));
  }
  for (const [file, text] of files) {
    const there = path.join(target, file);
    mkdirSync(path.dirname(there), { recursive: true });
    writeFileSync(there, text);
  }
}

let outOfDate = false;
for (const { from, to } of FOLDERS) {
  const [files, target] = [wanted(from), path.join(root, to)];
  if (!process.argv.includes("--check")) {
    write(target, files);
    console.error(`wrote ${files.size} files to ${to}`);
    continue;
  }
  const found = differences(target, files);
  if (found.length === 0) continue;
  outOfDate = true;
  console.error(`${to} is out of date: run \`npm run strip\` and commit the result`);
  for (const difference of found) console.error(`  ${difference}`);
}
if (outOfDate) process.exit(1);
