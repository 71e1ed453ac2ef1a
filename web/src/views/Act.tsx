// A button for what cannot be taken back: the first press asks, the second one does it. Its refusal stands beside it.

import { useEffect, useRef, useState } from "preact/hooks";
import { refusalOf } from "../data/refusal";

const ASKS_FOR_MS = 5_000;

interface Props {
  label: string;
  /** Asked after the first press; without it the first press does it. */
  question?: string;
  kind?: "danger" | "primary" | "plain";
  act: () => Promise<unknown>;
}

export function Act({ label, question, kind = "plain", act }: Props) {
  const [isAsking, setIsAsking] = useState(false);
  const [isBusy, setIsBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const isMounted = useRef(true);
  useEffect(() => () => void (isMounted.current = false), []);
  useEffect(() => {
    if (!isAsking) return;
    const timer = setTimeout(() => setIsAsking(false), ASKS_FOR_MS);
    return () => clearTimeout(timer);
  }, [isAsking]);
  const press = async () => {
    if (question !== undefined && !isAsking) {
      setIsAsking(true);
      return;
    }
    setIsAsking(false);
    setIsBusy(true);
    setProblem(null);
    try {
      await act();
    } catch (error) {
      if (isMounted.current) setProblem(refusalOf(error).message);
    } finally {
      if (isMounted.current) setIsBusy(false);
    }
  };
  return (
    <span class="act">
      <button type="button" class={isAsking ? "danger" : kind} disabled={isBusy} onClick={() => void press()}>
        {isAsking ? question : label}
      </button>
      {problem !== null && (
        <span class="problem" role="alert">
          {problem}
        </span>
      )}
    </span>
  );
}
