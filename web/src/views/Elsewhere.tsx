// A link that leads to another deployment: the page asks before it goes there, and says so where it cannot.

import { useEffect, useState } from "preact/hooks";
import { mayTalkTo } from "../data/address";

export const NOT_FROM_HERE =
  "This page is served by a deployment and may talk to that one only. Open the page at the other deployment's own address, or one that is served apart from any.";

interface Props {
  here: string;
  there: string;
  decide: (goes: boolean) => void;
}

export function Elsewhere({ here, there, decide }: Props) {
  const [isAllowed, setIsAllowed] = useState<boolean | null>(null);
  useEffect(() => void mayTalkTo(there).then(setIsAllowed), [there]);
  return (
    <div class="alone">
      <main class="sign-in">
        <h1>Another deployment?</h1>
        <p role="alert">
          This link leads to <code>{there}</code>; you are at <code>{here}</code>. Go there only if the link is your own: whatever you send there
          belongs to whoever runs it. Your sessions and what waits to be sent stay here.
        </p>
        {isAllowed === false && (
          <p class="problem" role="alert">
            {NOT_FROM_HERE}
          </p>
        )}
        <div class="acts">
          <button type="button" class="primary" onClick={() => decide(false)}>
            Stay here
          </button>
          {isAllowed !== false && (
            <button type="button" class="danger" disabled={isAllowed === null} onClick={() => decide(true)}>
              Go there
            </button>
          )}
        </div>
      </main>
    </div>
  );
}
