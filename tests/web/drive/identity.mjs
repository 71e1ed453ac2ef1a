// Who is not the owner sees nothing and is told why; a token that ends under one's hands takes nothing along.

import { assert, begin, env, script, token, turn, until, url } from "./harness.mjs";

const FAILED = "Failed to authenticate";

export default async function (stage) {
  const page = await stage.page({ bare: true, tolerates: [FAILED] });
  await page.goto(url);
  const paste = async (text) => {
    await page.getByLabel("owner's token").fill(text);
    await page.getByRole("button", { name: "Sign in" }).click();
  };
  await page.getByLabel("owner's token").waitFor();
  await paste("machine_a:worker_b:secret_c");
  await page.getByText("That is a worker's token").waitFor();
  await paste("nonsense");
  await page.getByText("That is neither a pairing code nor").waitFor();

  const [head, claims] = token.split(".");
  await paste(`${head}.${claims}.${"A".repeat(86)}`);
  await page.locator('[data-sign="refused"]').waitFor();
  await paste(env("PAGE_EXPIRED_TOKEN"));
  await page.locator('[data-sign="expired"]').waitFor();

  await paste(token);
  const address = await begin(page, script([{ text: "mine" }]));
  await turn(page, "complete").waitFor();
  await page.getByLabel("Message", { exact: true }).fill("half a thought");

  // a token with a few seconds left, by a link that is opened in the same tab
  await page.evaluate((text) => void (location.hash = `token=${text}`), env("PAGE_ENDING_TOKEN"));
  assert.ok(!page.url().includes(token));
  await page.goto(address);
  await page.locator('[data-sign="expired"]').waitFor();
  await paste(token);
  await until("the draft", async () => (await page.getByLabel("Message", { exact: true }).inputValue()) === "half a thought");
  await turn(page, "complete").getByText("mine").waitFor();

  // what `owner token --link` prints opens the page, signed in
  const link = env("PAGE_LINK");
  const other = await stage.page({ bare: true });
  await other.goto(link);
  await other.getByRole("navigation", { name: "Sessions" }).getByText("SCRIPT:").first().waitFor();
  assert.equal(other.url(), `${url}/#/`);

  const kept = await page.evaluate(() => location.search + document.cookie);
  assert.equal(kept, "");
}
