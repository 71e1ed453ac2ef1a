// Whether a worker's supervisor is there. The deployment only says when it was last heard; that 35 s without a beat are
// too long is the reader's judgement, by the deployment's clock and not by the phone's, which may be wrong.
//
// How far apart the two are shows itself with the first beat that arrives while we watch: it was made just now. Until
// then nobody is called offline who may only seem so.

import type { Beat } from "./api";

export const BEAT_TTL_MS = 35_000;
/** Beats come every 10 s. */
const FIRST_BEAT_MS = 12_000;

export type Standing = "online" | "offline" | "checking";

export class Clock {
  private ahead: number | null = null;
  private readonly beats = new Map<string, number>();
  private watchedSince: number | null = null;

  /** `now` is this device's wall clock, when the rows arrived. */
  arrived(rows: readonly Beat[], now: number): void {
    const isFirst = this.watchedSince === null;
    this.watchedSince ??= now;
    for (const row of rows) {
      const before = this.beats.get(row.workerId);
      if (!isFirst && before !== row.lastBeat) this.ahead = row.lastBeat - now;
      this.beats.set(row.workerId, row.lastBeat);
    }
  }

  /** A connection that was lost brings old beats: what was learnt stays, the wait begins anew. */
  reconnected(): void {
    this.watchedSince = null;
  }

  standing(row: Beat | undefined, now: number): Standing {
    if (!row || row.disconnected) return "offline";
    const age = now + (this.ahead ?? 0) - row.lastBeat;
    if (age >= 0 && age < BEAT_TTL_MS) return "online";
    if (this.ahead !== null) return age < BEAT_TTL_MS ? "online" : "offline";
    return now - (this.watchedSince ?? now) < FIRST_BEAT_MS ? "checking" : "offline";
  }
}
