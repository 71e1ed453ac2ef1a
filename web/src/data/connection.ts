// The page's connection to its deployment: the official client, who we are to it, and whether it is there. Views read
// both through hooks and never see the client's states.

import { ConvexClient } from "convex/browser";
import { claims } from "./identity";

/** `expired` and `refused` are the deployment's word; which of the two it was is read from the token. */
export type Sign = "out" | "checking" | "in" | "expired" | "refused";

export interface Standing {
  sign: Sign;
  isOnline: boolean;
  /** When the connection was lost, or the page opened; wall clock. */
  since: number;
  hasEverConnected: boolean;
}

export class Connection {
  readonly client: ConvexClient;
  private now: Standing = { sign: "out", isOnline: false, since: Date.now(), hasEverConnected: false };
  private readonly listeners = new Set<() => void>();
  private token: string | null = null;

  constructor(readonly url: string) {
    this.client = new ConvexClient(url, {
      // A deployment of one's own has a name of its own.
      skipConvexDeploymentUrlCheck: true,
      // What was not acknowledged is kept and sent again, so nobody has to be warned.
      unsavedChangesWarning: false,
    });
    this.client.subscribeToConnectionState((state) => {
      const isOnline = state.isWebSocketConnected;
      if (isOnline === this.now.isOnline) return;
      this.set({ isOnline, since: Date.now(), hasEverConnected: this.now.hasEverConnected || isOnline });
    });
  }

  standing = (): Standing => this.now;

  listen = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  };

  signIn(token: string): void {
    this.token = token;
    this.set({ sign: "checking" });
    this.client.setAuth(
      () => Promise.resolve(this.token === token ? token : null),
      (isAuthenticated) => {
        if (this.token !== token) return;
        this.set({ sign: isAuthenticated ? "in" : this.whyNot(token) });
      },
    );
  }

  signOut(): void {
    this.token = null;
    this.client.setAuth(() => Promise.resolve(null));
    this.set({ sign: "out" });
  }

  /** When the token ends, by its own word; `null` when nobody is signed in. */
  expiresAt(): number | null {
    return this.token === null ? null : (claims(this.token)?.expiresAt ?? null);
  }

  private whyNot(token: string): Sign {
    const end = claims(token)?.expiresAt;
    return end !== undefined && end < Date.now() + 60_000 ? "expired" : "refused";
  }

  private set(change: Partial<Standing>): void {
    this.now = { ...this.now, ...change };
    for (const listener of [...this.listeners]) listener();
  }
}
