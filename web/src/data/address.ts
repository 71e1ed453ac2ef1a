// Which deployment the page talks to: the one that serves it, unless a link or the settings name another one. That works
// where the page's server allows it (its Content-Security-Policy) and the deployment accepts the page's origin.

import { forget, read, write } from "./store";

const KEY = "deployment";

/** The deployment's origin, or why the text is none. Only loopback may do without TLS. */
export function parseDeployment(text: string): { url: string } | { problem: string } {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return { problem: "This is not an address: it looks like https://happy-otter-123.convex.cloud" };
  }
  const isLoopback = ["127.0.0.1", "localhost", "[::1]"].includes(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isLoopback)) {
    return { problem: "The address must begin with https:// (http:// for this machine only)" };
  }
  return { url: url.origin };
}

export function deploymentUrl(): string {
  const kept = read(KEY);
  const parsed = kept ? parseDeployment(kept) : null;
  return parsed && "url" in parsed ? parsed.url : location.origin;
}

/** The place for what is the present deployment's alone. */
export function ofDeployment(key: string): string {
  const url = deploymentUrl();
  return url === location.origin ? key : `${key}@${url}`;
}

/** `""` is the one that serves the page. What is wrong with it, if anything. */
export function chooseDeployment(text: string): string | null {
  if (text === "" || text === location.origin) {
    forget(KEY);
    return null;
  }
  const parsed = parseDeployment(text);
  if ("problem" in parsed) return parsed.problem;
  write(KEY, parsed.url);
  return null;
}
