// A session begins with its first message: where, and what.

import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../data/api";
import type { Along } from "../data/files";
import { usePending, useQuery, useWorld } from "../data/hooks";
import { newId } from "../data/outbox";
import { address, go } from "../route";
import { Composer } from "./Composer";
import { PendingMessage } from "./PendingMessage";
import { StandingMark, usePresence } from "./presence";

export function NewSession({ workerId }: { workerId?: string }) {
  const { value: workers, error } = useQuery(api.workers.list, {});
  const standing = usePresence();
  const { outbox } = useWorld();
  const [place, setPlace] = useState(workerId);
  const pending = usePending().filter((one) => one.workerId !== undefined);
  const usable = workers?.filter((worker) => worker.state === "approved") ?? [];
  const worker = usable.find((one) => one.workerId === place) ?? usable.find((one) => standing(one) === "online") ?? usable[0];
  const isHere = useRef(true);
  useEffect(() => () => void (isHere.current = false), []);
  const send = async (content: string, chosen: { model?: string; agent?: string }, files: readonly Along[]) => {
    if (!worker) return;
    const message = { id: newId(), workerId: worker.workerId, content, ...(files.length === 0 ? {} : { files }), ...chosen };
    const sessionId = await outbox.add(message);
    // Whoever has gone elsewhere meanwhile is not called back.
    if (sessionId !== null && isHere.current) go({ name: "session", sessionId });
  };
  return (
    <div class="page">
      <header class="bar">
        <a class="back" href={address({ name: "sessions" })} aria-label="Back to the sessions">
          ‹
        </a>
        <h1 data-heading tabIndex={-1}>
          New session
        </h1>
      </header>
      <div class="content grow">
        {error && (
          <p class="problem" role="alert">
            {error.message}
          </p>
        )}
        {workers === undefined && !error && <p class="hint">Loading…</p>}
        {workers !== undefined && usable.length === 0 && (
          <p class="hint">
            No worker is approved yet. <a href={address({ name: "machines" })}>Machines</a>
          </p>
        )}
        {usable.length > 0 && (
          <fieldset class="choice">
            <legend>Where</legend>
            {usable.map((one) => (
              <label key={one.workerId} class="option">
                <input
                  type="radio"
                  name="worker"
                  checked={one.workerId === worker?.workerId}
                  onChange={() => setPlace(one.workerId)}
                />
                <span>
                  <strong>{one.name}</strong> <StandingMark standing={standing(one)} />
                  <span class="meta path">{one.directory}</span>
                </span>
              </label>
            ))}
          </fieldset>
        )}
        {pending.map((one) => (
          <PendingMessage key={one.id} pending={one} draftKey="new" />
        ))}
      </div>
      <Composer draftKey="new" workerId={worker?.workerId} isDisabled={worker === undefined} send={send} label="What is there to do?" />
    </div>
  );
}
