// A page says why its device cannot be told while it is closed, and when it can, what a supervisor sends is shown, and opens the
// session that it is about. No push service can be reached from here: messages are handed to the browser as one would.

import { createECDH } from "node:crypto";
import { assert, env, until, url } from "./harness.mjs";
import { supervisor } from "./played.mjs";

const box = (page) => page.getByLabel("Also while this page is closed");
const reason = (page) => page.locator('[data-push="reason"]');

export default async function (stage) {
  const played = await supervisor();
  await played.offer(createECDH("prime256v1").generateKeys("base64url"));

  const denied = await stage.page();
  await denied.addInitScript(() => Object.defineProperty(Notification, "permission", { configurable: true, value: "denied" }));
  await denied.goto(`${url}/#/machines`);
  await denied.reload();
  await reason(denied).getByText("does not allow it").waitFor();
  assert.ok(await box(denied).isDisabled());
  const keyholder = await stage.page();
  await keyholder.context().grantPermissions(["notifications"], { origin: url });
  await keyholder.goto(`${url}/#/machines`);
  await reason(keyholder).getByText("Only a paired device").waitFor();
  const insecure = await stage.page();
  await insecure.addInitScript(() => Object.defineProperty(window, "isSecureContext", { value: false }));
  await insecure.goto(`${url}/#/machines`);
  await insecure.reload();
  await reason(insecure).getByText("This address is not secure").waitFor();
  const old = await stage.page();
  await old.addInitScript(() => delete window.PushManager);
  await old.goto(`${url}/#/machines`);
  await old.reload();
  await reason(old).getByText("has no push messages").waitFor();

  // the browser's own word for why it subscribes to nothing here
  const tolerates = ["does not support the Push API"];
  const phone = await stage.page({ bare: true, phone: true, tolerates });
  await phone.context().grantPermissions(["notifications"], { origin: url });
  await phone.goto(env("PAGE_LINK"));
  await phone.getByRole("navigation", { name: "Sessions" }).waitFor({ state: "attached" });
  const cdp = await phone.context().newCDPSession(phone);
  const registrations = new Map();
  cdp.on("ServiceWorker.workerRegistrationUpdated", ({ registrations: updated }) => {
    for (const { scopeURL, registrationId } of updated) registrations.set(scopeURL, registrationId);
  });
  await cdp.send("ServiceWorker.enable");
  await phone.goto(`${url}/#/machines`);
  await box(phone).click();
  await phone.getByRole("alert").getByText("push service").waitFor();
  assert.ok(!(await box(phone).isChecked()), "what was not taken is not shown as on");

  const scope = `${url}/push/i/`;
  const registrationId = await until("the worker is there", () => registrations.get(scope));
  const shown = () =>
    phone.evaluate(async (scope) => {
      const registration = await navigator.serviceWorker.getRegistration(scope);
      const notifications = (await registration?.getNotifications()) ?? [];
      return notifications.map(({ tag, title, body, data }) => ({ tag, title, body, place: data.place }));
    }, scope);
  const deliver = (data) => cdp.send("ServiceWorker.deliverPushMessage", { origin: url, registrationId, data });
  const told = { schema: 1, id: "r1", event: "waiting", kind: "permission", worker: "played", session: played.sessionId, title: "a long one" };
  await deliver(JSON.stringify(told));
  await until("it is shown", async () => (await shown()).length === 1);
  const place = `#/session/${played.sessionId}`;
  const waits = { tag: "r1", title: "a long one", body: "waits for you", place };
  assert.deepEqual(await shown(), [waits]);
  await deliver(JSON.stringify({ ...told, title: "the same again" }));
  await until("one takes the other's place", async () => (await shown())[0].title === "the same again");
  assert.equal((await shown()).length, 1);
  await deliver(JSON.stringify({ id: "../x", event: "toString", session: "https://elsewhere.example/", title: 5 }));
  await deliver("no JSON");
  await until("what cannot be read is shown without an address", async () => (await shown()).length === 2);
  assert.equal((await shown()).find(({ tag }) => tag === "push").place, "");

  // pressed, as far as a script can press: its page goes to the session
  const [worker] = phone.context().serviceWorkers().slice(-1);
  await worker.evaluate(async () => {
    const [notification] = await registration.getNotifications({ tag: "r1" });
    dispatchEvent(new NotificationEvent("notificationclick", { notification }));
  });
  await phone.waitForURL(`${url}/${place}`);
  await until("it is gone", async () => (await shown()).length === 1);

  const manifest = await (await fetch(`${url}/manifest.webmanifest`)).json();
  for (const { src } of manifest.icons) assert.equal((await fetch(new URL(src, url))).status, 200, src);
}
