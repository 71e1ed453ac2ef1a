// The internal functions that the scheduler calls, by name: a reference by import would tie the modules in a knot.

import { makeFunctionReference } from "convex/server";
import type { Id } from "./server";

export const expireTurn = makeFunctionReference<"mutation", { turnId: string }>("messages:expire");
export const checkClaim = makeFunctionReference<"mutation", { turnId: string; again?: boolean }>("messages:checkClaim");
export const foldChunks = makeFunctionReference<"mutation", { turnId: string }>("chunks:fold");
export const dropChunks = makeFunctionReference<"mutation", { turnId: string }>("chunks:drop");
export const closeTurns = makeFunctionReference<"mutation", { workerId: string }>("workers:closeTurns");
export const expireCommand = makeFunctionReference<"mutation", { commandId: string }>("commands:expire");
export const expireRequest = makeFunctionReference<"mutation", { requestId: string }>("permissions:expire");
export const forgetCommand = makeFunctionReference<"mutation", { commandId: string }>("commands:forget");
export const revokeReplaced = makeFunctionReference<"mutation", { credentials: Id<"credentials">[] }>("workers:revokeReplaced");
export const expireAttachment = makeFunctionReference<"mutation", { attachmentId: string }>("attachments:expire");
export const lapseCode = makeFunctionReference<"mutation", { deviceId: string }>("devices:lapse");
