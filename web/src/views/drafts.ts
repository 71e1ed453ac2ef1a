// What was written and not sent, per session. It survives reloads; who wants a text back in the composer puts it here.

import type { Along } from "../data/files";
import { forget, read, write } from "../data/store";

const KEY = "draft.";
const FILES = "files.";
const listeners = new Map<string, (text: string, files: readonly Along[]) => void>();

export const readDraft = (key: string): string => read(KEY + key) ?? "";

export function keepDraft(key: string, text: string): void {
  if (text === "") forget(KEY + key);
  else write(KEY + key, text);
}

export function readFiles(key: string): readonly Along[] {
  try {
    const files = JSON.parse(read(FILES + key) ?? "[]") as unknown;
    return Array.isArray(files) ? (files as Along[]) : [];
  } catch {
    return [];
  }
}

export function keepFiles(key: string, files: readonly Along[]): void {
  if (files.length === 0) forget(FILES + key);
  else write(FILES + key, JSON.stringify(files));
}

/** After what is there already. The open composer shows it at once. */
export function appendDraft(key: string, text: string, files: readonly Along[] = []): void {
  const before = readDraft(key);
  const whole = before.trim() === "" ? text : `${before}\n${text}`;
  keepDraft(key, whole);
  const along = [...readFiles(key), ...files];
  keepFiles(key, along);
  listeners.get(key)?.(whole, along);
}

export function listenDraft(key: string, listener: (text: string, files: readonly Along[]) => void): () => void {
  listeners.set(key, listener);
  return () => void (listeners.get(key) === listener && listeners.delete(key));
}
