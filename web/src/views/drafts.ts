// What was written and not sent, per session. It survives reloads; who wants a text back in the composer puts it here.

import { forget, read, write } from "../data/store";

const KEY = "draft.";
const listeners = new Map<string, (text: string) => void>();

export const readDraft = (key: string): string => read(KEY + key) ?? "";

export function keepDraft(key: string, text: string): void {
  if (text === "") forget(KEY + key);
  else write(KEY + key, text);
}

/** After what is there already. The open composer shows it at once. */
export function appendDraft(key: string, text: string): void {
  const before = readDraft(key);
  const whole = before.trim() === "" ? text : `${before}\n${text}`;
  keepDraft(key, whole);
  listeners.get(key)?.(whole);
}

export function listenDraft(key: string, listener: (text: string) => void): () => void {
  listeners.set(key, listener);
  return () => void (listeners.get(key) === listener && listeners.delete(key));
}
