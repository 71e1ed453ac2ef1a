// Machines and workers as they stand: who is there, approving one that waits, revoking and restoring one that serves.

import { assert, url } from "./harness.mjs";

export default async function (stage) {
  const page = await stage.page({ phone: true });
  await page.goto(`${url}/#/machines`);
  const row = (name) => page.locator("li[data-worker]", { hasText: name });
  await row("shop").locator('[data-standing="online"]').waitFor();

  await row("second").locator('[data-standing="pending"]').waitFor();
  await row("second").getByRole("button", { name: "Approve" }).click();
  await row("second").locator('[data-standing="offline"]').waitFor();

  const revoke = row("second").getByRole("button");
  await revoke.click();
  await row("second").getByRole("button", { name: "Stops its assistants: revoke?" }).click();
  await row("second").locator('[data-standing="revoked"]').waitFor();
  await row("second").getByRole("button", { name: "Restore" }).click();
  await row("second").getByRole("button", { name: "Its old token is valid again: restore?" }).click();
  await row("second").locator('[data-standing="offline"]').waitFor();
  assert.equal(await row("shop").locator('[data-standing="online"]').count(), 1);
}
