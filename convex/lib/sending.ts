// A message comes in: the user's row, its content, and the turn that will answer it, in one transaction. The caller's
// id makes it idempotent: the same message again gets the same answer, whatever has become of the session meanwhile.

import { takeAttachments, type Attachment } from "./attaching";
import { refusal } from "./errors";
import { expireTurn } from "./jobs";
import {
  MESSAGE_BYTES,
  MODEL_CHARS,
  NAME_CHARS,
  OPEN_TURNS_PER_SESSION,
  checkId,
  checkLine,
  checkText,
  exceeds,
  utf8Bytes,
} from "./limits";
import { findMessage, findSession, ownedSession, usableWorker } from "./owners";
import type { Doc, MutationCtx, QueryCtx } from "./server";
import { queuedLimitMs } from "./settings";
import { openTurns } from "./turns";

const TITLE_CHARS = 60;

export interface Sending {
  id: string;
  sessionId?: string | undefined;
  workerId?: string | undefined;
  content: string;
  model?: string | undefined;
  agent?: string | undefined;
  attachments?: string[] | undefined;
}

export interface Sent {
  sessionId: string;
  turnId: string;
  seq: number;
}

export const turnIdOf = (messageId: string) => `turn_${messageId}`;
const sessionIdOf = (messageId: string) => `session_${messageId}`;

export async function sendMessage(ctx: MutationCtx, owner: string, sending: Sending): Promise<Sent> {
  const sessionId = chosenSession(sending);
  const before = await sentBefore(ctx, owner, sessionId, sending);
  if (before) return before;
  checkContent(sending);
  const session = sending.workerId === undefined
    ? await ownedSession(ctx, owner, sessionId)
    : await startedSession(ctx, owner, sessionId, sending.workerId, sending.model);
  if (session.ended) throw refusal("ended", `session ${sessionId} is over: start another one`);
  await usableWorker(ctx, owner, session.workerId);
  await checkQueue(ctx, sessionId);
  return await insertMessage(ctx, session, sending);
}

/** A session that waits for its first message. */
export async function insertSession(
  ctx: MutationCtx,
  session: Pick<Doc<"sessions">, "sessionId" | "owner" | "workerId" | "title"> & { model?: string },
): Promise<void> {
  const now = Date.now();
  await ctx.db.insert("sessions", {
    ...session,
    status: "pending",
    ended: false,
    served: false,
    createdAt: now,
    lastActivityAt: now,
  });
}

function chosenSession({ id, sessionId, workerId }: Sending): string {
  checkId("id", id);
  if ((sessionId === undefined) === (workerId === undefined)) {
    throw refusal("invalid", "give either sessionId, to go on with a session, or workerId, to start one");
  }
  return sessionId ?? sessionIdOf(id);
}

async function sentBefore(ctx: QueryCtx, owner: string, sessionId: string, sending: Sending): Promise<Sent | null> {
  const known = await findMessage(ctx, sending.id);
  if (!known) {
    if (await findMessage(ctx, turnIdOf(sending.id))) throw taken(sending.id);
    return null;
  }
  const sameMeaning = known.role === "user" && known.owner === owner && known.sessionId === sessionId;
  if (!sameMeaning || (await contentOf(ctx, sending.id)) !== sending.content) throw taken(sending.id);
  const ids = known.attachments?.map(({ id }) => id) ?? [];
  if (ids.join() !== (sending.attachments ?? []).join()) throw taken(sending.id);
  return { sessionId, turnId: turnIdOf(sending.id), seq: known.seq };
}

function taken(id: string) {
  return refusal("conflict", `message id ${id} is taken by another message: make a new id`);
}

function checkContent({ content, model, agent, attachments }: Sending): void {
  if (content.trim().length === 0 && !attachments?.length) throw refusal("invalid", "the message is empty: write something");
  if (exceeds([content], MESSAGE_BYTES)) {
    throw refusal(
      "too_large",
      `the message has ${utf8Bytes(content)} bytes and the limit is ${MESSAGE_BYTES}: ` +
        "put it into a file in the worker's directory and name that file in a message",
    );
  }
  if (model !== undefined) checkText("model", model, MODEL_CHARS);
  if (agent !== undefined) checkLine("agent", agent, NAME_CHARS);
}

async function startedSession(
  ctx: MutationCtx,
  owner: string,
  sessionId: string,
  workerId: string,
  model: string | undefined,
): Promise<Doc<"sessions">> {
  await usableWorker(ctx, owner, workerId);
  if (await findSession(ctx, sessionId)) throw refusal("conflict", `session ${sessionId} exists: make a new message id`);
  await insertSession(ctx, { sessionId, owner, workerId, title: "", ...(model === undefined ? {} : { model }) });
  return await ownedSession(ctx, owner, sessionId);
}

async function checkQueue(ctx: QueryCtx, sessionId: string): Promise<void> {
  const open = await openTurns(ctx, sessionId, OPEN_TURNS_PER_SESSION);
  if (open.length === OPEN_TURNS_PER_SESSION) {
    throw refusal("queue_full", `${open.length} messages of the session wait for an answer already: try again later`);
  }
}

async function insertMessage(ctx: MutationCtx, session: Doc<"sessions">, sending: Sending): Promise<Sent> {
  const { sessionId, workerId, owner } = session;
  const last = await ctx.db
    .query("messages")
    .withIndex("by_seq", (q) => q.eq("sessionId", sessionId))
    .order("desc")
    .first();
  const seq = last ? Math.floor(last.seq) + 1 : 0;
  const { id, content, model, agent } = sending;
  const attachments = await takeAttachments(ctx, owner, id, sending.attachments ?? []);
  await insertExchange(
    ctx,
    { sessionId, workerId, owner, model, agent },
    { promptId: id, promptSeq: seq, turnSeq: seq + 1, content, attachments },
  );
  const title = session.title === "" ? { title: titleOf(content) || titleOf(attachments[0]?.name ?? "") } : {};
  await ctx.db.patch(session._id, { lastActivityAt: Date.now(), ...title });
  return { sessionId, turnId: turnIdOf(id), seq };
}

export interface Exchange {
  promptId: string;
  promptSeq: number;
  turnSeq: number;
  content: string;
  attachments: Attachment[];
  /** The interrupted turn that it goes on with. */
  continues?: string;
}

/** A user's message and the queued turn that will answer it. */
export async function insertExchange(
  ctx: MutationCtx,
  of: { sessionId: string; workerId: string; owner: string; model?: string | undefined; agent?: string | undefined },
  { promptId, promptSeq, turnSeq, content, attachments, continues }: Exchange,
): Promise<void> {
  const { sessionId, workerId, owner, model, agent } = of;
  const turnId = turnIdOf(promptId);
  const both = {
    sessionId,
    workerId,
    owner,
    createdAt: Date.now(),
    ...(model === undefined ? {} : { model }),
    ...(agent === undefined ? {} : { agent }),
    ...(continues === undefined ? {} : { continues }),
  };
  await ctx.db.insert("messages", { ...both, messageId: promptId, role: "user", seq: promptSeq, ...(attachments.length === 0 ? {} : { attachments }) });
  await ctx.db.insert("contents", { messageId: promptId, text: content });
  await ctx.db.insert("messages", {
    ...both,
    messageId: turnId,
    role: "assistant",
    seq: turnSeq,
    promptId,
    state: "queued",
    open: true,
  });
  await ctx.scheduler.runAfter(queuedLimitMs(), expireTurn, { turnId });
}

/** The first line that says something, cut at a whole character. */
function titleOf(content: string): string {
  const line = content.trim().split("\n", 1)[0] ?? "";
  return Array.from(line.slice(0, TITLE_CHARS * 2).trim()).slice(0, TITLE_CHARS).join("");
}

/** A user's text; null when the row is missing. */
export async function contentOf(ctx: QueryCtx, messageId: string): Promise<string | null> {
  const row = await ctx.db
    .query("contents")
    .withIndex("by_message", (q) => q.eq("messageId", messageId))
    .unique();
  return row?.text ?? null;
}
