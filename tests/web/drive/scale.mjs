// Many sessions, and an answer of many parts. The driver plays the supervisor, so that nothing but the page is slow.

import { assert, turn, until, url } from "./harness.mjs";
import { call, supervisor } from "./played.mjs";

const SESSIONS = 500;
const LISTED = 200;
const PARTS = 2_000;
const DELTAS = 60;

const part = (at) =>
  at % 2 === 0
    ? [`p${at}`, "text", `Step **${at}** of the work, with some \`code\` in it.`]
    : [`p${at}`, "tool", JSON.stringify({ tool: "bash", callId: `c${at}`, status: "completed", title: `step ${at}`, output: "ok\n".repeat(20) })];

export default async function (stage) {
  const played = await supervisor();
  for (let at = 0; at < SESSIONS; at++) {
    await call("mutation", "sessions:start", { id: `many-${at}`, workerId: played.workerId, title: `Session ${at}` });
  }
  const page = await stage.page();
  let received = 0;
  page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => (received += payload.length)));
  await page.reload();
  await page.locator("ul.sessions > li").nth(LISTED - 1).waitFor();
  await page.getByText(`The latest ${LISTED} are shown.`).waitFor();
  await page.getByLabel("Filter sessions").fill("session 49");
  await until("few sessions", async () => (await page.locator("ul.sessions > li").count()) < 20);
  await page.getByLabel("Filter sessions").fill("");

  await page.goto(`${url}/#/session/${played.sessionId}`);
  await turn(page, "claimed").waitFor();
  const metrics = await page.context().newCDPSession(page);
  await metrics.send("Performance.enable");
  const busy = async () => {
    const found = await metrics.send("Performance.getMetrics");
    // the page's own work; a task's whole duration is also other processes' on a loaded machine
    const own = found.metrics.filter((one) => ["ScriptDuration", "LayoutDuration", "RecalcStyleDuration"].includes(one.name));
    return 1_000 * own.reduce((sum, one) => sum + one.value, 0);
  };
  /** What one delta costs: changes of the document, characters received; and, as a figure only, milliseconds of the page's thread. */
  const cost = async (partId) => {
    await played.append([[partId, "text", "begin"]]);
    await page.getByText("begin").last().waitFor();
    await page.evaluate(() => {
      window.counted = 0;
      window.counter?.disconnect();
      window.counter = new MutationObserver((records) => {
        for (const one of records) window.counted += 1 + one.addedNodes.length + one.removedNodes.length;
      });
      window.counter.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
    });
    const [before, heard] = [await busy(), received];
    for (let at = 0; at < DELTAS; at++) await played.append([[partId, "text", ` ${partId}-${at}`]]);
    await page.getByText(`${partId}-${DELTAS - 1}`).waitFor();
    const changes = await page.evaluate(() => window.counted);
    return { changes: changes / DELTAS, characters: (received - heard) / DELTAS, ms: ((await busy()) - before) / DELTAS };
  };
  const grow = async (from, to) => {
    for (let at = from; at < to; at += 100) {
      await played.append(Array.from({ length: Math.min(100, to - at) }, (_, next) => part(at + next)));
    }
    await page.getByText(`step ${to - 1}`, { exact: true }).waitFor({ state: "attached" });
  };
  await grow(0, 20);
  await cost("warm");
  const few = await cost("few");
  await grow(20, PARTS);
  const many = await cost("many");
  console.log(JSON.stringify({ perDeltaAt20Parts: few, perDeltaAt2000Parts: many }));
  // The sizes differ a hundredfold. A window of chunks is sent again as it fills, so how full it was at the beginning counts.
  assert.ok(many.changes <= 2 * few.changes + 2, `${few.changes} changes of the document with 20 parts, ${many.changes} with ${PARTS}`);
  assert.ok(many.characters <= 3 * few.characters, `${few.characters} characters with 20 parts, ${many.characters} with ${PARTS}`);

  await played.finish();
  await turn(page, "complete").waitFor();
  await page.reload();
  await turn(page, "complete").waitFor();
  await until("all parts are there after a reload", async () => (await page.locator("article.assistant .part").count()) === PARTS + 3);
}
