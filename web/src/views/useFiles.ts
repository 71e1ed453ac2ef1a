// The files that are chosen for the next message of a composer. Each is judged before it is taken; the draft beside them
// stays whatever becomes of one.

import { useRef, useState } from "preact/hooks";
import { MOST_FILES, MOST_FILE_BYTES, forgetFile, inOneLine, keepFile, kindOf, type Along } from "../data/files";
import { newId } from "../data/outbox";
import { bytes } from "../text/words";
import { keepFiles, readFiles } from "./drafts";

export function useFiles(draftKey: string, tell: (problem: string | null) => void) {
  const [files, setFiles] = useState(() => readFiles(draftKey));
  const now = useRef(files);
  const replace = (next: readonly Along[]) => {
    now.current = next;
    keepFiles(draftKey, next);
    setFiles(next);
  };
  const add = async (chosen: FileList) => {
    tell(null);
    // The list is the input's own and empties with it.
    for (const file of [...chosen]) {
      const problem = await take(file);
      if (problem !== null) tell(problem);
    }
  };
  const take = async (file: File): Promise<string | null> => {
    const name = inOneLine(file.name);
    const room = MOST_FILE_BYTES - now.current.reduce((sum, one) => sum + one.bytes, 0);
    if (now.current.length >= MOST_FILES) return `${name} was not added: a message can have ${MOST_FILES} files.`;
    if (file.size > room) {
      return `${name} was not added: it has ${bytes(file.size)}, and all files of a message together can have ${bytes(MOST_FILE_BYTES)}.`;
    }
    if (file.size === 0) return `${name} was not added: it is empty.`;
    let content: Uint8Array;
    try {
      content = new Uint8Array(await file.arrayBuffer());
    } catch {
      return `${name} was not added: it cannot be read. A folder is no file.`;
    }
    const mime = kindOf(content);
    if (mime === null) return `${name} was not added: it is neither an image (PNG, JPEG, GIF, WebP) nor a PDF nor a text.`;
    const along = { id: newId(), name, mime, bytes: content.length };
    await keepFile(along.id, new Blob([content as BlobPart]));
    replace([...now.current, along]);
    return null;
  };
  const remove = (id: string) => {
    replace(now.current.filter((one) => one.id !== id));
    void forgetFile(id);
  };
  return { files, add, remove, replace };
}
