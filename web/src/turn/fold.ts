// Folds a turn's stream into its parts, as the deployment does when it stores them (`convex/lib/fold.ts`): text and
// reasoning are appended, a tool's state replaces the one before, `reset` empties a part, another kind starts it anew.
// A part keeps the place where it was first seen.
//
// Parts stand in groups of 32. A change makes a new part, a new group and a new list, and leaves all others as they are,
// so that a reader sees by identity what it need not draw again.

import type { Item, Part } from "../data/api";

export const GROUP = 32;
export type Groups = readonly (readonly Part[])[];

export class Fold {
  private places = new Map<string, number>();
  private held: Groups = [];
  private expected = 0;

  /** Items that are in already are skipped; at a gap the rest waits for another delivery. True when something changed. */
  apply(items: readonly Item[]): boolean {
    const before = this.expected;
    for (const item of items) {
      if (item.index < this.expected) continue;
      if (item.index > this.expected) break;
      this.expected += 1;
      this.take(item);
    }
    return this.expected !== before;
  }

  /** The index of the item that comes next. */
  get next(): number {
    return this.expected;
  }

  get groups(): Groups {
    return this.held;
  }

  private take({ partId, kind, content }: Item): void {
    const place = this.places.get(partId);
    if (place === undefined) {
      this.put(this.places.size, { partId, kind: kind === "reset" ? "text" : kind, text: kind === "reset" ? "" : content });
      this.places.set(partId, this.places.size);
      return;
    }
    const part = this.held[Math.floor(place / GROUP)]?.[place % GROUP];
    if (!part) return;
    if (kind === "reset") this.put(place, { ...part, text: "" });
    else if (kind === "tool" || kind !== part.kind) this.put(place, { partId, kind, text: content });
    else this.put(place, { ...part, text: part.text + content });
  }

  private put(place: number, part: Part): void {
    const at = Math.floor(place / GROUP);
    const group = [...(this.held[at] ?? [])];
    group[place % GROUP] = part;
    const groups = [...this.held];
    groups[at] = group;
    this.held = groups;
  }
}

/** A folded turn's rows as parts: several rows with one id are one part. */
export function joined(rows: readonly Part[]): Groups {
  const parts: Part[] = [];
  for (const row of rows) {
    const last = parts.at(-1);
    if (last && last.partId === row.partId) parts[parts.length - 1] = { ...last, text: last.text + row.text };
    else parts.push(row);
  }
  const groups: Part[][] = [];
  for (let at = 0; at < parts.length; at += GROUP) groups.push(parts.slice(at, at + GROUP));
  return groups;
}
