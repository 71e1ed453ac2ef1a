// What concerns the whole page: no connection, and for how long; a token that is about to end.

import { useNow, useStanding, useWorld } from "../data/hooks";
import { duration } from "../text/words";

/** A drop of this length is not worth a word: the client is back before it is read. */
const SAY_AFTER_MS = 1_500;
const SAY_BEFORE_END_MS = 2 * 60_000;

export function Banner() {
  const { isOnline, since, hasEverConnected, sign, problem } = useStanding();
  const { connection } = useWorld();
  const now = useNow(1_000);
  const away = now - since;
  const left = (connection.expiresAt() ?? Infinity) - now;
  return (
    <div class="banners" role="status" aria-live="polite">
      {!isOnline && away > SAY_AFTER_MS && (
        <p class="banner" data-banner="offline">
          <strong>{hasEverConnected ? "Offline" : "Connecting"}</strong>
          <span>
            {" "}
            {new URL(connection.url).host} {hasEverConnected ? "is away" : "has not answered yet"}; trying again by itself.{" "}
            {hasEverConnected && "What you send waits here. "}
          </span>
          <span aria-hidden="true" class="since">
            {duration(away)}
          </span>
        </p>
      )}
      {sign === "in" && problem !== undefined && (
        <p class="banner" data-banner="problem">
          <span>{problem}</span>{" "}
          <button type="button" class="quiet" onClick={() => connection.heard()}>
            Close
          </button>
        </p>
      )}
      {sign === "in" && left < SAY_BEFORE_END_MS && (
        <p class="banner" data-banner="expiring">
          {left > 0
            ? "Your token ends in less than two minutes. Have another one ready: "
            : "By this device's clock your token has ended; the deployment still takes it. "}
          {left > 0 && <code>orchestrator owner token --ttl 12h</code>}
        </p>
      )}
    </div>
  );
}
