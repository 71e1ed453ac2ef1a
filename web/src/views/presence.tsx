// How a worker stands, in a word and a colour. The word is always there: a colour alone says nothing to many.

import { useEffect, useRef } from "preact/hooks";
import { api, type Worker } from "../data/api";
import { useNow, useQuery, useStanding } from "../data/hooks";
import { Clock } from "../data/presence";

export type WorkerStanding = "online" | "offline" | "checking" | "pending" | "revoked";

/** Says of any worker how it stands, and looks again as time passes. */
export function usePresence(): (worker: Pick<Worker, "workerId" | "state">) => WorkerStanding {
  const { value } = useQuery(api.presence.list, {});
  const { isOnline } = useStanding();
  const now = useNow(5_000);
  const clock = useRef(new Clock());
  const seen = useRef(value);
  if (value !== undefined && seen.current !== value) clock.current.arrived(value, Date.now());
  seen.current = value;
  useEffect(() => {
    if (!isOnline) clock.current.reconnected();
  }, [isOnline]);
  return (worker) => {
    if (worker.state === "pending") return "pending";
    if (worker.state !== "approved") return "revoked";
    if (value === undefined || !isOnline) return "checking";
    const beat = value.find((row) => row.workerId === worker.workerId);
    return clock.current.standing(beat, Math.max(now, Date.now()));
  };
}

const WORDS: Record<WorkerStanding, string> = {
  online: "online",
  offline: "offline",
  checking: "checking…",
  pending: "waits for approval",
  revoked: "revoked",
};

export function StandingMark({ standing }: { standing: WorkerStanding }) {
  return (
    <span class="standing" data-standing={standing}>
      <span class="dot" aria-hidden="true" />
      {WORDS[standing]}
    </span>
  );
}
