// Generated from convex/schema.ts by `npm run strip`: change that file, not this one.
// The tables. Every id that leaves the deployment is a string of our own, so that a call which is sent twice names
// the same thing twice; Convex's own ids stay inside.
//
// Which rows change how often decides where a field lives: presence changes with every beat and chunks with every
// delta, so both have tables that no query on the supervisors' path reads. Contents and parts are apart from
// messages, so that looking at states never reads text.

import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { attachmentShown } from "./lib/attaching";
import { taskFields } from "./lib/tasking";
import {
  agentChoice,
  agentRun,
  askedText,
  commandState,
  commandType,
  itemFields,
  modelChoice,
  partKind,
  requestAnswer,
  requestRow,
  sessionStatus,
  turnError,
  turnState,
  usage,
  workerState,
} from "./lib/values";

export default defineSchema({
  machines: defineTable({
    machineId: v.string(),
    owner: v.string(),
    name: v.string(),
    hostname: v.string(),
    os: v.string(),
    tools: v.array(v.string()),
    createdAt: v.number(),
    lastSeenAt: v.number(),
  })
    .index("by_machine", ["machineId"])
    .index("by_owner", ["owner"]),

  machineCredentials: defineTable({
    machineId: v.string(),
    /** SHA-256 of the secret part, in hex, as with the workers'. */
    hash: v.string(),
    revoked: v.boolean(),
    createdAt: v.number(),
  })
    .index("by_hash", ["machineId", "hash"])
    .index("by_machine", ["machineId", "revoked"]),

  /** Which assistant plays a role of a room on a machine, and whether it runs there. */
  machineAgentConfigs: defineTable({
    machineId: v.string(),
    owner: v.string(),
    workerId: v.string(),
    room: v.string(),
    role: v.string(),
    agentType: v.string(),
    workingDirectory: v.string(),
    run: agentRun,
    updatedAt: v.number(),
  })
    .index("by_role", ["machineId", "room", "role"])
    .index("by_owner", ["owner", "machineId"]),

  /** What an owner asks of a machine. Open ones are part of its workers' inbox. */
  machineCommands: defineTable({
    commandId: v.string(),
    machineId: v.string(),
    owner: v.string(),
    type: commandType,
    state: commandState,
    /** state is `pending` or `processing`. */
    open: v.boolean(),
    /** The worker that is to carry it out; without one any of the machine's. */
    workerId: v.optional(v.string()),
    room: v.optional(v.string()),
    role: v.optional(v.string()),
    tool: v.optional(v.string()),
    workingDirectory: v.optional(v.string()),
    /** Made by the deployment; no caller's text is in it. */
    prompt: v.optional(v.string()),
    /** Who carries it out. */
    takenBy: v.optional(v.object({ workerId: v.string(), epoch: v.number() })),
    result: v.optional(v.string()),
    error: v.optional(turnError),
    createdAt: v.number(),
    takenAt: v.optional(v.number()),
    finishedAt: v.optional(v.number()),
  })
    .index("by_command", ["commandId"])
    .index("by_machine", ["machineId", "open"]),

  /** Ids of commands that have ended and are not kept: they are remembered for a while, against replays. */
  usedCommands: defineTable({ commandId: v.string() }).index("by_command", ["commandId"]),

  workers: defineTable({
    workerId: v.string(),
    machineId: v.string(),
    owner: v.string(),
    name: v.string(),
    directory: v.string(),
    state: workerState,
    /** state is `removed`; a field of its own so that lists can leave those out by index. */
    removed: v.boolean(),
    /** Rises with every supervisor that takes over; 0 until the first one connects. */
    epoch: v.number(),
    installId: v.optional(v.string()),
    startId: v.optional(v.string()),
    bootId: v.optional(v.string()),
    storeId: v.optional(v.string()),
    connectedAt: v.optional(v.number()),
    createdAt: v.number(),
  })
    .index("by_worker", ["workerId"])
    .index("by_owner", ["owner", "removed", "machineId"])
    .index("by_machine", ["machineId", "removed", "workerId"]),

  /** The models and agents of a worker's assistant: apart from `workers`, which every call of its supervisor reads. */
  workerChoices: defineTable({ workerId: v.string(), owner: v.string(), models: v.array(modelChoice), agents: v.array(agentChoice) })
    .index("by_worker", ["workerId"]),

  credentials: defineTable({
    workerId: v.string(),
    /** SHA-256 of the secret part, in hex. The secret itself is stored nowhere. */
    hash: v.string(),
    revoked: v.boolean(),
    /** The install that enrolled for it; absent for one that was shown to a person. */
    installId: v.optional(v.string()),
    /** A supervisor has connected with it: its install has it written down. */
    used: v.optional(v.boolean()),
    createdAt: v.number(),
  })
    .index("by_hash", ["workerId", "hash"])
    .index("by_worker", ["workerId", "revoked"])
    .index("by_install", ["workerId", "installId", "revoked"]),

  presence: defineTable({
    workerId: v.string(),
    owner: v.string(),
    epoch: v.number(),
    lastBeat: v.number(),
    disconnected: v.boolean(),
  })
    .index("by_worker", ["workerId"])
    .index("by_owner", ["owner"]),

  /** What an owner has paired, and the codes that wait to be traded for a device's token. */
  devices: defineTable({
    deviceId: v.string(),
    owner: v.string(),
    /** Empty until it is known. */
    name: v.string(),
    state: v.union(v.literal("open"), v.literal("paired"), v.literal("revoked")),
    /** SHA-256 of the whole code, in hex. */
    codeHash: v.string(),
    /** The device's token, sealed under the code; gone when that was traded, or has lapsed. */
    sealed: v.optional(v.string()),
    /** SHA-256 of what the trader calls its attempt, in hex: until the code lapses it may ask again for its answer. */
    claimHash: v.optional(v.string()),
    /** Wrong codes for this device. */
    attempts: v.number(),
    /** Until when the code can be traded. */
    openUntil: v.number(),
    /** When the device's token ends. */
    validUntil: v.number(),
    createdAt: v.number(),
    pairedAt: v.optional(v.number()),
    revokedAt: v.optional(v.number()),
  })
    .index("by_device", ["deviceId"])
    .index("by_owner", ["owner", "createdAt"])
    .index("by_state", ["owner", "state", "createdAt"]),

  /** When a device was last in use: apart from `devices`, which every call of a device reads. */
  deviceVisits: defineTable({ deviceId: v.string(), owner: v.string(), at: v.number() })
    .index("by_device", ["deviceId"])
    .index("by_owner", ["owner"]),

  /** Open pages and terminals that look at a session, each for a moment. */
  viewers: defineTable({ owner: v.string(), viewerId: v.string(), sessionId: v.string(), until: v.number() })
    .index("by_owner", ["owner"])
    .index("by_session", ["sessionId", "until"]),

  /** Installations of the supervisor that send Web Push messages to their owner's devices. */
  pushSenders: defineTable({
    owner: v.string(),
    installId: v.string(),
    machineId: v.string(),
    /** Of its VAPID key: subscriptions are made with it. */
    publicKey: v.string(),
    at: v.number(),
  }).index("by_install", ["owner", "installId"]),

  /** A device's subscription with one sender, as its browser gave it. */
  pushSubscriptions: defineTable({
    owner: v.string(),
    deviceId: v.string(),
    installId: v.string(),
    endpoint: v.string(),
    p256dh: v.string(),
    auth: v.string(),
    createdAt: v.number(),
  })
    .index("by_device", ["deviceId"])
    .index("by_sender", ["owner", "installId"])
    .index("by_endpoint", ["endpoint"]),

  sessions: defineTable({
    sessionId: v.string(),
    owner: v.string(),
    workerId: v.string(),
    title: v.string(),
    model: v.optional(v.string()),
    status: sessionStatus,
    /** status is `ended`; a field of its own so that lists can leave those out by index. */
    ended: v.boolean(),
    reason: v.optional(v.string()),
    /** The assistant's own name for the conversation; the first one confirmed stays. */
    agentSessionId: v.optional(v.string()),
    /** A supervisor has it running: it must hear what happens to the session, the end included. */
    served: v.boolean(),
    /** How much its owner is asked and has not answered; absent when nothing. */
    waiting: v.optional(v.number()),
    /** Of all its turns together. */
    usage: v.optional(usage),
    createdAt: v.number(),
    lastActivityAt: v.number(),
  })
    .index("by_session", ["sessionId"])
    .index("by_owner", ["owner", "ended", "lastActivityAt"])
    .index("by_worker", ["workerId", "ended", "lastActivityAt"])
    .index("by_served", ["workerId", "served"]),

  messages: defineTable({
    messageId: v.string(),
    sessionId: v.string(),
    workerId: v.string(),
    owner: v.string(),
    seq: v.number(),
    role: v.union(v.literal("user"), v.literal("assistant")),
    model: v.optional(v.string()),
    /** The assistant's own name for how it works (OpenCode: `build`, `plan`). */
    agent: v.optional(v.string()),
    createdAt: v.number(),
    /** Of a user's message: what goes along with it. */
    attachments: v.optional(v.array(attachmentShown)),
    // From here on: the assistant's rows only. Such a row is a turn, and the open ones are the work queue.
    /** The user's message that the turn answers. */
    promptId: v.optional(v.string()),
    state: v.optional(turnState),
    /** state is `queued` or `claimed`. */
    open: v.optional(v.boolean()),
    abortRequested: v.optional(v.boolean()),
    claimedAt: v.optional(v.number()),
    claimedBootId: v.optional(v.string()),
    claimedStoreId: v.optional(v.string()),
    finishedAt: v.optional(v.number()),
    error: v.optional(turnError),
    usage: v.optional(usage),
    /** The interrupted turn that this one goes on with. */
    continues: v.optional(v.string()),
    /** Closed before its assistant's store was asked: the answer from the store that claimed the turn may still replace it. */
    provisional: v.optional(v.boolean()),
    /** The content is in `parts`; the chunks are gone or will be soon. */
    folded: v.optional(v.boolean()),
    /** Chunks below this index are folded already (only while the fold runs in pages). */
    foldedTo: v.optional(v.number()),
    /** UTF-8 bytes of the turn's parts, so that a reader's budget is decided without reading them. */
    partsBytes: v.optional(v.number()),
  })
    .index("by_message", ["messageId"])
    .index("by_seq", ["sessionId", "seq"])
    .index("by_session_open", ["sessionId", "open", "seq"])
    .index("by_session_provisional", ["sessionId", "provisional", "claimedStoreId", "seq"])
    .index("by_worker_open", ["workerId", "open", "sessionId", "seq"])
    .index("by_worker_finished", ["workerId", "finishedAt"])
    .index("by_owner_finished", ["owner", "finishedAt"]),

  contents: defineTable({ messageId: v.string(), text: v.string() }).index("by_message", ["messageId"]),

  /** Files on their way into a message, or in one; their bytes are in `attachmentPieces`. */
  attachments: defineTable({
    attachmentId: v.string(),
    owner: v.string(),
    name: v.string(),
    mime: v.string(),
    bytes: v.number(),
    pieces: v.number(),
    /** Pieces that are here: they come in their order. */
    stored: v.number(),
    /** The message that took it. */
    messageId: v.optional(v.string()),
    /** Its deletion has begun. */
    isGone: v.optional(v.boolean()),
    createdAt: v.number(),
  })
    .index("by_attachment", ["attachmentId"])
    .index("by_open", ["owner", "messageId"]),

  attachmentPieces: defineTable({ attachmentId: v.string(), index: v.number(), /** Base64. */ data: v.string() }).index("by_piece", [
    "attachmentId",
    "index",
  ]),

  /** What an assistant asks its owner while a turn waits: states here, words in `permissionTexts`. */
  permissions: defineTable({
    ...requestRow,
    owner: v.string(),
    /** state is `open`; a field of its own so that lists can ask for those by index. */
    open: v.boolean(),
    /** It is open, or its supervisor has not heard yet how it ended. */
    live: v.boolean(),
  })
    .index("by_request", ["requestId"])
    .index("by_owner", ["owner", "open", "askedAt"])
    .index("by_session", ["sessionId", "open", "askedAt"])
    .index("by_turn", ["turnId", "live"])
    .index("by_worker", ["workerId", "live"]),

  permissionTexts: defineTable({ requestId: v.string(), ...askedText, answer: v.optional(requestAnswer) }).index("by_request", ["requestId"]),

  chunks: defineTable({ turnId: v.string(), ...itemFields }).index("by_turn", ["turnId", "index"]),

  parts: defineTable({
    turnId: v.string(),
    /** The part's place in the turn and the piece of its text: see lib/fold.ts. */
    ordinal: v.number(),
    partId: v.string(),
    kind: partKind,
    text: v.string(),
  })
    .index("by_turn", ["turnId", "ordinal"])
    .index("by_part", ["turnId", "partId", "ordinal"]),

  tasks: defineTable(taskFields)
    .index("by_task", ["taskId"])
    .index("by_worker", ["workerId", "seq"])
    .index("by_worker_state", ["workerId", "state", "seq"])
    .index("by_worker_lost", ["workerId", "lostLeaseId"])
    .index("by_role", ["owner", "room", "role", "seq"])
    .index("by_role_state", ["owner", "room", "role", "state", "seq"]),

  taskTexts: defineTable({ taskId: v.string(), text: v.string() }).index("by_task", ["taskId"]),
});
