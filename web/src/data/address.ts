// Which deployment the page talks to: the one that serves it, unless a link or the settings name another one. That works
// where the page's server allows it (its Content-Security-Policy) and the deployment accepts the page's origin.

import { forget, forgetInTab, read, readInTab, write, writeInTab } from "./store";

const KEY = "deployment";
/** One that this tab tries: it is kept when it has let somebody in, and until then no other tab hears of it. */
const TRIED = "deployment.tried";

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
  const kept = readInTab(TRIED) ?? read(KEY);
  const parsed = kept ? parseDeployment(kept) : null;
  return parsed && "url" in parsed ? parsed.url : location.origin;
}

/** The place for what is the present deployment's alone. */
export function ofDeployment(key: string): string {
  const url = deploymentUrl();
  return url === location.origin ? key : `${key}@${url}`;
}

/** `""` is the one that serves the page. What is wrong with it, if anything. */
export function tryDeployment(text: string): string | null {
  const parsed = text === "" || text === location.origin ? { url: location.origin } : parseDeployment(text);
  if ("problem" in parsed) return parsed.problem;
  writeInTab(TRIED, parsed.url);
  return null;
}

/** The tried one has let somebody in. */
export function keepTried(): void {
  const tried = readInTab(TRIED);
  if (tried === null) return;
  forgetInTab(TRIED);
  if (tried === location.origin) forget(KEY);
  else write(KEY, tried);
}

/** Whether a policy, as the page's server sent it, lets the page talk to that deployment. */
export function policyAllows(policy: string | null, url: string): boolean {
  const rules = (policy ?? "").split(/[;,]/).map((rule) => rule.trim().split(/\s+/));
  const sources = rules.filter(([name]) => name === "connect-src").map(([, ...allowed]) => allowed);
  const { protocol, host, hostname, origin } = new URL(url);
  const fits = (source: string) =>
    [protocol, origin, host, "*", `${protocol}//${hostname}:*`].includes(source) || (source === "'self'" && origin === location.origin);
  return sources.every((allowed) => allowed.some(fits));
}

/** Asks the page's server for its policy. One that cannot be asked now refuses nothing. */
export async function mayTalkTo(url: string): Promise<boolean> {
  try {
    const answer = await fetch("./", { cache: "no-store" });
    return policyAllows(answer.headers.get("content-security-policy"), url);
  } catch {
    return true;
  }
}
