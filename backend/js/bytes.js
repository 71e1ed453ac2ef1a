// "convex/bytes": how bytes travel to the host: as a string of characters below 256. (Reading a buffer's memory from
// Rust would need unsafe code; the way back does not.)

const CHUNK = 4096;

/** The bytes of an ArrayBuffer or of a view. */
export function latin(data) {
  const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : viewed(data);
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK) {
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK));
  }
  return text;
}

function viewed(data) {
  if (!ArrayBuffer.isView(data)) throw new TypeError("expected an ArrayBuffer or a view of one");
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
