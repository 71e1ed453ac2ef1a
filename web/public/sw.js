// Shows what the page tells it, or what a supervisor sends while no page is open, and opens the session that was meant. It
// caches nothing and answers no request. It is registered once for the page and once for each sender, whose scope holds no page.

/** Ids are short; whatever else comes is no address. */
const ID = /^[A-Za-z0-9_-]{1,128}$/;

addEventListener("push", (event) => event.waitUntil(show(said(event.data))));

addEventListener("notificationclick", (event) => {
  event.notification.close();
  const place = event.notification.data?.place ?? "";
  event.waitUntil(open(place));
});

/** A message that cannot be read still is one: browsers take a subscription away that shows nothing. */
function said(data) {
  try {
    return data?.json() ?? {};
  } catch {
    return {};
  }
}

async function show({ id, event, session, title, worker }) {
  const words = { waiting: "waits for you", failed: "has failed", ended: "has answered" };
  const text = Object.hasOwn(words, event) ? words[event] : "has something for you";
  const place = ID.test(session ?? "") ? `#/session/${session}` : "";
  // The page shows the same under the same tag, so one takes the other's place.
  await registration.showNotification(named(title) || named(worker) || "A session", {
    body: text,
    tag: ID.test(id ?? "") ? id : "push",
    data: { place },
  });
}

function named(text) {
  return typeof text === "string" ? text.slice(0, 200) : "";
}

async function open(place) {
  const address = new URL(place, new URL("./", location.href)).href;
  const pages = await clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = pages.find(({ visibilityState }) => visibilityState === "visible") ?? pages[0];
  if (!page) return clients.openWindow(address);
  // Only a worker that controls a page may navigate it.
  page.postMessage({ place });
  await page.focus();
}
