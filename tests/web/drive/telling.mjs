// A page that is open and not at the session tells what waits there, each once; while somebody looks at the session it says nothing,
// and when they have gone away without an answer it does after all.

import { assert, until, url } from "./harness.mjs";
import { call, supervisor } from "./played.mjs";

const asked = (title) => ({ kind: "permission", title, permission: "bash" });

export default async function (stage) {
  const played = await supervisor();
  const page = await stage.page();
  await page.context().grantPermissions(["notifications"], { origin: url });
  await page.goto(`${url}/#/machines`);
  const told = () =>
    page.evaluate(async () => {
      const registration = await navigator.serviceWorker.getRegistration();
      const shown = (await registration?.getNotifications()) ?? [];
      return shown.map(({ tag, title, body, data }) => ({ tag, title, body, place: data.place })).sort((a, b) => (a.tag < b.tag ? -1 : 1));
    });
  // what waits already is told when this is switched on
  await played.ask("r0", asked("before"));
  await page.getByText("waits for you").waitFor();
  await page.getByLabel("Tell me").check();
  await page.getByLabel("Long is, in seconds").fill("1");
  await page.getByLabel("Long is, in seconds").blur();
  await played.ask("r1", asked("cargo test"));
  await until("it is told", async () => (await told()).some(({ tag }) => tag === "r1"));
  const place = `#/session/${played.sessionId}`;
  const waits = { title: "a long one", body: "waits for you", place };
  assert.deepEqual(await told(), [{ tag: "r0", ...waits }, { tag: "r1", ...waits }]);

  const looking = await stage.page({ phone: true });
  await looking.goto(`${url}/${place}`);
  const isSeen = () => call("query", "viewers:watched", { sessionId: played.sessionId });
  await until("it is seen", isSeen);
  await played.ask("r2", asked("cargo doc"));
  await looking.getByText("cargo doc").waitFor();
  assert.equal((await told()).length, 2, "who looks is not told");
  await looking.goto(`${url}/#/new`);
  await until("it is not seen any more", async () => !(await isSeen()));
  await until("it is told after all", async () => (await told()).some(({ tag }) => tag === "r2"));

  await call("mutation", "permissions:answer", { requestId: "r2", reply: "once" });
  await played.finish();
  await until("the answer is told", async () => (await told()).some(({ body }) => body === "has answered"));
  assert.equal((await told()).length, 4);
}
