// What a page knows of a session's messages: one run of them without a gap, up to the newest. Rows come from three sides: the
// newest ones live, earlier ones on demand, one that is still open and has left the live window by itself. What would leave a
// gap is not kept: after a long sleep the newest rows stand alone, and what is before them can be fetched again.

import type { Message } from "./api";

/** Oldest first. */
export type History = readonly Message[];

/** The newest rows as they are now. Those known before stay if they meet them. */
export function withNewest(known: History, rows: History): History {
  const first = rows[0];
  const last = known.at(-1);
  if (first === undefined) return known;
  return last === undefined || first.seq > last.seq ? rows : merged(known, rows);
}

/** The rows right before the one at `beforeSeq`, if that is still the oldest one known. */
export function withEarlier(known: History, beforeSeq: number, rows: History): History {
  return known[0]?.seq === beforeSeq ? merged(known, rows) : known;
}

/** Rows among the known ones, as they are now, and what was put between them since. */
export function withinKnown(known: History, rows: History): History {
  const first = known[0];
  return first === undefined ? known : merged(known, rows.filter((row) => row.seq >= first.seq));
}

function merged(known: History, rows: History): History {
  if (rows.length === 0) return known;
  const all = new Map(known.map((row) => [row.id, row]));
  for (const row of rows) all.set(row.id, row);
  return [...all.values()].sort((a, b) => a.seq - b.seq);
}
