// Why the deployment did not do what it was asked, in words for people. Expected refusals carry them; anything else is
// told as it is.

import { ConvexError } from "convex/values";

export interface Refusal {
  code: string;
  message: string;
}

export function refusalOf(error: unknown): Refusal {
  if (error instanceof ConvexError) {
    const data = error.data as { code?: unknown; message?: unknown } | undefined;
    if (typeof data?.message === "string") {
      return { code: typeof data.code === "string" ? data.code : "refused", message: sentence(data.message) };
    }
  }
  const text = error instanceof Error ? error.message : String(error);
  // The client puts the call and the server's stack around what was thrown.
  const line = text.replace(/^\[CONVEX [^\]]*\]\s*(\[Request ID: [^\]]*\]\s*)?/, "").split("\n")[0];
  return { code: "error", message: sentence(line || "The deployment did not say why.") };
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
