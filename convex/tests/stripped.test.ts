// The embedded deployment runs the functions without their types: the committed files must be the present ones, and
// they must work as modules.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { deployment, finish, item, send, servedWorker, turnRow, api } from "./deployment.fixture";

const stripped = import.meta.glob("../../backend/functions/**/*.js") as Record<string, () => Promise<unknown>>;

test("backend/functions is convex/ without its types", () => {
  const script = fileURLToPath(new URL("../../scripts/strip-types.mjs", import.meta.url));
  const check = spawnSync(process.execPath, [script, "--check"], { encoding: "utf8" });
  expect(check.stderr).toBe("");
  expect(check.status).toBe(0);
});

test("the stripped functions answer a message", async () => {
  const t = deployment(stripped);
  const worker = await servedWorker(t);
  const { turnId } = await send(t, "a", { workerId: "w1" }, "hello");
  expect(await t.mutation(api.messages.claim, { ...worker, turnId })).toMatchObject({ content: "hello" });
  await finish(t, worker, turnId, [item(0, "hi")]);
  expect(await turnRow(t, turnId)).toMatchObject({ state: "complete", parts: [{ text: "hi" }] });
});
