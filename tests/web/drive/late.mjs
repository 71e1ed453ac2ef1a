// Two browsers on one turn, the second one opened in its middle; a third that comes when all is over. All show the same.

import { assert, begin, script, signIn, turn, until, url, words } from "./harness.mjs";

export default async function (stage) {
  const first = await stage.page();
  const address = await begin(first, script([{ stream: { n: 400, rate: 40, size: 12 } }, { text: " the end" }]));
  await until("the stream has some windows", async () => (await words(first)).join("").length > 12 * 150);
  assert.equal(await turn(first, "claimed").count(), 1, "it still runs");

  const second = await stage.page({ phone: true });
  await second.goto(address);
  await until("the second one has caught up", async () => (await words(second)).join("").length > 12 * 150);
  assert.equal(await turn(second, "claimed").count(), 1, "it was opened in the middle");
  const prefix = (await words(second)).join("");

  await Promise.all([turn(first, "complete").waitFor(), turn(second, "complete").waitFor()]);
  const whole = (await words(first)).join("");
  assert.equal((await words(second)).join(""), whole);
  assert.ok(whole.startsWith(prefix.slice(0, -12)) && whole.endsWith("the end"));

  const third = await stage.page({ bare: true });
  await signIn(third);
  await third.goto(address.replace(/^.*#/, `${url}/#`));
  await turn(third, "complete").waitFor();
  assert.equal((await words(third)).join(""), whole);
}
