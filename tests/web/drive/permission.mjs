// The real assistant asks before it runs a command: allowed on the page, it runs; rejected with a word, the model reads the word.

import { assert, begin, env, say, script, shot, turn, until } from "./harness.mjs";

const bash = (command) => ({ tool: "bash", args: { command, description: "Leaves a file" } });

export default async function (stage) {
  const page = await stage.page({ phone: true });
  await begin(page, script([bash(`touch ${env("PAGE_FILE")}`)], [{ text: "The file is there." }]));
  const card = page.locator("article.request");
  await card.getByText("touch").first().waitFor();
  await shot(page, "permission-real-phone-light");
  await card.getByRole("button", { name: "Allow once" }).click();
  await turn(page, "complete").getByText("The file is there.").waitFor();
  assert.equal(await card.count(), 0);

  await say(page, script([bash(`touch ${env("PAGE_FILE")}.not`)], [{ text: "Then not." }]));
  await card.getByRole("button", { name: "Reject…" }).click();
  await card.getByLabel("What it should know").fill("the folder is not ours");
  await card.getByRole("button", { name: "Reject", exact: true }).click();
  await until("the turn has ended", async () => (await turn(page, "complete").count()) === 2);
  const tool = page.locator("details.tool").last();
  await tool.locator("summary").click();
  await page.locator(".tool-body", { hasText: "the folder is not ours" }).waitFor();
}
