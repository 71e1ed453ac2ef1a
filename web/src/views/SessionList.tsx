// All sessions, the latest first. Rows are drawn again only when they change, and the browser lays out only those that
// are seen, so that hundreds of them cost little.

import { memo } from "preact/compat";
import { useMemo, useState } from "preact/hooks";
import { api, type Session } from "../data/api";
import { useNow, useQuery } from "../data/hooks";
import { address } from "../route";
import { ago, titleOf } from "../text/words";

/** What the deployment gives at most. */
const LISTED = 200;

export function SessionList({ current }: { current: string | null }) {
  const [withEnded, setWithEnded] = useState(false);
  const [filter, setFilter] = useState("");
  const { value: sessions, error } = useQuery(api.sessions.list, { includeEnded: withEnded });
  const { value: workers } = useQuery(api.workers.list, {});
  const now = useNow(30_000);
  const names = useMemo(() => new Map(workers?.map((worker) => [worker.workerId, worker.name])), [workers]);
  const wanted = filter.trim().toLowerCase();
  const shown = sessions?.filter(
    (session) => wanted === "" || `${session.title} ${names.get(session.workerId) ?? ""}`.toLowerCase().includes(wanted),
  );
  return (
    <>
      <header class="bar">
        <h1 data-heading tabIndex={-1}>
          Sessions
        </h1>
        <a class="button quiet" href={address({ name: "machines" })}>
          Machines
        </a>
        <a class="button primary" href={address({ name: "new" })}>
          New
        </a>
      </header>
      <div class="filter">
        <input
          type="search"
          placeholder="Filter"
          aria-label="Filter sessions"
          value={filter}
          onInput={(event) => setFilter(event.currentTarget.value)}
        />
        <label class="check">
          <input type="checkbox" checked={withEnded} onChange={(event) => setWithEnded(event.currentTarget.checked)} /> ended
        </label>
      </div>
      {error && (
        <p class="problem" role="alert">
          {error.message}
        </p>
      )}
      {shown === undefined && !error && <p class="hint">Loading…</p>}
      {shown?.length === 0 && <p class="hint">{wanted === "" ? "No sessions yet." : "Nothing fits."}</p>}
      <ul class="sessions">
        {shown?.map((session) => (
          <Row
            key={session.sessionId}
            session={session}
            worker={names.get(session.workerId) ?? "a removed worker"}
            age={ago(session.lastActivityAt, now)}
            isCurrent={session.sessionId === current}
          />
        ))}
      </ul>
      {sessions?.length === LISTED && <p class="hint">The latest {LISTED} are shown.</p>}
    </>
  );
}

interface RowProps {
  session: Session;
  worker: string;
  age: string;
  isCurrent: boolean;
}

const Row = memo(
  function Row({ session, worker, age, isCurrent }: RowProps) {
    return (
      <li>
        <a href={address({ name: "session", sessionId: session.sessionId })} aria-current={isCurrent ? "page" : undefined}>
          <span class="title">{titleOf(session)}</span>
          <span class="meta">
            {worker} · {session.waiting ? <span class="waits">waits for you</span> : <StatusWord status={session.status} />}
            <span class="age">{age}</span>
          </span>
        </a>
      </li>
    );
  },
  (a, b) =>
    a.worker === b.worker &&
    a.age === b.age &&
    a.isCurrent === b.isCurrent &&
    a.session.sessionId === b.session.sessionId &&
    a.session.title === b.session.title &&
    a.session.status === b.session.status &&
    a.session.waiting === b.session.waiting,
);

/** The session's assistant: what its supervisor last said. */
export function StatusWord({ status }: { status: Session["status"] }) {
  const words = { pending: "new", active: "running", idle: "resting", ended: "ended", failed: "failed" };
  return (
    <span class="status" data-status={status}>
      {words[status]}
    </span>
  );
}
