// A message is sent, its answer comes as it is made, and is the same after a reload; what the page weighs and how fast it
// shows itself.

import { gzipSync } from "node:zlib";
import { assert, begin, say, script, signIn, token, turn, turns, until, words } from "./harness.mjs";

const SCRIPT_BYTES = 150_000;
const FIRST_PAINT_MS = 1_000;

export default async function (stage) {
  const page = await stage.page({ phone: true });
  assert.ok(!page.url().includes(token), "the token does not stay in the address");

  const markdown = ["# Cart\n\n", "The total is **truncated** ", "before tax.\n\n", "```rust\nlet total = 1;\n```\n\n", "- one\n- two\n"];
  const pieces = markdown.flatMap((text) => [{ text }, { sleep: 400 }]);
  const address = await begin(page, script([{ reason: "let me see" }, ...pieces]));
  await turn(page, "claimed").waitFor();
  await page.locator("article.assistant h1", { hasText: "Cart" }).waitFor();
  assert.equal(await turn(page, "claimed").count(), 1, "the answer is seen while it is made");
  await turn(page, "complete").waitFor();
  assert.equal(await page.locator("article.assistant strong").innerText(), "truncated");
  assert.equal(await page.locator("article.assistant pre code").innerText(), "let total = 1;");
  assert.equal(await page.locator("article.assistant .markdown li").count(), 2);
  const before = await words(page);

  await page.reload();
  await turn(page, "complete").waitFor();
  assert.deepEqual(await words(page), before);
  assert.equal(page.url(), address, "a reload stays where it was");

  // a tool, folded
  await say(page, script([{ tool: "bash", args: { command: "echo from the tool", description: "Says hello" } }], [{ text: "Said." }]));
  await until("the second answer", async () => (await turn(page, "complete").count()) === 2);
  const tool = page.locator("details.tool");
  assert.equal(await page.locator(".tool-body").count(), 0, "a tool call is folded");
  await tool.locator("summary").click();
  await page.locator(".tool-body", { hasText: "from the tool" }).first().waitFor();
  assert.equal(await turns(page).count(), 2);

  // what the assistant has said there is to choose from
  await page.locator('#models option[value="fake/scripted"]').waitFor({ state: "attached" });
  await page.getByLabel("Agent").selectOption("plan");
  await say(page, script([{ text: "As planned." }]));
  await until("the third answer", async () => (await turn(page, "complete").count()) === 3);
  await page.getByLabel("Agent").selectOption("");

  // a draft per session survives a reload
  await page.getByLabel("Message", { exact: true }).fill("not yet");
  await page.reload();
  await until("the draft", async () => (await page.getByLabel("Message", { exact: true }).inputValue()) === "not yet");

  await weighs(stage);
}

async function weighs(stage) {
  const page = await stage.page({ bare: true });
  let scripts = 0;
  page.on("response", async (response) => {
    if (response.request().resourceType() === "script") scripts += gzipSync(await response.body()).length;
  });
  const paints = [];
  for (let load = 0; load < 3; load++) {
    await page.goto("about:blank");
    await signIn(page);
    const entry = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
    if (entry !== undefined) paints.push(entry);
  }
  const first = Math.min(...paints);
  console.log(JSON.stringify({ scriptBytesCompressed: Math.round(scripts / 3), firstPaintMs: Math.round(first) }));
  assert.ok(scripts > 0 && scripts / 3 <= SCRIPT_BYTES, `${scripts / 3} bytes of script`);
  assert.ok(first <= FIRST_PAINT_MS, `first paint after ${first} ms`);
}
