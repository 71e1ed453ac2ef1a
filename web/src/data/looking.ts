// That this page looks at a session, said while it is in front of somebody: no other device then tells them what they see.

import { useEffect } from "preact/hooks";
import { api } from "./api";
import type { Connection } from "./connection";
import { useStanding, useWorld } from "./hooks";
import { newId } from "./outbox";

/** The deployment believes it for 45 s. */
const AGAIN_MS = 20_000;

const viewerId = newId();

export function useLooking(sessionId: string): void {
  const { connection } = useWorld();
  const { isOnline } = useStanding();
  useEffect(() => {
    if (!isOnline) return;
    let isSaid = false;
    const look = () => {
      const isVisible = document.visibilityState === "visible";
      if (isVisible) say(connection, sessionId);
      else if (isSaid) say(connection, undefined);
      isSaid = isVisible;
    };
    look();
    const timer = setInterval(look, AGAIN_MS);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
      if (isSaid) say(connection, undefined);
    };
  }, [connection, isOnline, sessionId]);
}

/** One that is not heard costs a notice too many. While the deployment is away nothing is kept for later. */
function say(connection: Connection, sessionId: string | undefined): void {
  const { isOnline, sign } = connection.standing();
  if (!isOnline || sign !== "in") return;
  connection.client.mutation(api.viewers.look, { viewerId, ...(sessionId === undefined ? {} : { sessionId }) }).catch(() => {});
}
