// Generated from convex/lib/settings.ts by `npm run strip`: change that file, not this one.
// What whoever runs a deployment may set, by its environment variables (`npx convex env set NAME VALUE`; the embedded
// one is given them by its command line). Each is read when it is needed, so that a change needs no deployment.

import { HOUR, SECOND } from "./limits";

const YEAR = 366 * 24 * HOUR;

/** A turn that nobody claimed in this time is closed as `expired`. */
export const queuedLimitMs = () => milliseconds("QUEUED_LIMIT_MS", process.env.QUEUED_LIMIT_MS, 24 * HOUR, SECOND);

/** A claimed turn whose worker has not beaten for this long is closed as `abandoned`. Longer than any pause of beats. */
export const abandonedLimitMs = () => milliseconds("ABANDONED_LIMIT_MS", process.env.ABANDONED_LIMIT_MS, HOUR, 60 * SECOND);

/** What makes no sense is said in the log and left out: a turn must not hang because of it. */
function milliseconds(name        , text                    , otherwise        , least        )         {
  if (text === undefined || text === "") return otherwise;
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > YEAR) {
    console.warn(`the deployment's variable ${name} must be ${least} to ${YEAR} milliseconds, it is ${text}: ${otherwise} is used`);
    return otherwise;
  }
  return value;
}

/** For people: `24 hours`, `1 hour`, `90 seconds`. */
export function spoken(ms        )         {
  const [size, unit] = ms % HOUR === 0 ? [HOUR, "hour"] : ms % (60 * SECOND) === 0 ? [60 * SECOND, "minute"] : [SECOND, "second"];
  const count = Math.round(ms / size);
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}
