// Files that are chosen here, until their message is acknowledged: what they are in the texts beside them, their bytes in
// the browser's database, so that a reload loses neither. A browser that keeps no database costs the memory of it only:
// a file that is gone after a reload says so and is chosen again.

import { refusalOf, type Refusal } from "./refusal";

/** As the deployment knows it. */
export interface Along {
  id: string;
  name: string;
  mime: string;
  bytes: number;
}

/** The deployment's bounds: checked here first, so that nobody waits for an upload that is refused. */
export const MOST_FILE_BYTES = 10_000_000;
export const MOST_FILES = 8;
/** One piece. Three divides it, so that the pieces' base64 in its order is the file's. */
export const PIECE_BYTES = 384 * 1_024;

const STORE = "files";
const memory = new Map<string, Blob>();
let opened: Promise<IDBDatabase | null> | undefined;

function database(): Promise<IDBDatabase | null> {
  opened ??= new Promise((resolve) => {
    try {
      const request = indexedDB.open("orchestrator", 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
      request.onblocked = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return opened;
}

async function ask<T>(mode: IDBTransactionMode, what: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | undefined> {
  const base = await database();
  if (!base) return undefined;
  return await new Promise((resolve) => {
    try {
      const transaction = base.transaction(STORE, mode);
      const request = what(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => resolve(undefined);
    } catch {
      resolve(undefined);
    }
  });
}

export async function keepFile(id: string, content: Blob): Promise<void> {
  memory.set(id, content);
  await ask("readwrite", (store) => store.put(content, id));
}

export async function fileOf(id: string): Promise<Blob | undefined> {
  return memory.get(id) ?? (await ask<Blob>("readonly", (store) => store.get(id)));
}

export async function forgetFile(id: string): Promise<void> {
  memory.delete(id);
  await ask("readwrite", (store) => store.delete(id));
}

/** What a file is by its content: a name can say anything. `null` is nothing that an assistant could look at. */
export function kindOf(content: Uint8Array): string | null {
  const begins = (with_: string, at = 0) => [...with_].every((char, index) => content[at + index] === char.charCodeAt(0));
  if (begins("\x89PNG\r\n\x1a\n")) return "image/png";
  if (begins("\xff\xd8\xff")) return "image/jpeg";
  if (begins("GIF87a") || begins("GIF89a")) return "image/gif";
  if (begins("RIFF") && begins("WEBP", 8)) return "image/webp";
  if (begins("%PDF-")) return "application/pdf";
  if (content.includes(0)) return null;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(content);
    return "text/plain";
  } catch {
    return null;
  }
}

const ODD = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** As the deployment takes a name. */
export const inOneLine = (name: string): string => name.replace(ODD, "_").slice(0, 200) || "file";

export interface Uploading {
  begin: (file: Along) => Promise<{ next: number; pieces: number }>;
  put: (piece: { id: string; index: number; data: string }) => Promise<unknown>;
  tell: (done: number) => void;
}

/** Uploads what is not there yet. `tell` hears the part of all bytes that is. */
export async function upload(files: readonly Along[], { begin, put, tell }: Uploading): Promise<void> {
  const all = files.reduce((sum, file) => sum + file.bytes, 0);
  let done = 0;
  for (const file of files) {
    const { next, pieces } = await begin(file);
    const content = next < pieces ? await fileOf(file.id) : undefined;
    if (next < pieces && content?.size !== file.bytes) throw new FileLost(file.name);
    for (let index = next; content && index < pieces; index += 1) {
      tell((done + index * PIECE_BYTES) / all);
      const piece = content.slice(index * PIECE_BYTES, (index + 1) * PIECE_BYTES);
      await put({ id: file.id, index, data: base64(new Uint8Array(await piece.arrayBuffer())) });
    }
    done += file.bytes;
  }
  tell(1);
}

/** Its bytes are neither here nor with the deployment. */
export class FileLost extends Error {
  constructor(name: string) {
    super(`${name} must be chosen again: this browser did not keep it`);
  }
}

export const refusalOfUpload = (error: unknown): Refusal => (error instanceof FileLost ? { code: "file_lost", message: error.message } : refusalOf(error));

export function base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}
