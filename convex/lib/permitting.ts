// The life of a request: open → answered, withdrawn or expired. While its supervisor has yet to hear how it ended it is
// `live`. Rows hold states only; what is asked is in `permissionTexts`, so that the inbox never reads it. Every change
// keeps the session's count of what waits, which is what lists of sessions show.

import { refusal } from "./errors";
import {
  ANSWER_CHARS,
  DETAILS_CHARS,
  ENDED_REQUESTS_KEPT,
  NAME_CHARS,
  OPTIONS_PER_QUESTION,
  PATTERNS_PER_REQUEST,
  PATTERN_CHARS,
  QUESTIONS_PER_REQUEST,
  QUESTION_CHARS,
  REQUESTS_PER_TURN,
  TITLE_CHARS,
  cutTo,
} from "./limits";
import { findSession } from "./owners";
import type { Doc, MutationCtx, QueryCtx } from "./server";
import type { Turn } from "./turns";
import type { Asked, RequestAnswer, RequestState } from "./values";

export type RequestRow = Doc<"permissions">;
type Questions = NonNullable<Asked["questions"]>;

export async function findRequest(ctx: QueryCtx, requestId: string): Promise<RequestRow | null> {
  return await ctx.db
    .query("permissions")
    .withIndex("by_request", (q) => q.eq("requestId", requestId))
    .unique();
}

/** What is asked, and what was answered. */
export async function textOf(ctx: QueryCtx, requestId: string): Promise<Doc<"permissionTexts"> | null> {
  return await ctx.db
    .query("permissionTexts")
    .withIndex("by_request", (q) => q.eq("requestId", requestId))
    .unique();
}

/** Those of the turn that wait, and those whose end its supervisor has not heard. */
export async function liveRequests(ctx: QueryCtx, turnId: string): Promise<RequestRow[]> {
  return await ctx.db
    .query("permissions")
    .withIndex("by_turn", (q) => q.eq("turnId", turnId).eq("live", true))
    .take(REQUESTS_PER_TURN);
}

/** What an assistant asks comes from a model: what is too long for a person is cut, nothing is refused for it. */
export function clean(asked: Asked): Asked {
  const { kind, title, permission, patterns, always, details, from, questions } = asked;
  const list = (texts: string[]) => texts.slice(0, PATTERNS_PER_REQUEST).map((text) => cutTo(text, PATTERN_CHARS));
  return {
    kind,
    title: cutTo(title, TITLE_CHARS),
    ...(permission === undefined ? {} : { permission: cutTo(permission, NAME_CHARS) }),
    ...(patterns === undefined ? {} : { patterns: list(patterns) }),
    ...(always === undefined ? {} : { always: list(always) }),
    ...(details === undefined ? {} : { details: cutTo(details, DETAILS_CHARS) }),
    ...(from === undefined ? {} : { from: cutTo(from, NAME_CHARS) }),
    ...(questions === undefined ? {} : { questions: questions.slice(0, QUESTIONS_PER_REQUEST).map(cleanQuestion) }),
  };
}

/** A label is what the answer names, so one that is too long is left out rather than cut. */
function cleanQuestion(question: Questions[number]) {
  const options = question.options.filter(({ label }) => label !== "" && label.length <= NAME_CHARS);
  return {
    ...question,
    question: cutTo(question.question, QUESTION_CHARS),
    ...(question.header === undefined ? {} : { header: cutTo(question.header, NAME_CHARS) }),
    options: options.slice(0, OPTIONS_PER_QUESTION).map(({ label, description }) => ({
      label,
      ...(description === undefined ? {} : { description: cutTo(description, PATTERN_CHARS) }),
    })),
  };
}

export async function insertRequest(
  ctx: MutationCtx,
  turn: Turn,
  request: Pick<RequestRow, "requestId" | "askedAt" | "deadline">,
  asked: Asked,
): Promise<void> {
  const { sessionId, workerId, owner, messageId: turnId } = turn;
  const { kind, ...text } = asked;
  await ctx.db.insert("permissions", { ...request, kind, sessionId, workerId, owner, turnId, state: "open", open: true, live: true });
  await ctx.db.insert("permissionTexts", { requestId: request.requestId, ...text });
  await countWaiting(ctx, sessionId);
}

interface End {
  state: Exclude<RequestState, "open">;
  live: boolean;
}

export async function closeRequest(ctx: MutationCtx, request: RequestRow, end: End): Promise<void> {
  await ctx.db.patch(request._id, { ...end, open: false, endedAt: Date.now() });
  await countWaiting(ctx, request.sessionId);
}

/** The turn is over, or is to stop: nobody need answer what it asked, and no end is to be heard. */
export async function withdrawRequests(ctx: MutationCtx, turnId: string): Promise<void> {
  const [first, ...others] = await liveRequests(ctx, turnId);
  if (!first) return;
  const endedAt = Date.now();
  for (const request of [first, ...others]) {
    const end = request.state === "open" ? { state: "withdrawn" as const, open: false, endedAt } : {};
    await ctx.db.patch(request._id, { ...end, live: false });
  }
  await countWaiting(ctx, first.sessionId);
}

/** What the session's row says of it, so that a list of sessions reads no request. */
async function countWaiting(ctx: MutationCtx, sessionId: string): Promise<void> {
  const open = await ctx.db
    .query("permissions")
    .withIndex("by_session", (q) => q.eq("sessionId", sessionId).eq("open", true))
    .take(REQUESTS_PER_TURN);
  const session = await findSession(ctx, sessionId);
  const waiting = open.length === 0 ? undefined : open.length;
  if (session && session.waiting !== waiting) await ctx.db.patch(session._id, { waiting });
}

/** Of a session's ended requests the newest stay. Each asking lets go of as many as one asking can add, and some more. */
export async function forgetOldest(ctx: MutationCtx, sessionId: string): Promise<void> {
  const newestFirst = await ctx.db
    .query("permissions")
    .withIndex("by_session", (q) => q.eq("sessionId", sessionId).eq("open", false))
    .order("desc")
    .take(ENDED_REQUESTS_KEPT + 10);
  for (const old of newestFirst.slice(ENDED_REQUESTS_KEPT)) {
    if (old.live) continue;
    const text = await textOf(ctx, old.requestId);
    if (text) await ctx.db.delete(text._id);
    await ctx.db.delete(old._id);
  }
}

/** What a supervisor is told of a request. */
export async function standingOf(ctx: QueryCtx, { requestId, state }: RequestRow) {
  if (state !== "answered") return { state };
  const answer = (await textOf(ctx, requestId))?.answer;
  return { state, ...(answer === undefined ? {} : { answer }) };
}

export async function shownRequest(ctx: QueryCtx, row: RequestRow) {
  const { _id, _creationTime, owner, open, live, ...shown } = row;
  const text = await textOf(ctx, row.requestId);
  if (!text) return { ...shown, title: "" };
  const { _id: textId, _creationTime: textTime, requestId, ...asked } = text;
  return { ...shown, ...asked };
}

/** Whether it says the same: the one that was kept may have its fields in another order. */
export function isSameAnswer(kept: RequestAnswer | undefined, given: RequestAnswer): boolean {
  const parts = ({ reply, message, answers }: RequestAnswer) => [reply, message, answers?.map(({ options, text }) => [options, text])];
  return kept !== undefined && JSON.stringify(parts(kept)) === JSON.stringify(parts(given));
}

/** The answer as it is kept, if it is one to this request. */
export function checkAnswer(request: RequestRow, questions: Questions, given: RequestAnswer): RequestAnswer {
  const { reply, message, answers } = given;
  if (message !== undefined && message.length > ANSWER_CHARS) {
    throw refusal("too_large", `a message can have ${ANSWER_CHARS} characters, this one has ${message.length}`);
  }
  if (reply === "reject") {
    if (answers !== undefined) throw refusal("invalid", "a rejection has no answers, only a message");
    return { reply, ...(message === undefined || message.trim() === "" ? {} : { message }) };
  }
  if (message !== undefined) throw refusal("invalid", "only a rejection has a message");
  if (request.kind === "permission") {
    if (reply === "answer") throw refusal("invalid", "a permission is answered with once, always or reject");
    if (answers !== undefined) throw refusal("invalid", "only a question has answers");
    return { reply };
  }
  if (reply !== "answer" || answers === undefined) {
    throw refusal("invalid", "a question is answered with answers, or with reject");
  }
  if (answers.length !== questions.length) {
    throw refusal("invalid", `there are ${questions.length} questions to be answered, these are ${answers.length} answers`);
  }
  return {
    reply,
    answers: answers.map(({ options, text }, at) => {
      const question = questions[at]!;
      const number = `answer ${at + 1}`;
      const free = text === undefined || text.trim() === "" ? undefined : text;
      if (free !== undefined && free.length > ANSWER_CHARS) {
        throw refusal("too_large", `${number} can have ${ANSWER_CHARS} characters, this one has ${free.length}`);
      }
      if (free !== undefined && question.custom === false) throw refusal("invalid", `${number} must be one of the options`);
      const chosen = [...new Set(options)];
      const unknown = chosen.find((label) => !question.options.some((option) => option.label === label));
      if (unknown !== undefined) throw refusal("invalid", `${number} names an option that the question does not have`);
      const count = chosen.length + (free === undefined ? 0 : 1);
      if (count === 0) throw refusal("invalid", `${number} is empty: choose an option, or give a text`);
      if (count > 1 && !question.multiple) throw refusal("invalid", `${number} can be one option or one text`);
      return { options: chosen, ...(free === undefined ? {} : { text: free }) };
    }),
  };
}
