// The network drops, and comes back: it is said, what was sent meanwhile waits, also over a reload, and arrives once.

import { assert, begin, script, turn, until } from "./harness.mjs";

export default async function (stage) {
  const page = await stage.page();
  let isDown = false;
  const sockets = new Set();
  await page.context().routeWebSocket(/./, (socket) => {
    if (isDown) return void socket.close({ code: 1001, reason: "down" });
    sockets.add(socket);
    socket.connectToServer();
  });
  const down = (is) => {
    isDown = is;
    if (is) for (const socket of sockets) socket.close({ code: 1001, reason: "down" });
    sockets.clear();
  };
  await page.reload();
  await begin(page, script([{ text: "before" }]));
  await turn(page, "complete").getByText("before").waitFor();

  down(true);
  await page.locator('[data-banner="offline"]').waitFor();
  await page.getByLabel("Message", { exact: true }).fill(script([{ text: "after the outage" }]));
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator('[data-pending="sending"]').getByText("will be sent").waitFor();
  assert.equal(await page.getByLabel("Message", { exact: true }).inputValue(), "");

  await page.reload();
  await page.locator('[data-banner="offline"]').waitFor();
  down(false);
  await turn(page, "complete").getByText("after the outage").waitFor();
  await until("nothing waits", async () => (await page.locator("[data-pending]").count()) === 0);
  await until("the connection is not spoken of", async () => (await page.locator("[data-banner]").count()) === 0);

  // drops every second under a turn: it ends whole, and was asked once
  await page.getByLabel("Message", { exact: true }).fill(script([{ stream: { n: 60, rate: 10, size: 10 } }, { text: " whole" }]));
  await page.getByRole("button", { name: "Send" }).click();
  for (let drop = 0; drop < 5; drop++) {
    await new Promise((done) => setTimeout(done, 1_000));
    down(true);
    down(false);
  }
  await turn(page, "complete").getByText(" whole").waitFor();
  assert.equal(await page.locator("article.user").count(), 3);
}
