// A message that the deployment has not acknowledged: on its way, or refused. Its author decides about a refused one;
// its text is never lost.

import type { Pending } from "../data/outbox";
import { useStanding, useWorld } from "../data/hooks";
import { appendDraft } from "./drafts";

export function PendingMessage({ pending, draftKey }: { pending: Pending; draftKey: string }) {
  const { outbox } = useWorld();
  const { isOnline } = useStanding();
  const edit = () => {
    outbox.drop(pending.id);
    appendDraft(draftKey, pending.content);
  };
  return (
    <article class="message user" data-pending={pending.refusal ? "refused" : "sending"}>
      <div class="bubble">{pending.content}</div>
      {pending.refusal ? (
        <div class="notice" role="alert">
          <span class="problem">Not sent: {pending.refusal.message}</span>
          <span class="acts">
            <button type="button" onClick={() => void outbox.again(pending.id)}>
              Try again
            </button>
            <button type="button" onClick={edit}>
              Edit
            </button>
          </span>
        </div>
      ) : (
        <p class="notice">{isOnline ? "sending…" : "will be sent when the deployment is back"}</p>
      )}
    </article>
  );
}
