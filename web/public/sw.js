// Shows what the page tells it and opens the session that was meant. It caches nothing and answers no request.

addEventListener("notificationclick", (event) => {
  event.notification.close();
  const place = event.notification.data?.place ?? "";
  event.waitUntil(open(place));
});

async function open(place) {
  const pages = await clients.matchAll({ type: "window" });
  const address = new URL(place, registration.scope).href;
  const [page] = pages;
  if (!page) return clients.openWindow(address);
  await page.focus();
  return page.navigate(address);
}
