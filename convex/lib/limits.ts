// Every bound of the deployment in one place (but those that can be set: settings.ts), and the checks that keep to them. What is the caller's to choose is
// refused beyond its bound; what only explains something to people (a reason, an error's text) is cut instead.

import { refusal } from "./errors";

export const SECOND = 1_000;
export const HOUR = 3_600 * SECOND;

/** A supervisor that has not beaten for this long is judged offline; it beats every 10 s. */
export const PRESENCE_FRESH_MS = 35 * SECOND;
/** A command that no supervisor took in this time has failed: its owner is told, and it does not start hours later. */
export const COMMAND_PENDING_LIMIT_MS = 600 * SECOND;
/** A command that is still carried out after this time has failed: whoever took it is gone. */
export const COMMAND_PROCESSING_LIMIT_MS = 600 * SECOND;
/** Time for a supervisor to be heard again, once it seems gone. */
export const SECOND_LOOK_MS = 60 * SECOND;
/** The longest that a rotation keeps older tokens valid. */
export const KEEP_OLDER_MS = 300 * SECOND;
/** Valid tokens of one worker; each rotation leaves one, and for a while the ones before it. */
export const LIVE_CREDENTIALS = 100;
/** Folded chunks live this much longer, for readers that are in the middle of them. */
export const FOLDED_CHUNKS_KEPT_MS = 60 * SECOND;

export const KIB = 1_024;
/** A message's content. A document may have 1 MiB. */
export const MESSAGE_BYTES = 900_000;
/** All files of a message together, and so each: in base64 they become one request to the assistant. */
export const MESSAGE_ATTACHMENT_BYTES = 10_000_000;
export const ATTACHMENTS_PER_MESSAGE = 8;
/** One piece of a file. Three divides it, so that its base64 is whole; a document may have 1 MiB. */
export const PIECE_BYTES = 384 * KIB;
/** Uploads of an owner that no message has taken. */
export const OPEN_ATTACHMENTS = 64;
/** How long such an upload is kept. */
export const ATTACHMENT_KEPT_MS = 24 * HOUR;
/** Pieces that one scheduled deletion reads. */
export const DROP_PIECES = 8;
export const OPEN_TURNS_PER_SESSION = 100;
/** Earlier turns with a provisional end that one claim names. */
export const UNSETTLED_PER_CLAIM = 16;
/** One chunk item's content. */
export const ITEM_BYTES = 64 * KIB;
/** The content of one `chunks:append`. */
export const APPEND_BYTES = 256 * KIB;
/** The content of the items in one `messages:finish`: more than an append, because it must not fail in halves. */
export const FINISH_BYTES = 4_096 * KIB;
/** Items of one call: each is an index read and a write, of which a transaction may have a few thousand. */
export const ITEMS_PER_CALL = 3_000;
/** Chunks in one window of `chunks:page`. */
export const WINDOW = 32;

/** A turn up to here is folded in `messages:finish` itself. */
export const FOLD_AT_ONCE_ROWS = 128;
export const FOLD_AT_ONCE_BYTES = 256 * KIB;
/** What one scheduled fold reads. */
export const FOLD_PAGE_ROWS = 256;
export const FOLD_PAGE_BYTES = 1_024 * KIB;
/** The text of one row of `parts`. */
export const PART_ROW_BYTES = 256 * KIB;
/** What one scheduled deletion of chunks reads. */
export const DROP_PAGE_ROWS = 500;
export const DROP_PAGE_BYTES = 4_096 * KIB;

export const LIST_MESSAGES_DEFAULT = 50;
export const LIST_MESSAGES_MAX = 100;
/** Parts that `messages:list` gives along. */
export const LIST_PARTS_BYTES = 256 * KIB;
/** Users' contents that `messages:list` gives in one answer; beyond it the answer is shorter than its limit. */
export const LIST_CONTENT_BYTES = 1_024 * KIB;
/** What one `messages:parts` gives. */
export const PARTS_PAGE_BYTES = 512 * KIB;
/** Rows of parts that one query reads: a turn of many small ones has few bytes. */
export const PARTS_ROWS = 2_000;

export const INBOX_SESSIONS = 200;
export const INBOX_SERVED = 500;
export const LIST_MACHINES = 100;
export const LIST_WORKERS = 500;
export const LIST_SESSIONS = 200;
/** Revoked credentials of a worker that are remembered. */
export const CREDENTIALS_PER_WORKER = 20;
/** Workers that one `machines:enrol` gives back; the caller asks for the next page. */
export const ENROL_PAGE = 50;
/** Sessions of each worker that `machines:enrol` gives back, newest first. */
export const ENROL_SESSIONS = 20;
export const AGENT_CONFIGS_PER_MACHINE = 200;
export const OPEN_COMMANDS_PER_MACHINE = 50;
/** Ended commands that are kept of a machine. */
export const ENDED_COMMANDS_KEPT = 100;
/** The id of a command that is not kept any more is refused for this long, so that no replay of it runs anew. */
export const COMMAND_ID_KEPT_MS = 24 * HOUR;
export const LIST_COMMANDS = 100;
export const RESULT_CHARS = 16_384;
/** Pairing codes of an owner that wait at a time, and how long one may. */
export const OPEN_CODES = 5;
export const CODE_TTL_MS = HOUR;
/** Wrong codes for one device; then its code is void. */
export const CODE_ATTEMPTS = 5;
/** A device's token, sealed, in base64. */
export const SEALED_CHARS = 8_192;
export const LIVE_DEVICES = 50;
/** Revoked devices of an owner that are listed. */
export const REVOKED_DEVICES = 20;
export const LIST_DEVICES = 100;
/** How long a viewer counts as looking after its last word; pages and terminals say it again every 20 s. */
export const VIEWER_TTL_MS = 45 * SECOND;
export const LIVE_VIEWERS = 100;
/** Installations that send to an owner's devices; a device has one subscription with each. */
export const PUSH_SENDERS = 20;
export const PUSH_ENDPOINT_CHARS = 2_048;
/** Open requests, and ended turns, that a worker's notices name. */
export const LIST_NOTICES = 20;
/** Turns that one transaction closes when a worker is revoked or removed. */
export const CLOSE_PAGE = 200;

/** What an assistant waits for at once in one turn, and what of its ends was not heard yet. */
export const REQUESTS_PER_TURN = 50;
/** Ended requests that are kept of a session. */
export const ENDED_REQUESTS_KEPT = 100;
export const LIST_REQUESTS = 100;
export const REQUEST_TIMEOUT_MAX_MS = 7 * 24 * HOUR;
/** Requests that the inbox names. */
export const INBOX_REQUESTS = 500;
export const TITLE_CHARS = 500;
export const DETAILS_CHARS = 16_384;
export const PATTERN_CHARS = 1_000;
export const PATTERNS_PER_REQUEST = 20;
export const QUESTION_CHARS = 4_000;
export const QUESTIONS_PER_REQUEST = 10;
export const OPTIONS_PER_QUESTION = 20;
/** A message with a rejection, or a text of one's own. */
export const ANSWER_CHARS = 16_384;

export const NAME_CHARS = 200;
export const PATH_CHARS = 4_096;
export const MODEL_CHARS = 300;
export const TOOLS = 64;
const EXPLANATION_CHARS = 4_000;
const ID_CHARS = 128;

/** Ids are the callers' own; they end up in file names, environments and tokens, hence the alphabet. */
const ID = /^[A-Za-z0-9_-]+$/;

/** Besides the controls: what breaks a line in Unicode, and what turns its direction. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

export function checkId(what: string, id: string): void {
  if (id.length > ID_CHARS || !ID.test(id)) {
    throw refusal("invalid", `${what} must be 1 to ${ID_CHARS} letters, digits, - or _`);
  }
}

export function checkText(what: string, text: string, most: number): void {
  if (text.length === 0 || text.length > most) {
    throw refusal("invalid", `${what} must have 1 to ${most} characters, this one has ${text.length}`);
  }
}

/** A name or a path that people and assistants read: nothing in it can end a line or pass for another one. */
export function checkLine(what: string, text: string, most: number): void {
  checkText(what, text, most);
  if (CONTROL.test(text)) throw refusal("invalid", `${what} must have no line breaks and no control characters`);
}

export function checkTools(tools: string[]): void {
  if (tools.length > TOOLS) {
    throw refusal("invalid", `tools can name ${TOOLS} programs at most, these are ${tools.length}`);
  }
  for (const tool of tools) checkLine("a tool's name", tool, NAME_CHARS);
}

/** A place among a session's messages: what goes on with an interrupted turn lies between two whole ones. */
export function checkSeq(what: string, value: number): void {
  if (!Number.isFinite(value) || value < 0) throw refusal("invalid", `${what} must be a number from 0`);
}

/** A position in a turn: a whole number from 0. */
export function isIndex(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

export function checkIndex(what: string, value: number): void {
  if (!isIndex(value)) throw refusal("invalid", `${what} must be a whole number from 0`);
}

/** An explanation for people: losing its end is better than losing the call that carries it. */
export function cut(text: string): string {
  return cutTo(text, EXPLANATION_CHARS);
}

export function cutTo(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

const encoder = new TextEncoder();

export function utf8Bytes(text: string): number {
  return encoder.encode(text).length;
}

/** Whether the texts together have more UTF-8 bytes than `limit`. Encodes them only when their lengths do not tell. */
export function exceeds(texts: string[], limit: number): boolean {
  let units = 0;
  for (const text of texts) units += text.length;
  if (units > limit) return true;
  if (units * 3 <= limit) return false;
  let bytes = 0;
  for (const text of texts) bytes += utf8Bytes(text);
  return bytes > limit;
}
