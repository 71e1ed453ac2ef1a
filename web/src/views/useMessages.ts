// A session's messages: the newest ones live, earlier ones fetched on demand. What has left the live window stays as it
// was last seen; the oldest open turn among it, the only one that can still run, is watched by itself.

import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { api, type Message } from "../data/api";
import { useQuery, useWorld, type Answer } from "../data/hooks";
import { refusalOf } from "../data/refusal";
import { isOpen } from "../text/words";

const LIVE = 30;
const EARLIER = 30;

export interface Messages {
  /** Oldest first; `undefined` until the first answer. */
  messages: Message[] | undefined;
  error: Answer<never>["error"];
  /** `null` when there is nothing before. */
  loadEarlier: (() => Promise<void>) | null;
}

export function useMessages(sessionId: string): Messages {
  const { client } = useWorld().connection;
  const live = useQuery(api.messages.list, { sessionId, limit: LIVE });
  const [seen, setSeen] = useState<ReadonlyMap<string, Message>>(new Map());
  const [isWhole, setIsWhole] = useState(false);
  const [problem, setProblem] = useState<Answer<never>["error"]>();

  const take = useCallback((rows: readonly Message[]) => {
    setSeen((before) => {
      const after = new Map(before);
      for (const row of rows) after.set(row.id, row);
      return after;
    });
  }, []);
  useEffect(() => {
    if (live.value) take(live.value.messages);
  }, [live.value]);

  const messages = useMemo(() => [...seen.values()].sort((a, b) => a.seq - b.seq), [seen]);
  const liveFrom = live.value?.messages[0]?.seq ?? Infinity;
  const straggler = messages.find((message) => isOpen(message) && message.seq < liveFrom);
  const watched = useQuery(api.messages.list, straggler ? { sessionId, limit: 1, beforeSeq: Math.floor(straggler.seq) + 1 } : "skip");
  useEffect(() => {
    if (watched.value) take(watched.value.messages);
  }, [watched.value]);

  const oldest = messages[0];
  const loadEarlier = async () => {
    if (!oldest) return;
    try {
      const page = await client.query(api.messages.list, { sessionId, limit: EARLIER, beforeSeq: oldest.seq });
      if (page.messages.length === 0) setIsWhole(true);
      take(page.messages);
    } catch (error) {
      setProblem(refusalOf(error));
    }
  };
  const hasMore = !isWhole && oldest !== undefined && oldest.seq > 0;
  return {
    messages: live.value === undefined && messages.length === 0 ? undefined : messages,
    error: live.error ?? problem,
    loadEarlier: hasMore ? loadEarlier : null,
  };
}
