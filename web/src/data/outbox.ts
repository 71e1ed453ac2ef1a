// Messages on their way. Each has an id of our own making, under which the deployment takes it once however often it is
// sent; so it is kept in the browser until it is acknowledged, and sent again after a reload. A refusal stays beside the
// text until its author has decided about it.

import { ofDeployment } from "./address";
import { refusalOf, type Refusal } from "./refusal";
import { forget, readAll, write } from "./store";

/** Written for one deployment, sent to no other. */
const key = (): string => `${ofDeployment("send")}.`;

export interface Message {
  id: string;
  /** Exactly one of the two: a session, or the worker that gets a new one. */
  sessionId?: string;
  workerId?: string;
  content: string;
  model?: string;
}

export interface Pending extends Message {
  at: number;
  refusal?: Refusal;
}

export type Send = (message: Message) => Promise<{ sessionId: string }>;

export class Outbox {
  private held: readonly Pending[];
  private readonly listeners = new Set<() => void>();
  private readonly underWay = new Set<string>();

  constructor(private readonly send: Send) {
    this.held = [...readAll(key()).values()].flatMap(parse).sort((a, b) => a.at - b.at);
  }

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
    try {
      const { at: _, refusal: __, ...message } = pending;
      const { sessionId } = await this.send(message);
      this.drop(pending.id);
      return sessionId;
    } catch (error) {
      const refusal = refusalOf(error);
      // Without an identity nothing was decided: it goes out with the next one.
      if (refusal.code !== "unauthorized" && this.held.some((one) => one.id === pending.id)) this.keep({ ...pending, refusal });
      return null;
    } finally {
      this.underWay.delete(pending.id);
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
