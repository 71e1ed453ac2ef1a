// Who the page is: an owner's token (a JWT), pasted or taken from the address's fragment, which never leaves the browser.
// It is never part of a query string. What is read out of it here is for display only; the deployment decides.

import { forget, read, write } from "./store";

const KEY = "token";

export interface Claims {
  /** Who it speaks for. */
  subject: string;
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

/** `null` for what is no JWT at all. */
export function claims(token: string): Claims | null {
  const [, payload, signature] = token.split(".");
  if (!payload || !signature) return null;
  try {
    const text = atob(payload.replaceAll("-", "+").replaceAll("_", "/"));
    const { sub, exp } = JSON.parse(text) as { sub?: unknown; exp?: unknown };
    if (typeof sub !== "string" || typeof exp !== "number") return null;
    return { subject: sub, expiresAt: exp * 1000 };
  } catch {
    return null;
  }
}

export const storedToken = (): string | null => read(KEY);
export const keepToken = (token: string): void => void write(KEY, token);
export const forgetToken = (): void => forget(KEY);

export interface Given {
  token?: string;
  deployment?: string;
}

/**
 * What a link brings in its fragment: `#token=…`, `#deployment=https://…`. A fragment that begins with `/` is a place in
 * the page.
 */
export function given(fragment: string): Given {
  const text = fragment.replace(/^#/, "");
  if (text === "" || text.startsWith("/")) return {};
  const fields = new URLSearchParams(text);
  const token = fields.get("token")?.trim();
  const deployment = fields.get("deployment")?.trim();
  return { ...(token ? { token } : {}), ...(deployment ? { deployment } : {}) };
}
