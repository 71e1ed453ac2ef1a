// What this browser tells while its page is open and not looked at: settings of this device, what of the deployment's notices is
// news, and the browser's own notifications. Pure but for the last.

import type { Notices } from "./api";
import { read, write } from "./store";

export interface Settings {
  isOn: boolean;
  /** An answer that took this long is worth a word, in seconds. */
  after: number;
  /** `22:00-07:00`, or empty. */
  quiet: string;
}

const KEY = "telling";
const DEFAULTS: Settings = { isOn: false, after: 60, quiet: "" };

export function readSettings(): Settings {
  try {
    return { ...DEFAULTS, ...(JSON.parse(read(KEY) ?? "{}") as Partial<Settings>) };
  } catch {
    return DEFAULTS;
  }
}

export const keepSettings = (settings: Settings): void => void write(KEY, JSON.stringify(settings));

export interface News {
  id: string;
  sessionId: string;
  text: string;
  title: string;
  /** It stays worth a word until it is answered. */
  isWaiting: boolean;
}

/** What of the notices is worth a word by these settings, whether or not it was told. */
export function newsOf(notices: Notices, { after }: Settings): News[] {
  const ended = notices.ended.flatMap((turn) => {
    const isLong = turn.finishedAt - turn.createdAt >= after * 1_000;
    const text = turn.state === "failed" || turn.state === "interrupted" ? "has failed" : turn.state === "complete" && isLong ? "has answered" : null;
    return text === null ? [] : [{ id: turn.turnId, sessionId: turn.sessionId, title: turn.title, text, isWaiting: false }];
  });
  const waiting = notices.waiting.map((request) => ({
    id: request.requestId,
    sessionId: request.sessionId,
    title: request.title,
    text: "waits for you",
    isWaiting: true,
  }));
  return [...ended.reverse(), ...waiting];
}

/** What has waited this long is told also to whoever looks at it: they do not answer. */
const OVERDUE_MS = 120_000;

/** Since when this page knows of what waits, by its own clock that nobody sets. */
export class Waits {
  private readonly since = new Map<string, number>();

  /** What the newest notices name; the others have been answered. */
  heard(news: readonly News[], now: number): void {
    const ids = new Set(news.filter(({ isWaiting }) => isWaiting).map(({ id }) => id));
    for (const id of this.since.keys()) if (!ids.has(id)) this.since.delete(id);
    for (const id of ids) if (!this.since.has(id)) this.since.set(id, now);
  }

  isOverdue(id: string, now: number): boolean {
    return now - (this.since.get(id) ?? now) >= OVERDUE_MS;
  }
}

/** Whether the minute of the day is one of the quiet hours; hours that nobody can read are none. */
export function isQuiet(quiet: string, minute: number): boolean {
  const times = /^\s*(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*$/.exec(quiet);
  if (!times) return false;
  const [from, to] = [Number(times[1]) * 60 + Number(times[2]), Number(times[3]) * 60 + Number(times[4])];
  return from < to ? minute >= from && minute < to : minute >= from || minute < to;
}

/** What the browser can do: an insecure address has no notifications, and a phone's browser needs a service worker for them. */
export function canTell(): boolean {
  return "Notification" in window && isSecureContext && "serviceWorker" in navigator;
}

/** Says yes when the browser's user does. */
export async function askToTell(): Promise<boolean> {
  if (!canTell()) return false;
  return (await Notification.requestPermission()) === "granted";
}

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): { createScriptURL: (url: string) => string };
}

/** The one script that is loaded by a name of ours: the policy lets nothing else become a script's address. Made once a page. */
let trusted: string | null = null;

export function scriptAddress(): string {
  if (trusted === null) {
    const { trustedTypes } = window as { trustedTypes?: TrustedTypes };
    const script = new URL("sw.js", document.baseURI).href;
    const policy = trustedTypes?.createPolicy("sw", { createScriptURL: (url) => (url === script ? url : "about:blank") });
    trusted = policy?.createScriptURL(script) ?? script;
  }
  return trusted;
}

let registered: Promise<ServiceWorkerRegistration> | null = null;

function worker(): Promise<ServiceWorkerRegistration> {
  registered ??= (async () => {
    await navigator.serviceWorker.register(scriptAddress());
    return await navigator.serviceWorker.ready;
  })();
  registered.catch(() => void (registered = null));
  return registered;
}

/** The same id again is the same notification. */
export async function tell(news: News): Promise<void> {
  if (!canTell() || Notification.permission !== "granted") return;
  const { title, text, sessionId, id } = news;
  const registration = await worker();
  await registration.showNotification(title === "" ? "A session" : title, { body: text, tag: id, data: { place: `#/session/${sessionId}` } });
}
