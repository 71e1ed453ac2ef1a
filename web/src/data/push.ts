// This device's subscriptions for notices while its page is closed: one with each sender, because a subscription is bound to the
// key of who sends and a registration of the service worker holds one. Each has a scope of its own that no page is in.

import { askToTell, scriptAddress } from "./telling";

/** Why a browser cannot, in words; null when it can. */
export function whyNot(): string | null {
  if (!isSecureContext) return "This address is not secure: browsers have this on https:// and on this machine's own address only.";
  if (!("serviceWorker" in navigator) || !("PushManager" in window) || !("Notification" in window)) {
    return "This browser has no push messages. On an iPhone or iPad add the page to the home screen and open it from there.";
  }
  if (Notification.permission === "denied") return "The browser does not allow it: change that in its settings for this page.";
  return null;
}

export interface Sender {
  installId: string;
  publicKey: string;
}

export interface Subscription {
  installId: string;
  publicKey: string;
  endpoint: string;
  p256dh: string;
  auth: string;
}

const SCOPE = "push/";

/** Asks the browser's user, who must just have pressed something. */
export const mayPush = askToTell;

export async function subscribeTo({ installId, publicKey }: Sender): Promise<Subscription> {
  const scope = new URL(`${SCOPE}${installId}/`, document.baseURI).href;
  const registration = await navigator.serviceWorker.register(scriptAddress(), { scope });
  await isActive(registration);
  const key = fromBase64url(publicKey);
  let subscription = await registration.pushManager.getSubscription();
  if (subscription && toBase64url(subscription.options.applicationServerKey) !== publicKey) {
    await subscription.unsubscribe();
    subscription = null;
  }
  subscription ??= await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  return {
    installId,
    publicKey,
    endpoint: subscription.endpoint,
    p256dh: toBase64url(subscription.getKey("p256dh")),
    auth: toBase64url(subscription.getKey("auth")),
  };
}

/** The browser forgets all of them. */
export async function unsubscribeAll(): Promise<void> {
  const scopes = new URL(SCOPE, document.baseURI).href;
  for (const registration of await navigator.serviceWorker.getRegistrations()) {
    if (registration.scope.startsWith(scopes)) await registration.unregister();
  }
}

/** `ready` waits for the page's own one only. */
async function isActive(registration: ServiceWorkerRegistration): Promise<void> {
  const coming = registration.installing ?? registration.waiting;
  if (registration.active || !coming) return;
  await new Promise<void>((done, failed) => {
    coming.addEventListener("statechange", () => {
      if (coming.state === "activated") done();
      if (coming.state === "redundant") failed(new Error("the browser did not take the service worker"));
    });
  });
}

export function fromBase64url(text: string): Uint8Array<ArrayBuffer> {
  const raw = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(raw, (char) => char.charCodeAt(0));
}

export function toBase64url(bytes: ArrayBuffer | null): string {
  const raw = String.fromCharCode(...new Uint8Array(bytes ?? new ArrayBuffer(0)));
  return btoa(raw).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
