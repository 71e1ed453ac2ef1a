// A browser that slept over the end of a turn, and over the removal of what had streamed, shows the whole answer when it is back.

import { assert, begin, script, turn, until, words } from "./harness.mjs";
import { call } from "./played.mjs";

/** What has streamed is kept for a minute after the end. */
const CLEAN_UP_MS = 200_000;

export default async function (stage) {
  const page = await stage.page();
  let isDown = false;
  const sockets = new Set();
  await page.context().routeWebSocket(/./, (socket) => {
    if (isDown) return void socket.close({ code: 1001, reason: "down" });
    sockets.add(socket);
    socket.connectToServer();
  });
  await page.reload();
  await begin(page, script([{ text: "It begins. " }, { stream: { n: 200, rate: 40, size: 12 } }, { text: " It ends." }]));
  await until("it streams", async () => (await words(page)).join("").length > 12 * 20);
  const turnId = await turn(page, "claimed").getAttribute("data-turn");
  isDown = true;
  for (const socket of sockets) socket.close({ code: 1001, reason: "down" });

  const end = Date.now() + CLEAN_UP_MS;
  for (;;) {
    const { items, folded } = await call("query", "chunks:page", { turnId, from: 0 });
    if (folded && items.length === 0) break;
    if (Date.now() > end) assert.fail("what has streamed is not removed");
    await new Promise((done) => setTimeout(done, 500));
  }
  assert.equal(await turn(page, "claimed").count(), 1, "it has slept");
  isDown = false;
  await turn(page, "complete").waitFor();
  const { parts } = await call("query", "messages:parts", { turnId, from: 0 });
  const stored = parts.map(({ text }) => text).join("");
  assert.equal(stored.length, "It begins. ".length + 200 * 12 + " It ends.".length);
  assert.equal(plain((await words(page)).join("")), plain(stored));
}

/** A browser shows one space where the text has several. */
const plain = (text) => text.replace(/\s+/g, " ").trim();
