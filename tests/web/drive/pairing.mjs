// A phone comes in by a link, once; it is shown the door the moment it is revoked, with what it was writing kept.

import { assert, begin, env, script, token, turn, until, url } from "./harness.mjs";

/** A second use of a code, as whoever has photographed the screen tries it. */
async function trade(code) {
  const answer = await fetch(`${url}/api/mutation`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ path: "devices:trade", args: { code }, format: "json" }),
  });
  return (await answer.json()).value;
}

export default async function (stage) {
  const link = env("PAGE_LINK");
  const phone = await stage.page({ bare: true, phone: true });
  const asked = [];
  phone.on("request", (request) => asked.push(request.url()));
  await phone.goto(link);
  await phone.getByRole("navigation", { name: "Sessions" }).waitFor({ state: "attached" });
  const code = link.split("#pair=")[1];
  assert.equal(phone.url(), `${url}/#/`, "the code does not stay in the address");
  assert.ok(asked.every((address) => !address.includes(code.split(".")[1])), "the code is in no request's address");

  const address = await begin(phone, script([{ text: "on the phone" }]));
  await turn(phone, "complete").getByText("on the phone").waitFor();
  await phone.reload();
  await turn(phone, "complete").getByText("on the phone").waitFor();
  await phone.getByLabel("Message", { exact: true }).fill("half a thought");

  const stolen = await trade(code);
  assert.equal(stolen.status, "refused");
  assert.equal(stolen.token, undefined);
  const thief = await stage.page({ bare: true });
  await thief.goto(link);
  await thief.locator('[data-sign="unpaired"]').getByText("was used already").waitFor();
  await thief.getByLabel("owner's token").fill(env("PAGE_LATE_LINK"));
  await thief.getByRole("button", { name: "Sign in" }).click();
  await thief.locator('[data-sign="unpaired"]').getByText("has expired").waitFor();

  // with the owner's key, in another browser
  const laptop = await stage.page();
  await laptop.goto(`${url}/#/machines`);
  const row = laptop.locator(`li[data-device="${code.split(".")[0]}"]`);
  await row.getByRole("button", { name: "Revoke" }).click();
  await row.getByRole("button", { name: "Signs it out: revoke?" }).click();
  await phone.locator('[data-sign="revoked"]').waitFor();
  assert.equal(await phone.locator("article").count(), 0, "nothing of the session is shown any more");
  await phone.reload();
  await phone.locator('[data-sign="revoked"], [data-sign="refused"]').waitFor();

  // the owner signs the same browser in again: it goes on where it was
  await phone.goto(`${url}/#token=${token}`);
  await phone.goto(address);
  await until("the draft", async () => (await phone.getByLabel("Message", { exact: true }).inputValue()) === "half a thought");
}
