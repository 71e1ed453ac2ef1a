// What the browser keeps for us: the token, drafts, messages that nobody has acknowledged yet, small choices. A browser
// that refuses (private mode, a full quota) costs the memory of it only: everything is also held here while the page is open.

const PREFIX = "orchestrator.";
const memory = new Map<string, string>();

export function read(key: string): string | null {
  const held = memory.get(key);
  if (held !== undefined) return held;
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/** False when only this open page remembers it. */
export function write(key: string, value: string): boolean {
  try {
    localStorage.setItem(PREFIX + key, value);
    memory.delete(key);
    return true;
  } catch {
    memory.set(key, value);
    return false;
  }
}

export function forget(key: string): void {
  memory.delete(key);
  try {
    localStorage.removeItem(PREFIX + key);
  } catch {
    // it was never there
  }
}

/** Whether it would be there after a reload. */
export function isKept(key: string): boolean {
  try {
    return !memory.has(key) && localStorage.getItem(PREFIX + key) !== null;
  } catch {
    return false;
  }
}

/** Hears of what another tab has written or forgotten under keys that begin so. */
export function listenToOthers(start: string, listener: () => void): void {
  addEventListener("storage", ({ key }) => {
    // `null`: all of it was cleared.
    if (key === null || key.startsWith(PREFIX + start)) listener();
  });
}

/** All that is kept under keys that begin so. */
export function readAll(start: string): Map<string, string> {
  const found = new Map<string, string>();
  try {
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith(PREFIX + start)) found.set(key.slice(PREFIX.length), localStorage.getItem(key) ?? "");
    }
  } catch {
    // what is in memory is all there is
  }
  for (const [key, value] of memory) if (key.startsWith(start)) found.set(key, value);
  return found;
}

/** What a tab keeps over a reload, for itself alone. */
const inTab = new Map<string, string>();

export function readInTab(key: string): string | null {
  try {
    return sessionStorage.getItem(PREFIX + key) ?? inTab.get(key) ?? null;
  } catch {
    return inTab.get(key) ?? null;
  }
}

export function writeInTab(key: string, value: string): void {
  try {
    sessionStorage.setItem(PREFIX + key, value);
  } catch {
    inTab.set(key, value);
  }
}

export function forgetInTab(key: string): void {
  inTab.delete(key);
  try {
    sessionStorage.removeItem(PREFIX + key);
  } catch {
    // it was never there
  }
}
