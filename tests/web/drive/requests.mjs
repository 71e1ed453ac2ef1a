// What an assistant waits for is answered on the page: a permission once, for ever, or not, with the reason; a question by an
// option and one's own words. What is answered elsewhere, or not waited for any more, goes and leaves no card.

import { assert, shot, until, url } from "./harness.mjs";
import { call, supervisor } from "./played.mjs";

const bash = (command) => ({
  kind: "permission",
  title: command,
  permission: "bash",
  patterns: [command],
  always: ["cargo test *"],
  details: `$ ${command}\n<img src=x onerror=alert(1)>`,
});

export default async function (stage) {
  const played = await supervisor();
  const page = await stage.page({ phone: true });
  await page.locator("ul.sessions > li").first().waitFor();
  await played.ask("r1", bash("cargo test cart"));
  await page.getByText("waits for you").waitFor();
  await page.goto(`${url}/#/session/${played.sessionId}`);
  const card = page.locator("article.request");
  await card.getByText("$ cargo test cart").waitFor();
  assert.equal(await card.locator("img").count(), 0, "what is asked is text");
  assert.match(await page.title(), /^\? /);
  await shot(page, "permission-phone-light");
  await card.getByRole("button", { name: "Allow once" }).click();
  await until("it is answered", async () => (await played.take("r1")).answer?.reply === "once");
  await until("the card is gone", async () => (await card.count()) === 0);

  await played.ask("r2", bash("cargo test all"));
  await card.getByRole("button", { name: "Always" }).click();
  await until("it is answered", async () => (await played.take("r2")).answer?.reply === "always");

  await played.ask("r3", bash("rm -rf target"));
  await card.getByRole("button", { name: "Reject…" }).click();
  await card.getByLabel("What it should know").fill("use cargo clean");
  await card.getByRole("button", { name: "Reject", exact: true }).click();
  await until("it is answered", async () => (await played.take("r3")).state === "answered");
  assert.deepEqual((await played.take("r3")).answer, { reply: "reject", message: "use cargo clean" });

  const options = [{ label: "cents", description: "whole numbers" }, { label: "euros" }];
  const questions = [
    { question: "What are prices kept in?", options, custom: false },
    { question: "Which files?", options: [{ label: "cart.rs" }, { label: "tax.rs" }], multiple: true },
  ];
  await played.ask("r4", { kind: "question", title: "Two things about prices", questions });
  await card.getByText("What are prices kept in?").waitFor();
  const answer = card.getByRole("button", { name: "Answer" });
  assert.ok(await answer.isDisabled(), "a question that is open is no answer");
  await card.getByLabel("euros").check();
  await card.getByLabel("cents").check();
  await card.getByLabel("cart.rs").check();
  await card.getByLabel("tax.rs").check();
  await card.getByLabel("In your words").fill("and the receipts");
  await shot(page, "question-phone-light");
  await answer.click();
  await until("it is answered", async () => (await played.take("r4")).state === "answered");
  const { answers } = (await played.take("r4")).answer;
  assert.deepEqual(answers, [{ options: ["cents"] }, { options: ["cart.rs", "tax.rs"], text: "and the receipts" }]);

  // answered on another device, while this one is about to
  await played.ask("r5", bash("cargo doc"));
  await card.getByRole("button", { name: "Reject…" }).click();
  await call("mutation", "permissions:answer", { requestId: "r5", reply: "once" });
  await until("the card is gone", async () => (await card.count()) === 0);

  // two at once; the turn is stopped by its owner, and nobody waits any more
  await played.ask("r6", bash("cargo bench"));
  await played.ask("r7", bash("cargo doc"));
  await until("two cards", async () => (await card.count()) === 2);
  await page.locator("article.assistant").getByRole("button", { name: "Stop" }).click();
  await until("no card is left", async () => (await card.count()) === 0);
  assert.equal((await played.take("r6")).state, "withdrawn");
}
