// A turn's content, from where it is: in its row, in pages of stored parts, or in the stream that still grows.

import { useEffect, useMemo, useState } from "preact/hooks";
import { again } from "../data/again";
import { api, type Message, type Part } from "../data/api";
import { useWorld } from "../data/hooks";
import { refusalOf, type Refusal } from "../data/refusal";
import { joined, type Groups } from "../turn/fold";
import { TurnStream } from "../turn/stream";

export interface Content {
  groups: Groups;
  error?: Refusal;
  isLoading: boolean;
}

const NOTHING: Groups = [];

export function useParts(turn: Message): Content {
  const stored = useMemo(() => (turn.parts ? joined(turn.parts) : null), [turn.parts]);
  const streamed = useStream(turn);
  const fetched = useStoredPages(turn);
  if (stored) return { groups: stored, isLoading: false };
  if (!turn.folded) return { isLoading: false, ...streamed };
  // Until all pages are here, what was streamed is shown.
  if (!fetched.groups) return { ...fetched, groups: streamed.groups, isLoading: !fetched.error };
  return { groups: fetched.groups, isLoading: false };
}

/** One frame holds as many deltas as came meanwhile. */
function useStream(turn: Message): { groups: Groups; error?: Refusal } {
  const { client, pause } = useWorld().connection;
  const [state, setState] = useState<{ groups: Groups; error?: Refusal }>({ groups: NOTHING });
  const turnId = turn.id;
  const isStreaming = !turn.folded && turn.state !== "queued";
  useEffect(() => {
    if (!isStreaming) return;
    let frame = 0;
    let latest: Groups = NOTHING;
    const show = () => {
      frame = 0;
      setState({ groups: latest });
    };
    const stream = new TurnStream(
      {
        fetch: (from) => client.query(api.chunks.page, { turnId, from }),
        subscribe: (from, take, fail) => client.onUpdate(api.chunks.page, { turnId, from }, take, fail),
        pause,
      },
      {
        changed: (groups) => {
          latest = groups;
          // A hidden page gets no frames, and has to be right when it is looked at.
          if (document.hidden) show();
          else frame ||= requestAnimationFrame(show);
        },
        failed: (error) => setState((before) => ({ ...before, error: refusalOf(error) })),
      },
    );
    return () => {
      stream.close();
      cancelAnimationFrame(frame);
    };
  }, [client, turnId, isStreaming]);
  return state;
}

function useStoredPages(turn: Message): { groups?: Groups; error?: Refusal } {
  const { client, pause } = useWorld().connection;
  const [state, setState] = useState<{ groups?: Groups; error?: Refusal }>({});
  const turnId = turn.id;
  const isWanted = turn.partsOmitted === true;
  useEffect(() => {
    if (!isWanted) return;
    let isCurrent = true;
    const fetchAll = async () => {
      const parts: Part[] = [];
      for (let from: number | null = 0; from !== null && isCurrent; ) {
        const page: { parts: Part[]; next: number | null } = await client.query(api.messages.parts, { turnId, from });
        parts.push(...page.parts);
        from = page.next;
      }
      if (isCurrent) setState({ groups: joined(parts) });
    };
    void again(fetchAll, {
      isOver: () => !isCurrent,
      failed: (error) => setState({ error: refusalOf(error) }),
      pause,
    });
    return () => void (isCurrent = false);
  }, [client, turnId, isWanted]);
  return state;
}
