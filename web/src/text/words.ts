// Times, sizes and states in words.

import type { Message, Session, Usage } from "../data/api";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `now`, `5 min`, `3 h`, `yesterday`, then the date. */
export function ago(then: number, now: number): string {
  const age = Math.max(0, now - then);
  if (age < MINUTE) return "now";
  if (age < HOUR) return `${Math.floor(age / MINUTE)} min`;
  if (age < DAY) return `${Math.floor(age / HOUR)} h`;
  if (age < 2 * DAY) return "yesterday";
  return new Date(then).toLocaleDateString(undefined, { day: "numeric", month: "short" });
}

export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

export function tokens(usage: Usage): string {
  const count = usage.inputTokens + usage.outputTokens + usage.reasoningTokens + usage.cacheReadTokens + usage.cacheWriteTokens;
  const text = count < 1_000 ? `${count} tokens` : `${(count / 1_000).toFixed(1)}k tokens`;
  return usage.cost > 0 ? `${text} · $${usage.cost.toFixed(usage.cost < 0.1 ? 4 : 2)}` : text;
}

export function bytes(count: number): string {
  return count < 10_000 ? `${count} bytes` : `${Math.round(count / 1_000).toLocaleString("en")} kB`;
}

export function titleOf(session: Pick<Session, "title">): string {
  return session.title.trim() === "" ? "Untitled" : session.title;
}

/** What a turn is doing, or how it ended. `ahead`: how many turns run before it. */
export function turnWords(turn: Message, ahead: number): string {
  if (turn.abortRequested && turn.state === "claimed") return "stopping…";
  switch (turn.state) {
    case "queued":
      return ahead === 0 ? "next in line" : `waiting: ${ahead} before it`;
    case "claimed":
      return "working…";
    case "interrupted":
      return "interrupted";
    case "failed":
      return "failed";
    case "aborted":
      return "stopped";
    default:
      return "done";
  }
}

export function isOpen(message: Message): boolean {
  return message.state === "queued" || message.state === "claimed";
}
