// A turn that would never end is stopped, one behind it is withdrawn, and the session goes on.

import { assert, begin, say, script, turn, until } from "./harness.mjs";

export default async function (stage) {
  const page = await stage.page();
  await begin(page, script([{ text: "I begin and " }, { hang: true }]));
  await turn(page, "claimed").getByText("I begin and").waitFor();
  await say(page, "behind it");
  await turn(page, "queued").getByText("waiting: 1 before it").waitFor();
  await turn(page, "queued").getByRole("button", { name: "Withdraw" }).click();
  await turn(page, "aborted").getByText("withdrawn before its turn began").waitFor();
  await turn(page, "claimed").getByRole("button", { name: "Stop" }).click();
  await until("both are stopped", async () => (await turn(page, "aborted").count()) === 2);
  assert.ok((await page.locator("article.assistant").first().innerText()).includes("I begin and"), "what was said stays");
  await say(page, script([{ text: "still here" }]));
  await turn(page, "complete").getByText("still here").waitFor();
}
