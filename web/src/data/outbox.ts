// Messages on their way. Each has an id of our own making, under which the deployment takes it once however often it is
// sent; so it is kept in the browser until it is acknowledged, and sent again after a reload. A refusal stays beside the
// text until its author has decided about it.

import type { Along } from "./files";
import { refusalOfUpload } from "./files";
import { ofDeployment } from "./address";
import type { Refusal } from "./refusal";
import { forget, isKept, listenToOthers, readAll, write } from "./store";

/** Written for one deployment, sent to no other. */
const key = (): string => `${ofDeployment("send")}.`;

export interface Message {
  id: string;
  /** Exactly one of the two: a session, or the worker that gets a new one. */
  sessionId?: string;
  workerId?: string;
  content: string;
  model?: string;
  agent?: string;
  /** Uploaded before the message goes out, under these ids. */
  files?: readonly Along[];
}

export interface Pending extends Message {
  at: number;
  refusal?: Refusal;
}

/** `tell` hears how much of the files is uploaded, from 0 to 1. */
export type Send = (message: Message, tell: (part: number) => void) => Promise<{ sessionId: string }>;

export class Outbox {
  private held: readonly Pending[];
  private readonly listeners = new Set<() => void>();
  private readonly underWay = new Set<string>();
  private readonly uploaded = new Map<string, number>();
  /** What has to be sent before the next message of the same session or worker. */
  private readonly uploading = new Map<string, Promise<unknown>>();

  constructor(private readonly send: Send) {
    this.held = kept();
    // Another tab has sent, taken back or added something.
    listenToOthers(key(), () => this.set(kept()));
  }

  /** Whether it would outlive this page: a browser whose storage is full keeps nothing. */
  outlives = (id: string): boolean => isKept(key() + id);

  /** How much of a message's files is uploaded. */
  progress = (id: string): number | undefined => this.uploaded.get(id);

  pending = (): readonly Pending[] => this.held;

  listen = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  };

  /** The session that took it; `null` when it was refused and waits here. */
  async add(message: Message, now = Date.now()): Promise<string | null> {
    const pending = { ...message, at: now };
    this.keep(pending);
    return await this.attempt(pending);
  }

  /** What an earlier visit has left, or what waited for an identity. Each is one that was not refused for good. */
  resume(): void {
    this.set(kept());
    for (const pending of this.held) if (!pending.refusal) void this.attempt(pending);
  }

  async again(id: string): Promise<string | null> {
    const pending = this.held.find((one) => one.id === id);
    if (!pending) return null;
    const { refusal: _, ...fresh } = pending;
    this.keep(fresh);
    return await this.attempt(fresh);
  }

  /** Takes it back: it will not be sent again. */
  drop(id: string): void {
    forget(key() + id);
    this.set(this.held.filter((one) => one.id !== id));
  }

  private async attempt(pending: Pending): Promise<string | null> {
    if (this.underWay.has(pending.id)) return null;
    this.underWay.add(pending.id);
    // Files take their time; what was written after them must not overtake them.
    const to = pending.sessionId ?? pending.workerId ?? "";
    const before = this.uploading.get(to);
    const attempt = before ? before.then(() => this.go(pending)) : this.go(pending);
    if (!before && !pending.files?.length) return await attempt;
    this.uploading.set(to, attempt);
    try {
      return await attempt;
    } finally {
      if (this.uploading.get(to) === attempt) this.uploading.delete(to);
    }
  }

  private async go(pending: Pending): Promise<string | null> {
    try {
      // What was taken back meanwhile, here or in another tab, does not go out.
      if (!kept().some((one) => one.id === pending.id)) return null;
      const { at: _, refusal: __, ...message } = pending;
      const { sessionId } = await this.send(message, (part) => {
        this.uploaded.set(pending.id, part);
        this.set([...this.held]);
      });
      this.drop(pending.id);
      return sessionId;
    } catch (error) {
      const refusal = refusalOfUpload(error);
      // Without an identity nothing was decided: it goes out with the next one.
      if (refusal.code !== "unauthorized" && kept().some((one) => one.id === pending.id)) this.keep({ ...pending, refusal });
      return null;
    } finally {
      this.underWay.delete(pending.id);
      this.uploaded.delete(pending.id);
    }
  }

  private keep(pending: Pending): void {
    write(key() + pending.id, JSON.stringify(pending));
    const others = this.held.filter((one) => one.id !== pending.id);
    this.set([...others, pending].sort((a, b) => a.at - b.at));
  }

  private set(held: readonly Pending[]): void {
    this.held = held;
    for (const listener of [...this.listeners]) listener();
  }
}

function kept(): Pending[] {
  return [...readAll(key()).values()].flatMap(parse).sort((a, b) => a.at - b.at);
}

function parse(text: string): Pending[] {
  try {
    const value = JSON.parse(text) as Partial<Pending>;
    const isWhole = typeof value.id === "string" && typeof value.content === "string" && typeof value.at === "number";
    return isWhole ? [value as Pending] : [];
  } catch {
    return [];
  }
}

/** An id as the deployment takes it. Also where `crypto.randomUUID` is missing: on a plain http address. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
