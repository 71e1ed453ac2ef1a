// The deployment's functions as the page calls them. Names and types are those of `convex/`, imported as types only, so
// that a change there is an error here.

import { anyApi, type ApiFromModules, type FunctionReturnType } from "convex/server";
import type * as attachments from "../../../convex/attachments";
import type * as choices from "../../../convex/choices";
import type * as chunks from "../../../convex/chunks";
import type * as devices from "../../../convex/devices";
import type * as machines from "../../../convex/machines";
import type * as messages from "../../../convex/messages";
import type * as notices from "../../../convex/notices";
import type * as permissions from "../../../convex/permissions";
import type * as presence from "../../../convex/presence";
import type * as push from "../../../convex/push";
import type * as sessions from "../../../convex/sessions";
import type * as viewers from "../../../convex/viewers";
import type * as workers from "../../../convex/workers";

type Modules = {
  attachments: typeof attachments;
  choices: typeof choices;
  chunks: typeof chunks;
  devices: typeof devices;
  machines: typeof machines;
  messages: typeof messages;
  notices: typeof notices;
  permissions: typeof permissions;
  presence: typeof presence;
  push: typeof push;
  sessions: typeof sessions;
  viewers: typeof viewers;
  workers: typeof workers;
};
export const api = anyApi as unknown as ApiFromModules<Modules>;

export type Machine = FunctionReturnType<typeof api.machines.list>[number];
export type Worker = FunctionReturnType<typeof api.workers.list>[number];
export type Device = FunctionReturnType<typeof api.devices.list>[number];
export type Beat = FunctionReturnType<typeof api.presence.list>[number];
export type Request = FunctionReturnType<typeof api.permissions.list>[number];
export type Notices = FunctionReturnType<typeof api.notices.recent>;
export type Session = FunctionReturnType<typeof api.sessions.list>[number];
export type Message = FunctionReturnType<typeof api.messages.list>["messages"][number];
export type Page = FunctionReturnType<typeof api.chunks.page>;
export type Item = Page["items"][number];
export type Part = NonNullable<Message["parts"]>[number];
export type Usage = NonNullable<Message["usage"]>;
