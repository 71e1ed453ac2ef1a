// What goes along with a message: chosen files that can still be taken out, and those of a message that was sent. A name is
// text; an image is shown from its bytes, never from an address.

import { useEffect, useState } from "preact/hooks";
import { api } from "../data/api";
import { PIECE_BYTES, type Along } from "../data/files";
import { useWorld } from "../data/hooks";
import { refusalOf } from "../data/refusal";
import { bytes } from "../text/words";

/** An image up to here is shown without being asked for. */
const SHOWN_AT_ONCE = 2_000_000;

export function ChosenFiles({ files, remove }: { files: readonly Along[]; remove: (id: string) => void }) {
  if (files.length === 0) return null;
  return (
    <ul class="files" aria-label="Files that go along">
      {files.map((file) => (
        <li key={file.id} class="file">
          <span class="file-name">{file.name}</span> <span class="meta">{bytes(file.bytes)}</span>
          <button type="button" class="quiet" aria-label={`Remove ${file.name}`} onClick={() => remove(file.id)}>
            ✕
          </button>
        </li>
      ))}
    </ul>
  );
}

export function NamedFiles({ files }: { files: readonly Along[] }) {
  if (files.length === 0) return null;
  return (
    <ul class="files" aria-label="Files">
      {files.map((file) => (
        <li key={file.id} class="file">
          <span class="file-name">{file.name}</span> <span class="meta">{bytes(file.bytes)}</span>
        </li>
      ))}
    </ul>
  );
}

export function SentFiles({ files }: { files: readonly Along[] }) {
  return (
    <ul class="files" aria-label="Files">
      {files.map((file) => (
        <SentFile key={file.id} file={file} />
      ))}
    </ul>
  );
}

function SentFile({ file }: { file: Along }) {
  const { client } = useWorld().connection;
  const isImage = file.mime.startsWith("image/");
  const [shown, setShown] = useState<string | null>(null);
  const [state, setState] = useState<"" | "loading" | string>("");
  const load = async (): Promise<string | null> => {
    setState("loading");
    try {
      let base64 = "";
      for (let index = 0; index * PIECE_BYTES < file.bytes; index += 1) {
        base64 += await client.query(api.attachments.piece, { id: file.id, index });
      }
      setState("");
      return base64;
    } catch (error) {
      setState(refusalOf(error).message);
      return null;
    }
  };
  const show = async () => {
    const base64 = await load();
    if (base64 !== null) setShown(`data:${file.mime};base64,${base64}`);
  };
  useEffect(() => {
    if (isImage && file.bytes <= SHOWN_AT_ONCE) void show();
  }, [file.id]);
  const download = async () => {
    const base64 = await load();
    if (base64 !== null) save(file.name, base64);
  };
  return (
    <li class="file" data-file={file.id}>
      {shown !== null && (
        <span class="file-line">
          <img class="file-image" src={shown} alt={file.name} />
        </span>
      )}
      <span class="file-name">{file.name}</span> <span class="meta">{bytes(file.bytes)}</span>
      {isImage && shown === null && state !== "loading" && (
        <button type="button" class="quiet" onClick={() => void show()}>
          Show
        </button>
      )}
      <button type="button" class="quiet" disabled={state === "loading"} aria-label={`Download ${file.name}`} onClick={() => void download()}>
        Download
      </button>
      {state === "loading" ? (
        <span class="meta">loading…</span>
      ) : (
        state !== "" && (
          <span class="problem" role="alert">
            {state}
          </span>
        )
      )}
    </li>
  );
}

/** Bytes and nothing else: no browser opens them as a page of ours. */
function save(name: string, base64: string): void {
  const content = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
