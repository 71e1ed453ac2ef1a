// A pairing code on its way. It has left the address before the deployment has answered, and the browser may end the page in
// between; so the code is kept with the tab until it is answered, together with a secret claim of this browser's own, under
// which the deployment gives the same answer again.

import { ofDeployment } from "./address";
import { newId } from "./outbox";
import { forgetInTab, readInTab, writeInTab } from "./store";

const KEY = "pairing";

export interface Pairing {
  code: string;
  claim: string;
}

/** The same code again, after a reload say, is the same attempt. */
export function beginPairing(code: string): Pairing {
  const before = unansweredPairing();
  const pairing = before?.code === code ? before : { code, claim: newId() };
  writeInTab(ofDeployment(KEY), JSON.stringify(pairing));
  return pairing;
}

/** What an earlier life of this tab has begun and not heard the end of. */
export function unansweredPairing(): Pairing | null {
  try {
    const { code, claim } = JSON.parse(readInTab(ofDeployment(KEY)) ?? "{}") as Partial<Pairing>;
    return typeof code === "string" && typeof claim === "string" ? { code, claim } : null;
  } catch {
    return null;
  }
}

export const endPairing = (): void => forgetInTab(ofDeployment(KEY));

/** The device that a code is for. */
export const deviceOf = (code: string): string => code.split(".")[0] ?? "";
