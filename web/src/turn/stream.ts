// A running turn's stream. Chunks are read in fixed windows of 32; what is there already is fetched several windows at a
// time, and only the last window, the one that still grows, is subscribed to. So whoever opens a turn in its middle
// catches up quickly, and a new delta costs the same at the beginning and at the end of a long answer.

import { again } from "../data/again";
import type { Item, Page } from "../data/api";
import { Fold, type Groups } from "./fold";

export const WINDOW = 32;
/** Windows fetched at once while catching up. */
const AT_ONCE = 8;

/** What the stream needs of a deployment. */
export interface Source {
  fetch(from: number): Promise<Page>;
  /** Returns what ends the subscription. */
  subscribe(from: number, take: (page: Page) => void, fail: (error: unknown) => void): () => void;
  /** Waits so long, or until there is a reason to try again. */
  pause(ms: number): Promise<void>;
}

export interface Told {
  /** Also after a failure that is over. */
  changed(groups: Groups): void;
  /** It is tried again. */
  failed(error: unknown): void;
}

export class TurnStream {
  private readonly fold = new Fold();
  private end: (() => void) | null = null;
  private isClosed = false;
  private hasFailed = false;

  constructor(
    private readonly source: Source,
    private readonly told: Told,
  ) {
    void again(() => this.catchUp(), {
      isOver: () => this.isClosed,
      failed: (error) => this.fail(error),
      pause: (ms) => this.source.pause(ms),
    });
  }

  close(): void {
    this.isClosed = true;
    this.end?.();
    this.end = null;
  }

  private async catchUp(): Promise<void> {
    for (;;) {
      // A fetch that failed may have left the fold in the middle of a window.
      const from = this.fold.next - (this.fold.next % WINDOW);
      const starts = Array.from({ length: AT_ONCE }, (_, at) => from + at * WINDOW);
      // The first alone: most turns have just begun, and then there is nothing to catch up with.
      const first = await this.source.fetch(from);
      if (this.isClosed) return;
      this.take(first.items);
      if (this.fold.next < from + WINDOW) break;
      const others = await Promise.all(starts.slice(1).map((start) => this.source.fetch(start)));
      if (this.isClosed) return;
      this.take(others.flatMap((page) => page.items));
      if (this.fold.next < from + AT_ONCE * WINDOW) break;
    }
    this.follow();
  }

  private follow(): void {
    const from = this.fold.next - (this.fold.next % WINDOW);
    this.end = this.source.subscribe(
      from,
      (page) => {
        if (this.isClosed) return;
        this.take(page.items);
        if (this.fold.next < from + WINDOW) return;
        this.end?.();
        this.follow();
      },
      (error) => this.fail(error),
    );
  }

  private take(items: readonly Item[]): void {
    const isNew = this.fold.apply(items);
    if (isNew || this.hasFailed) this.told.changed(this.fold.groups);
    this.hasFailed = false;
  }

  private fail(error: unknown): void {
    this.hasFailed = true;
    if (!this.isClosed) this.told.failed(error);
  }
}
