// An assistant's turn: its parts, and what has become of it.

import { memo } from "preact/compat";
import { api, type Message, type Part } from "../data/api";
import { useNow, useWorld } from "../data/hooks";
import { duration, isOpen, tokens, turnWords } from "../text/words";
import { PartView } from "../parts/PartView";
import { Act } from "./Act";
import { useParts } from "./useParts";

export const Turn = memo(
  function Turn({ turn, ahead }: { turn: Message; ahead: number }) {
    const { groups, error, isLoading } = useParts(turn);
    const isRunning = turn.state === "claimed";
    return (
      <article class="message assistant" aria-label="Assistant" aria-busy={isRunning} data-turn={turn.id} data-state={turn.state}>
        {groups.map((group, at) => (
          <Group key={at} parts={group} isOpen={isRunning} />
        ))}
        {isLoading && <p class="notice">Loading the answer…</p>}
        {error && (
          <p class="problem" role="alert">
            {error.message}
          </p>
        )}
        <Foot turn={turn} ahead={ahead} isSilent={groups.length === 0} />
      </article>
    );
  },
  (a, b) => a.ahead === b.ahead && sameTurn(a.turn, b.turn),
);

/** Rows come anew with every answer of the deployment; most say what they said before. */
function sameTurn(a: Message, b: Message): boolean {
  return (
    a.id === b.id &&
    a.state === b.state &&
    a.folded === b.folded &&
    a.partsOmitted === b.partsOmitted &&
    a.abortRequested === b.abortRequested &&
    a.finishedAt === b.finishedAt &&
    a.error?.code === b.error?.code &&
    a.parts?.length === b.parts?.length
  );
}

/** An element of its own, so that neither the diff nor the layout of a long turn walks through all of its parts. */
const Group = memo(function Group({ parts, isOpen }: { parts: readonly Part[]; isOpen: boolean }) {
  return (
    <div class="group">
      {parts.map((part) => (
        <PartView key={part.partId} part={part} isOpen={isOpen} />
      ))}
    </div>
  );
});

function Foot({ turn, ahead, isSilent }: { turn: Message; ahead: number; isSilent: boolean }) {
  const { client } = useWorld().connection;
  const state = turn.state ?? "complete";
  const abort = () => client.mutation(api.messages.abort, { turnId: turn.id });
  return (
    <footer class="turn-foot">
      {turn.error && state !== "complete" && (
        <p class="ending" data-state={state} role="note">
          <strong>{turnWords(turn, ahead)}:</strong> {turn.error.message}
        </p>
      )}
      <span class="meta">
        {isOpen(turn) ? (
          <span class="working" data-state={state}>
            {state === "claimed" && <span class="pulse" aria-hidden="true" />}
            {turnWords(turn, ahead)} {state === "claimed" && <Elapsed since={turn.createdAt} />}
          </span>
        ) : (
          <>
            {!turn.error && state !== "complete" && turnWords(turn, ahead)}
            {state === "complete" && isSilent && "no words"}
            {turn.finishedAt !== undefined && ` ${duration(turn.finishedAt - turn.createdAt)}`}
            {turn.usage && ` · ${tokens(turn.usage)}`}
            {turn.model && ` · ${turn.model}`}
          </>
        )}
      </span>
      {isOpen(turn) && !turn.abortRequested && (
        <Act label={state === "queued" ? "Withdraw" : "Stop"} kind={state === "queued" ? "plain" : "danger"} act={abort} />
      )}
    </footer>
  );
}

/** By this device's clock, so only shown when it makes sense. */
function Elapsed({ since }: { since: number }) {
  const age = useNow(1_000) - since;
  return age > 3_000 && age < 6 * 3_600_000 ? <span aria-hidden="true">{duration(Math.floor(age / 1_000) * 1_000).replace(".0", "")}</span> : null;
}
