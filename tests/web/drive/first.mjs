// How long it takes from a person's act to the first word of the answer: on the page from the Enter key until the word is
// painted, on the command line from the start of `send --stream` until it is on stdout. In turns, in the same run, against
// the same assistant; figures only, because a machine that has other things to do would fail any limit.

import { spawn } from "node:child_process";
import { assert, begin, env, script, turn } from "./harness.mjs";

const ROUNDS = Number(env("PAGE_ROUNDS"));
const answer = (word) => script([{ text: word }, { text: " and so on" }]);

export default async function (stage) {
  const page = await stage.page();
  const address = await begin(page, "warm up");
  await turn(page, "complete").waitFor();
  const session = decodeURIComponent(address.split("/session/")[1]);
  const onPage = [];
  const onTerminal = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const pages = await fromKey(page, `page-${round}-word`);
    const terminals = await fromStart(session, `terminal-${round}-word`);
    // The first of each warms up.
    if (round === 0) continue;
    onPage.push(pages);
    onTerminal.push(terminals);
  }
  const of = (name, all) => {
    const sorted = [...all].sort((a, b) => a - b);
    const at = (part) => `${sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))].toFixed(0)} ms`;
    return `${name.padEnd(44)} ${at(0.5).padStart(8)} ${at(0.9).padStart(8)} ${at(1).padStart(8)}`;
  };
  const median = (all) => [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)];
  console.log(`${`until the first word, ${ROUNDS} rounds`.padEnd(44)} ${"p50".padStart(8)} ${"p90".padStart(8)} ${"max".padStart(8)}`);
  console.log(of("page: Enter → painted", onPage));
  console.log(of("send --stream: start of the process → stdout", onTerminal));
  console.log(`${"page against send --stream, at the median".padEnd(44)} ${`${(median(onPage) - median(onTerminal)).toFixed(0)} ms`.padStart(8)}`);
}

/** By the page's own clock, from the key's event to the frame after the word came into the document. */
async function fromKey(page, word) {
  const area = page.getByLabel("Message", { exact: true });
  await area.fill(answer(word));
  await page.evaluate((word) => {
    window.measured = new Promise((resolve) => {
      let begun;
      addEventListener("keydown", (event) => event.key === "Enter" && (begun ??= event.timeStamp), { capture: true });
      const look = new MutationObserver(() => {
        const parts = document.querySelectorAll("article.assistant .part.text");
        if (begun === undefined || !parts[parts.length - 1]?.textContent.includes(word)) return;
        look.disconnect();
        // A task behind the next frame: by then it is painted.
        requestAnimationFrame(() => {
          const { port1, port2 } = new MessageChannel();
          port1.onmessage = () => resolve(performance.now() - begun);
          port2.postMessage(null);
        });
      });
      look.observe(document.body, { subtree: true, childList: true, characterData: true });
    });
  }, word);
  await area.press("Enter");
  const took = await page.evaluate(() => window.measured);
  await page.waitForFunction(() => document.querySelector('article.assistant[data-state="claimed"], article.assistant[data-state="queued"]') === null);
  return took;
}

async function fromStart(session, word) {
  const begun = performance.now();
  const child = spawn(env("PAGE_ORCHESTRATOR"), ["send", answer(word), "--to", session, "--stream"], { stdio: ["ignore", "pipe", "inherit"] });
  let took;
  let text = "";
  child.stdout.on("data", (piece) => {
    text += piece;
    if (text.includes(word)) took ??= performance.now() - begun;
  });
  const code = await new Promise((done) => child.on("close", done));
  assert.equal(code, 0);
  assert.ok(took !== undefined, text);
  return took;
}
