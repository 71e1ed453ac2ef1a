// Generated from convex/lib/errors.ts by `npm run strip`: change that file, not this one.
// Expected failures. Every one reaches the caller as a ConvexError with a stable code and a text for people that
// says what to do. Anything else that is thrown is a defect of ours.

import { ConvexError } from "convex/values";


































/** `throw refusal(…)`: the transaction is rolled back and the caller gets `{code, message}`. */
export function refusal(code      , message        )          {
  return new ConvexError({ code, message });
}
