// Generated from convex/lib/jobs.ts by `npm run strip`: change that file, not this one.
// The internal functions that the scheduler calls, by name: a reference by import would tie the modules in a knot.

import { makeFunctionReference } from "convex/server";


export const expireTurn = makeFunctionReference                                ("messages:expire");
export const checkClaim = makeFunctionReference                                                 ("messages:checkClaim");
export const foldChunks = makeFunctionReference                                ("chunks:fold");
export const dropChunks = makeFunctionReference                                ("chunks:drop");
export const closeTurns = makeFunctionReference                                  ("workers:closeTurns");
export const expireCommand = makeFunctionReference                                   ("commands:expire");
export const expireRequest = makeFunctionReference                                   ("permissions:expire");
export const forgetCommand = makeFunctionReference                                   ("commands:forget");
export const revokeReplaced = makeFunctionReference                                                  ("workers:revokeReplaced");
export const expireAttachment = makeFunctionReference                                      ("attachments:expire");
export const lapseCode = makeFunctionReference                                  ("devices:lapse");
