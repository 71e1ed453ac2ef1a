// Generated from convex/lib/secrets.ts by `npm run strip`: change that file, not this one.
// Secrets of tokens, of workers and of machines: how they are made, and the hash that is stored in their place.

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const SECRET_CHARS = 32;

export function makeSecret()         {
  // Bytes from the last, incomplete round of the alphabet are thrown away: every character is equally likely.
  const usable = 256 - (256 % ALPHABET.length);
  let secret = "";
  while (secret.length < SECRET_CHARS) {
    for (const byte of crypto.getRandomValues(new Uint8Array(SECRET_CHARS))) {
      if (byte < usable && secret.length < SECRET_CHARS) secret += ALPHABET[byte % ALPHABET.length];
    }
  }
  return secret;
}

export async function hashSecret(secret        )                  {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
