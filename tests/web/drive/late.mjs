// Two browsers and a terminal on one turn, the second browser opened in its middle; a third that comes when all is over. All
// show the same.

import { spawn } from "node:child_process";
import { assert, begin, env, script, signIn, turn, until, url, words } from "./harness.mjs";

export default async function (stage) {
  const first = await stage.page();
  const address = await begin(first, script([{ stream: { n: 1200, rate: 40, size: 12 } }, { text: " the end" }]));
  await until("the stream has some windows", async () => (await words(first)).join("").length > 12 * 150);
  assert.equal(await turn(first, "claimed").count(), 1, "it still runs");

  const terminal = tail(address.split("/session/")[1]);

  const second = await stage.page({ phone: true });
  await second.goto(address);
  await until("the second one has caught up", async () => (await words(second)).join("").length > 12 * 150);
  assert.equal(await turn(second, "claimed").count(), 1, "it was opened in the middle");
  const prefix = (await words(second)).join("");

  await Promise.all([turn(first, "complete").waitFor(), turn(second, "complete").waitFor()]);
  const whole = (await words(first)).join("");
  assert.equal((await words(second)).join(""), whole);
  assert.ok(whole.startsWith(prefix.slice(0, -12)) && whole.endsWith("the end"));

  await until("the terminal has its end", () => terminal.ended !== undefined);
  assert.equal(plain(terminal.ended), plain(whole));
  assert.equal(plain(terminal.pieces.join("")), plain(whole), "and it streamed just that");

  const third = await stage.page({ bare: true });
  await signIn(third);
  await third.goto(address.replace(/^.*#/, `${url}/#`));
  await turn(third, "complete").waitFor();
  assert.equal((await words(third)).join(""), whole);
}

/** A browser shows one space where the text has several. */
const plain = (text) => text.replace(/\s+/g, " ").trim();

/** `session tail`, as it goes on beside the browsers. */
function tail(sessionId) {
  const seen = { pieces: [], ended: undefined };
  const child = spawn(env("PAGE_ORCHESTRATOR"), ["session", "tail", decodeURIComponent(sessionId), "--json", "--exit-when-idle"], { stdio: ["ignore", "pipe", "inherit"] });
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const event = JSON.parse(line);
      if (event.event === "text") seen.pieces.push(event.text);
      if (event.event === "end") seen.ended = event.text;
    }
  });
  return seen;
}
