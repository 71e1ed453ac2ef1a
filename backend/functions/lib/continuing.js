// Generated from convex/lib/continuing.ts by `npm run strip`: change that file, not this one.
// Going on with an interrupted turn, when the worker's policy asks for it: a message of its own, written in the
// transaction that closes the turn, right behind it and ahead of what waits. At most once: its id is made from the
// interrupted turn's, and what goes on with a turn is not gone on with itself.

import { findMessage } from "./owners";
import { contentOf, insertExchange, turnIdOf } from "./sending";



/** The dot keeps it apart from every id that a caller can make. */
const continuationIdOf = (promptId        ) => `${promptId}.continued`;

/** Stands before the message itself: the assistant may have seen all of it, a part, or, after a power loss, nothing. */
const PREFACE =
  "The answer to the following message was interrupted before it was complete. Look at what is done already, then go on from there.";

export async function continueTurn(ctx             , session                 , turn      )                {
  if (turn.continues !== undefined || turn.abortRequested === true || session.ended) return;
  const promptId = continuationIdOf(turn.promptId);
  if (await findMessage(ctx, turnIdOf(promptId))) return;
  const text = (await contentOf(ctx, turn.promptId)) ?? "";
  await insertExchange(ctx, turn, {
    promptId,
    // Whole numbers are for messages that were sent: the next one may have its place already.
    promptSeq: turn.seq + 0.25,
    turnSeq: turn.seq + 0.5,
    attachments: (await findMessage(ctx, turn.promptId))?.attachments ?? [],
    content: `${PREFACE}\n\n${text}`,
    continues: turn.messageId,
  });
}
