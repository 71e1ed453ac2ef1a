// A session's messages: the newest ones live, earlier ones fetched on demand. What has left the live window stays as it
// was last seen; the oldest open turn among it, the only one that can still run, is watched by itself.

import { useEffect, useMemo, useState } from "preact/hooks";
import { api, type Message } from "../data/api";
import { withEarlier, withNewest, withinKnown, type History } from "../data/history";
import { useQuery, useWorld, type Answer } from "../data/hooks";
import { refusalOf } from "../data/refusal";
import { isOpen } from "../text/words";

const LIVE = 30;
const EARLIER = 30;
/** A turn, and the message and the turn that go on with it by themselves: they stand before the next whole number. */
const AROUND_A_TURN = 3;

export interface Messages {
  /** Oldest first; `undefined` until the first answer. */
  messages: History | undefined;
  error: Answer<never>["error"];
  /** `null` when there is nothing before. */
  loadEarlier: (() => Promise<void>) | null;
}

export function useMessages(sessionId: string): Messages {
  const { client } = useWorld().connection;
  const live = useQuery(api.messages.list, { sessionId, limit: LIVE });
  const [messages, setMessages] = useState<History>([]);
  /** The oldest one there is, once somebody has asked for what is before it. */
  const [firstSeq, setFirstSeq] = useState(0);
  const [problem, setProblem] = useState<Answer<never>["error"]>();

  useEffect(() => {
    const rows = live.value?.messages;
    if (rows) setMessages((known) => withNewest(known, rows));
  }, [live.value]);

  const liveFrom = live.value?.messages[0]?.seq ?? Infinity;
  const straggler = useMemo(() => stragglerOf(messages, liveFrom), [messages, liveFrom]);
  const place = straggler && { sessionId, limit: AROUND_A_TURN, beforeSeq: Math.floor(straggler.seq) + 1 };
  const watched = useQuery(api.messages.list, place ?? "skip");
  useEffect(() => {
    const rows = watched.value?.messages;
    if (rows) setMessages((known) => withinKnown(known, rows));
  }, [watched.value]);

  const oldest = messages[0];
  const loadEarlier = async () => {
    if (!oldest) return;
    setProblem(undefined);
    try {
      const { messages: rows } = await client.query(api.messages.list, { sessionId, limit: EARLIER, beforeSeq: oldest.seq });
      if (rows.length === 0) setFirstSeq(oldest.seq);
      setMessages((known) => withEarlier(known, oldest.seq, rows));
    } catch (error) {
      setProblem(refusalOf(error));
    }
  };
  const hasMore = oldest !== undefined && oldest.seq > firstSeq;
  return {
    messages: live.value === undefined && messages.length === 0 ? undefined : messages,
    error: live.error ?? problem,
    loadEarlier: hasMore ? loadEarlier : null,
  };
}

/** Of what nobody sends any more, the one row that may still change: what is open, else what was not folded yet when it was last seen. */
function stragglerOf(messages: History, liveFrom: number): Message | undefined {
  const left = messages.filter((message) => message.seq < liveFrom);
  return left.find(isOpen) ?? left.findLast((message) => message.role === "assistant" && !message.folded);
}
