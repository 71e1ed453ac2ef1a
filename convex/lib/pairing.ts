// Pairing codes: `<device>.<secret>`, in a link that a phone opens. Whoever makes one (the owner's command line) has signed
// the device's token already and gives it here sealed under the code; the code itself is stored as a hash only. So nothing
// that reads the database can act as the device, neither before the code is traded nor after.
//
// The seal: the token's bytes are XORed with SHA-256 blocks over a counter and the code. A code is random (128 bits and more) and
// seals one text; that the text was not changed is shown by its own signature.

const CODE = /^([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{22,128})$/;
const BLOCK = 32;

/** The device that the code is for, or null when the text is no code. */
export function parseCode(code: string): string | null {
  return CODE.exec(code)?.[1] ?? null;
}

/** Opens what was sealed under the code. */
export async function unseal(sealed: string, code: string): Promise<string> {
  const bytes = Uint8Array.from(atob(sealed), (character) => character.charCodeAt(0));
  const encoder = new TextEncoder();
  for (let at = 0; at < bytes.length; at += BLOCK) {
    const block = await crypto.subtle.digest("SHA-256", encoder.encode(`pairing seal ${at / BLOCK} ${code}`));
    const stream = new Uint8Array(block);
    for (let offset = 0; offset < BLOCK && at + offset < bytes.length; offset++) bytes[at + offset]! ^= stream[offset]!;
  }
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}
