// A message that the deployment has not acknowledged: on its way, or refused. Its author decides about a refused one;
// its text is never lost.

import type { Pending } from "../data/outbox";
import { useStanding, useWorld } from "../data/hooks";
import { appendDraft } from "./drafts";
import { NamedFiles } from "./FileList";

export function PendingMessage({ pending, draftKey }: { pending: Pending; draftKey: string }) {
  const { outbox } = useWorld();
  const { isOnline } = useStanding();
  const uploaded = outbox.progress(pending.id);
  const edit = () => {
    outbox.drop(pending.id);
    appendDraft(draftKey, pending.content, pending.files);
  };
  return (
    <article class="message user" data-pending={pending.refusal ? "refused" : "sending"}>
      {pending.content !== "" && <div class="bubble">{pending.content}</div>}
      <NamedFiles files={pending.files ?? []} />
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
        <p class="notice">{isOnline ? (uploaded === undefined ? "sending…" : `sending… ${Math.floor(uploaded * 100)} %`) : "will be sent when the deployment is back"}</p>
      )}
      {!outbox.outlives(pending.id) && <p class="notice problem">This browser's storage takes no more: it is held only while this page is open.</p>}
    </article>
  );
}
