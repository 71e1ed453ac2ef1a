// Expected failures. Every one reaches the caller as a ConvexError with a stable code and a text for people that
// says what to do. Anything else that is thrown is a defect of ours.

import { ConvexError } from "convex/values";

export type Code =
  /** No identity or token, or one that is not known here. */
  | "unauthorized"
  /** It exists and belongs to somebody else. */
  | "forbidden"
  | "not_found"
  /** The id exists with another meaning, or the present state does not allow it. */
  | "conflict"
  /** An argument is out of bounds. */
  | "invalid"
  | "too_large"
  /** The worker waits for its owner's approval. */
  | "pending"
  /** The worker or its credential was revoked: an approval or another token serves again. */
  | "revoked"
  /** The token's worker was removed, for good: nobody will ever get another answer. */
  | "removed"
  /** The token is a device's that was revoked, or that is not known here. */
  | "device_revoked"
  /** Another install holds the token. */
  | "held"
  /** The epoch is not the present one: another supervisor connected. */
  | "displaced"
  /** The session is over. */
  | "ended"
  | "queue_full"
  /** The request is not open any more: somebody has answered it, or nobody waits for it. */
  | "gone"
  /** The machine does not have the tool. */
  | "unavailable";

export type Refusal = ConvexError<{ code: Code; message: string }>;

/** `throw refusal(…)`: the transaction is rolled back and the caller gets `{code, message}`. */
export function refusal(code: Code, message: string): Refusal {
  return new ConvexError({ code, message });
}
