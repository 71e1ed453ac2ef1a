// The page's connection to its deployment: the official client, who we are to it, and whether it is there. Views read
// both through hooks and never see the client's states.

import { ConvexClient } from "convex/browser";
import { api } from "./api";
import { browserName, claims, keepToken, storedToken } from "./identity";
import { beginPairing, deviceOf, endPairing } from "./pairing";
import { refusalOf } from "./refusal";

/**
 * `expired` and `refused` are the deployment's word; which of the two it was is read from the token. `revoked`: this
 * browser was paired, and is not any more. `unpaired`: a pairing code was not taken, `problem` says why. `failed`: the deployment
 * could not say whether the device is paired, `problem` is what it said; it may yet.
 */
export type Sign = "out" | "checking" | "pairing" | "in" | "expired" | "refused" | "revoked" | "unpaired" | "failed";

export interface Standing {
  sign: Sign;
  isOnline: boolean;
  /** When the connection was lost, or the page opened; wall clock. */
  since: number;
  hasEverConnected: boolean;
  problem?: string | undefined;
}

/** A page that stays open is in use. */
const VISIT_MS = 3_600_000;

export class Connection {
  readonly client: ConvexClient;
  private now: Standing = { sign: "out", isOnline: false, since: Date.now(), hasEverConnected: false };
  private readonly listeners = new Set<() => void>();
  private token: string | null = null;
  private watching: (() => void) | null = null;
  /** The code whose answer is waited for. */
  private pairing: string | null = null;
  /** The deployment has said that it knows the device. */
  private isGreeted = false;

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
      this.visit();
    });
    setInterval(() => this.visit(), VISIT_MS);
  }

  standing = (): Standing => this.now;

  listen = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  };

  /** So long, and no longer than until the deployment is back from an outage. */
  pause = (ms: number): Promise<void> =>
    new Promise((done) => {
      let { isOnline } = this.now;
      const over = () => {
        clearTimeout(timer);
        unlisten();
        done();
      };
      const timer = setTimeout(over, ms);
      const unlisten = this.listen(() => {
        if (this.now.isOnline && !isOnline) over();
        isOnline = this.now.isOnline;
      });
    });

  signIn(token: string): void {
    this.unwatch();
    this.token = token;
    this.set({ sign: "checking", problem: undefined });
    this.client.setAuth(
      () => Promise.resolve(this.token === token ? token : null),
      (isAuthenticated) => {
        if (this.token !== token) return;
        if (!isAuthenticated) this.set({ sign: this.whyNot(token) });
        // A paired device's token says nothing yet of whether it still is: nothing is shown or sent before that is known.
        else if (claims(token)?.device !== undefined) this.watchDevice(token);
        else this.set({ sign: "in" });
      },
    );
  }

  /**
   * Trades a pairing code for a token of this browser's own. The code is good once, so what comes back is kept at once, and
   * the code until then. Whoever is signed in stays so unless it is taken.
   */
  async pair(code: string): Promise<void> {
    const { claim } = beginPairing(code);
    const stored = storedToken();
    if (stored !== null && claims(stored)?.device === deviceOf(code)) {
      // The link that this browser was paired by, opened once more.
      endPairing();
      if (this.token !== stored) this.signIn(stored);
      return;
    }
    const wasIn = this.now.sign === "in";
    if (!wasIn) {
      this.signOut();
      this.set({ sign: "pairing" });
    }
    this.pairing = code;
    try {
      const name = browserName(navigator.userAgent);
      const traded = await this.client.mutation(api.devices.trade, { code, name, claim });
      if (this.pairing !== code) return;
      this.pairing = null;
      endPairing();
      if (traded.status === "paired") {
        keepToken(traded.token);
        this.signIn(traded.token);
      } else {
        this.notPaired(wasIn, new Error(traded.message));
      }
    } catch (error) {
      if (this.pairing !== code) return;
      // Nobody has decided: the code stays for the next time the page is opened.
      this.pairing = null;
      this.notPaired(wasIn, error);
    }
  }

  /** The code stays good for another browser, unless the deployment has taken it already. */
  cancelPairing(): void {
    this.pairing = null;
    endPairing();
    const stored = storedToken();
    if (stored === null) this.signOut();
    else this.signIn(stored);
  }

  /** What was to be told beside the views has been read. */
  heard(): void {
    this.set({ problem: undefined });
  }

  private notPaired(wasIn: boolean, error: unknown): void {
    const stored = storedToken();
    if (!wasIn && stored === null) this.set({ sign: "unpaired" });
    else if (!wasIn && stored !== null) this.signIn(stored);
    this.set({ problem: refusalOf(error).message });
  }

  /** A device is shown the door the moment it is revoked. */
  private watchDevice(token: string): void {
    if (this.watching !== null) {
      if (this.isGreeted) this.set({ sign: "in" });
      return;
    }
    const ended = (error: Error) => {
      if (this.token !== token) return;
      const refusal = refusalOf(error);
      if (refusal.code !== "device_revoked") {
        if (!this.isGreeted) this.set({ sign: "failed", problem: refusal.message });
        return;
      }
      this.signOut();
      this.set({ sign: "revoked" });
    };
    const greeted = () => {
      if (this.isGreeted) return;
      this.isGreeted = true;
      this.set(this.now.sign === "failed" ? { sign: "in", problem: undefined } : { sign: "in" });
      this.visit();
    };
    this.watching = this.client.onUpdate(api.devices.self, {}, greeted, ended);
  }

  /** When a device was last in use is nice to know, and nothing depends on it: while the deployment is away nothing is kept for later. */
  private visit(): void {
    if (this.isGreeted && this.now.isOnline) this.client.mutation(api.devices.visit, {}).catch(() => {});
  }

  private unwatch(): void {
    this.watching?.();
    this.watching = null;
    this.isGreeted = false;
  }

  signOut(): void {
    this.unwatch();
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
