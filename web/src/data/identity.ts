// Who the page is: an owner's token (a JWT), pasted or taken from the address's fragment, which never leaves the browser.
// It is never part of a query string. What is read out of it here is for display only; the deployment decides.

import { ofDeployment } from "./address";
import { forget, read, write } from "./store";

const KEY = "token";

export interface Claims {
  /** Who it speaks for. */
  subject: string;
  /** Milliseconds since the epoch. */
  expiresAt: number;
  /** The paired device whose token it is. */
  device?: string;
}

/** `null` for what is no JWT at all. */
export function claims(token: string): Claims | null {
  const [, payload, signature] = token.split(".");
  if (!payload || !signature) return null;
  try {
    const text = atob(payload.replaceAll("-", "+").replaceAll("_", "/"));
    const { sub, exp, device } = JSON.parse(text) as { sub?: unknown; exp?: unknown; device?: unknown };
    if (typeof sub !== "string" || typeof exp !== "number") return null;
    return { subject: sub, expiresAt: exp * 1000, ...(typeof device === "string" ? { device } : {}) };
  } catch {
    return null;
  }
}

/** Kept for the deployment that it was given for: a link that names another one gets nothing. */
export const storedToken = (): string | null => read(ofDeployment(KEY));
export const keepToken = (token: string): void => void write(ofDeployment(KEY), token);
export const forgetToken = (): void => forget(ofDeployment(KEY));

/** What `orchestrator pair` prints, taken out of its link when the whole link was pasted. */
export function pairingCode(text: string): string | null {
  const code = given(text.slice(Math.max(0, text.indexOf("#")))).pair ?? text;
  return /^[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{22,128}$/.test(code) ? code : null;
}

/** What this browser calls itself until somebody names it: enough to tell a phone from a laptop. */
export function browserName(agent: string): string {
  const browser = /Firefox|FxiOS/.test(agent) ? "Firefox" : /Edg\w*\//.test(agent) ? "Edge" : /Chrome|CriOS/.test(agent) ? "Chrome" : /Safari/.test(agent) ? "Safari" : "a browser";
  const system = /Android/.test(agent) ? "Android" : /iPhone|iPad/.test(agent) ? "iOS" : /Mac OS/.test(agent) ? "macOS" : /Windows/.test(agent) ? "Windows" : /Linux/.test(agent) ? "Linux" : "";
  return system === "" ? browser : `${browser} on ${system}`;
}

export interface Given {
  token?: string;
  /** A pairing code: traded once for a token of this browser's own. */
  pair?: string;
  deployment?: string;
}

/**
 * What a link brings in its fragment: `#token=…`, `#pair=…`, `#deployment=https://…`. A fragment that begins with `/` is a place in
 * the page.
 */
export function given(fragment: string): Given {
  const text = fragment.replace(/^#/, "");
  if (text === "" || text.startsWith("/")) return {};
  const fields = new URLSearchParams(text);
  const token = fields.get("token")?.trim();
  const pair = fields.get("pair")?.trim();
  const deployment = fields.get("deployment")?.trim();
  return { ...(token ? { token } : {}), ...(pair ? { pair } : {}), ...(deployment ? { deployment } : {}) };
}
