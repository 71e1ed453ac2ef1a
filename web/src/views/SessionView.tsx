// One session: what was said, what is being said, and the place to say more.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { api, type Message, type Session } from "../data/api";
import type { Along } from "../data/files";
import { useLooking } from "../data/looking";
import { usePending, useQuery, useWorld } from "../data/hooks";
import { newId } from "../data/outbox";
import { address } from "../route";
import { isOpen, titleOf, tokens } from "../text/words";
import { Act } from "./Act";
import { Composer } from "./Composer";
import { SentFiles } from "./FileList";
import { Requests } from "./Requests";
import { PendingMessage } from "./PendingMessage";
import { StandingMark, usePresence } from "./presence";
import { StatusWord } from "./SessionList";
import { Turn } from "./Turn";
import { useMessages } from "./useMessages";
import { useStuckToEnd } from "./useStuckToEnd";

export function SessionView({ sessionId }: { sessionId: string }) {
  const { value: session, error } = useQuery(api.sessions.get, { sessionId });
  const { messages, error: unread, loadEarlier } = useMessages(sessionId);
  const { outbox } = useWorld();
  useLooking(sessionId);
  const pending = usePending().filter((one) => one.sessionId === sessionId);
  const unlisted = pending.filter((one) => !messages?.some((message) => message.id === one.id));
  const { ref, isAtEnd, toEnd } = useStuckToEnd();
  const send = async (content: string, chosen: { model?: string; agent?: string }, files: readonly Along[]) => {
    toEnd();
    await outbox.add({ id: newId(), sessionId, content, ...(files.length === 0 ? {} : { files }), ...chosen });
  };
  const openTurns = useMemo(() => messages?.filter(isOpen) ?? [], [messages]);
  useEffect(() => {
    document.title = session ? `${session.waiting ? "? " : openTurns.length > 0 ? "… " : ""}${titleOf(session)}` : "orchestrator";
    return () => void (document.title = "orchestrator");
  }, [session?.title, session?.waiting, openTurns.length > 0]);
  const trouble = error ?? unread;
  if (session === null) return <Gone />;
  return (
    <div class="page">
      <Head session={session} sessionId={sessionId} />
      <div class="log" ref={ref} tabIndex={0} role="region" aria-label="Conversation">
        <div class="column">
          {trouble && (
            <p class="problem" role="alert">
              {trouble.message}
            </p>
          )}
          {messages === undefined && !trouble && <p class="hint">Loading…</p>}
          {loadEarlier && <Earlier load={loadEarlier} log={ref} />}
          {messages?.map((message) =>
            message.role === "user" ? (
              <Said key={message.id} message={message} />
            ) : (
              <Turn key={message.id} turn={message} ahead={openTurns.findIndex((open) => open.id === message.id)} />
            ),
          )}
          {unlisted.map((one) => (
            <PendingMessage key={one.id} pending={one} draftKey={sessionId} />
          ))}
        </div>
      </div>
      <div class="foot">
        {!isAtEnd && (
          <button type="button" class="to-end" onClick={toEnd}>
            ↓ Latest
          </button>
        )}
        <Requests sessionId={sessionId} />
        <Announced turns={messages?.filter((message) => message.role === "assistant") ?? []} />
        {session?.status === "ended" ? (
          <p class="hint ended">
            This session has ended. <a href={address({ name: "new", workerId: session.workerId })}>Start another one there</a>
          </p>
        ) : (
          <Composer
            draftKey={sessionId}
            label="Message"
            send={send}
            workerId={session?.workerId}
            {...(session?.model === undefined ? {} : { model: session.model })}
          />
        )}
      </div>
    </div>
  );
}

function Said({ message }: { message: Message }) {
  return (
    <article class="message user" aria-label="You">
      {message.continues !== undefined && <p class="notice">goes on by itself with what was interrupted</p>}
      {message.content !== "" && <div class="bubble">{message.content}</div>}
      {message.attachments && <SentFiles files={message.attachments} />}
    </article>
  );
}

function Gone() {
  return (
    <div class="empty">
      <h1 data-heading tabIndex={-1}>
        No such session
      </h1>
      <a class="button" href={address({ name: "sessions" })}>
        All sessions
      </a>
    </div>
  );
}

function Head({ session, sessionId }: { session: Session | undefined; sessionId: string }) {
  const { client } = useWorld().connection;
  const { value: workers } = useQuery(api.workers.list, {});
  const standing = usePresence();
  const [title, setTitle] = useState<string | null>(null);
  const worker = workers?.find((one) => one.workerId === session?.workerId);
  const rename = async () => {
    if (title !== null && title.trim() !== "") await client.mutation(api.sessions.rename, { sessionId, title: title.trim() });
    setTitle(null);
  };
  return (
    <header class="bar session-bar">
      <a class="back" href={address({ name: "sessions" })} aria-label="Back to the sessions">
        ‹
      </a>
      <div class="names">
        {title === null ? (
          <h1 data-heading tabIndex={-1}>
            {session ? titleOf(session) : "…"}
          </h1>
        ) : (
          <form class="rename" onSubmit={(event) => event.preventDefault()}>
            <input aria-label="Title" value={title} maxLength={200} onInput={(event) => setTitle(event.currentTarget.value)} />
            <Act label="Save" kind="primary" act={rename} />
            <button type="button" onClick={() => setTitle(null)}>
              Cancel
            </button>
          </form>
        )}
        <span class="meta">
          {worker?.name} {worker && <StandingMark standing={standing(worker)} />}
          {session && (
            <>
              {" "}
              · <StatusWord status={session.status} />
              {session.usage && <span title="All turns together"> · {tokens(session.usage)}</span>}
            </>
          )}
        </span>
        {session?.reason && <span class="meta problem">{session.reason}</span>}
      </div>
      {session && session.status !== "ended" && (
        <details class="menu">
          <summary aria-label="More about this session">⋯</summary>
          <div class="menu-body">
            <button type="button" onClick={(event) => (setTitle(session.title), event.currentTarget.closest("details")?.removeAttribute("open"))}>
              Rename
            </button>
            <Act label="End session" question="Really end it?" kind="danger" act={() => client.mutation(api.sessions.end, { sessionId })} />
          </div>
        </details>
      )}
    </header>
  );
}

/** Earlier messages come in above, and what is read stays where it is. */
function Earlier({ load, log }: { load: () => Promise<void>; log: { current: HTMLDivElement | null } }) {
  const [isBusy, setIsBusy] = useState(false);
  const height = useRef<number | null>(null);
  useLayoutEffect(() => {
    const area = log.current;
    if (area && height.current !== null && area.scrollHeight !== height.current) {
      area.scrollTop += area.scrollHeight - height.current;
      height.current = null;
    }
  });
  const press = async () => {
    setIsBusy(true);
    height.current = log.current?.scrollHeight ?? null;
    await load();
    setIsBusy(false);
  };
  return (
    <button type="button" class="quiet earlier" disabled={isBusy} onClick={() => void press()}>
      Earlier messages
    </button>
  );
}

/** For a screen reader: that an answer has begun or ended, and not each of its words. */
function Announced({ turns }: { turns: Message[] }) {
  const last = turns.at(-1);
  const isWorking = last !== undefined && isOpen(last);
  const words = last === undefined ? "" : isWorking ? "The assistant is working" : last.state === "complete" ? "The answer is complete" : `The turn has ended: ${last.state}`;
  return (
    <p class="unseen" role="status" aria-live="polite">
      {words}
    </p>
  );
}
