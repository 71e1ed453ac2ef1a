// That this page looks at a session, said while it is in front of somebody: no other device then tells them what they see. A page
// that is merely open on a screen is in front of nobody: whoever has touched nothing for two minutes may have gone.

import { useEffect } from "preact/hooks";
import { api } from "./api";
import type { Connection } from "./connection";
import { useStanding, useWorld } from "./hooks";
import { newId } from "./outbox";

/** The deployment believes it for 45 s. */
const AGAIN_MS = 20_000;
/** How long a look is believed after the last key, touch or movement of the pointer. */
export const LOOKS_FOR_MS = 120_000;

/** Scrolling is none: a page that follows an answer scrolls by itself. */
const TOUCHES = ["keydown", "pointerdown", "pointermove", "wheel", "touchmove"] as const;

const viewerId = newId();

export function useLooking(sessionId: string): void {
  const { connection } = useWorld();
  const { isOnline } = useStanding();
  useEffect(() => {
    // Whoever opens it is there.
    touched = performance.now();
  }, [sessionId]);
  useEffect(() => {
    if (!isOnline) return;
    return watchLooks((looks) => say(connection, looks ? sessionId : undefined));
  }, [connection, isOnline, sessionId]);
}

/** When somebody last did something on this page. A connection that comes back is nobody's doing. */
let touched = performance.now();

/** Says again and again that somebody looks, and once that nobody does any more. */
export function watchLooks(say: (looks: boolean) => void): () => void {
  let isSaid = false;
  const look = () => {
    const looks = document.visibilityState === "visible" && performance.now() - touched < LOOKS_FOR_MS;
    if (looks || isSaid) say(looks);
    isSaid = looks;
  };
  const touch = () => {
    touched = performance.now();
    if (!isSaid) look();
  };
  const shown = () => {
    // Somebody has turned to it, or away from it.
    if (document.visibilityState === "visible") touched = performance.now();
    look();
  };
  look();
  const timer = setInterval(look, AGAIN_MS);
  for (const name of TOUCHES) window.addEventListener(name, touch, { passive: true, capture: true });
  window.addEventListener("focus", touch);
  document.addEventListener("visibilitychange", shown);
  return () => {
    clearInterval(timer);
    for (const name of TOUCHES) window.removeEventListener(name, touch, { capture: true });
    window.removeEventListener("focus", touch);
    document.removeEventListener("visibilitychange", shown);
    if (isSaid) say(false);
  };
}

/** One that is not heard costs a notice too many. While the deployment is away nothing is kept for later. */
function say(connection: Connection, sessionId: string | undefined): void {
  const { isOnline, sign } = connection.standing();
  if (!isOnline || sign !== "in") return;
  connection.client.mutation(api.viewers.look, { viewerId, ...(sessionId === undefined ? {} : { sessionId }) }).catch(() => {});
}
