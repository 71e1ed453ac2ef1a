// How views read: live queries, the connection's standing, the time.

import type { FunctionArgs, FunctionReference, FunctionReturnType } from "convex/server";
import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import type { Connection, Standing } from "./connection";
import type { Outbox, Pending } from "./outbox";
import { refusalOf, type Refusal } from "./refusal";

export interface World {
  connection: Connection;
  outbox: Outbox;
}
export const WorldContext = createContext<World | null>(null);

export function useWorld(): World {
  const world = useContext(WorldContext);
  if (!world) throw new Error("a view outside of the page");
  return world;
}

export interface Answer<T> {
  value?: T;
  error?: Refusal;
}

/** A query's present answer. With other arguments it is empty again until theirs has come. */
export function useQuery<Query extends FunctionReference<"query">>(
  query: Query,
  args: FunctionArgs<Query> | "skip",
): Answer<FunctionReturnType<Query>> {
  const { client } = useWorld().connection;
  const key = JSON.stringify(args);
  const [answer, setAnswer] = useState<{ key: string; answer: Answer<FunctionReturnType<Query>> }>({ key, answer: {} });
  useEffect(() => {
    if (args === "skip") return;
    return client.onUpdate(
      query,
      args,
      (value: FunctionReturnType<Query>) => setAnswer({ key, answer: { value } }),
      (error: Error) => setAnswer((before) => ({ key, answer: { ...(before.key === key ? before.answer : {}), error: refusalOf(error) } })),
    );
  }, [client, key]);
  return answer.key === key ? answer.answer : {};
}

export function useStanding(): Standing {
  const { connection } = useWorld();
  const [standing, setStanding] = useState(connection.standing());
  useEffect(() => {
    setStanding(connection.standing());
    return connection.listen(() => setStanding(connection.standing()));
  }, [connection]);
  return standing;
}

/** Messages of ours that the deployment has not acknowledged. */
export function usePending(): readonly Pending[] {
  const { outbox } = useWorld();
  const [pending, setPending] = useState(outbox.pending());
  useEffect(() => {
    setPending(outbox.pending());
    return outbox.listen(() => setPending(outbox.pending()));
  }, [outbox]);
  return pending;
}

/** The wall clock, looked at every so many milliseconds while somebody looks at the page. */
export function useNow(every: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const look = () => setNow(Date.now());
    const timer = setInterval(look, every);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [every]);
  return now;
}
