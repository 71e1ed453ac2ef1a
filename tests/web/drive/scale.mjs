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
  /** What the page's thread works for one delta, in milliseconds. */
  const cost = async (partId) => {
    await played.append([[partId, "text", "begin"]]);
    await page.getByText("begin").last().waitFor();
    const before = await busy();
    for (let at = 0; at < DELTAS; at++) await played.append([[partId, "text", ` ${partId}-${at}`]]);
    await page.getByText(`${partId}-${DELTAS - 1}`).waitFor();
    return ((await busy()) - before) / DELTAS;
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
  console.log(JSON.stringify({ msPerDeltaAt20Parts: few, msPerDeltaAt2000Parts: many }));
  // the sizes differ a hundredfold; what is allowed is noise
  assert.ok(many < 2 * few + 3, `a delta costs ${few} ms with 20 parts and ${many} ms with ${PARTS}`);

  await played.finish();
  await turn(page, "complete").waitFor();
  await page.reload();
  await turn(page, "complete").waitFor();
  await until("all parts are there after a reload", async () => (await page.locator("article.assistant .part").count()) === PARTS + 3);
}
