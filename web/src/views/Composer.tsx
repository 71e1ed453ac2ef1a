// Where one writes. The draft is kept per session with every keystroke; the text leaves it only into the outbox, which
// keeps it until it is acknowledged.

import { useEffect, useRef, useState } from "preact/hooks";
import { read, write } from "../data/store";
import type { Along } from "../data/files";
import { bytes } from "../text/words";
import { Choices } from "./Choices";
import { keepDraft, listenDraft, readDraft } from "./drafts";
import { ChosenFiles } from "./FileList";
import { useFiles } from "./useFiles";

/** The deployment's bound. */
const MOST_BYTES = 900_000;

interface Props {
  draftKey: string;
  label: string;
  isDisabled?: boolean;
  /** Whose assistant is going to read it. */
  workerId?: string | undefined;
  /** The session's own model, shown where none is chosen. */
  model?: string;
  send: (content: string, chosen: { model?: string; agent?: string }, files: readonly Along[]) => Promise<void>;
}

export function Composer({ draftKey, label, isDisabled = false, workerId, model: sessionModel, send }: Props) {
  const [text, setText] = useState(() => readDraft(draftKey));
  const [model, setModel] = useState(() => read(`model.${draftKey}`) ?? "");
  const [agent, setAgent] = useState(() => read(`agent.${draftKey}`) ?? "");
  const [problem, setProblem] = useState<string | null>(null);
  const { files, add, remove, replace } = useFiles(draftKey, setProblem);
  const chooser = useRef<HTMLInputElement>(null);
  const area = useRef<HTMLTextAreaElement>(null);
  const change = (next: string) => {
    setText(next);
    setProblem(null);
    keepDraft(draftKey, next);
  };
  useEffect(() => listenDraft(draftKey, (next, along) => (setText(next), replace(along), area.current?.focus())), [draftKey]);
  useEffect(() => fit(area.current), [text]);
  const submit = () => {
    const size = new TextEncoder().encode(text).length;
    if ((text.trim() === "" && files.length === 0) || isDisabled) return;
    if (size > MOST_BYTES) {
      setProblem(`That is ${bytes(size)}; a message can have ${bytes(MOST_BYTES)}. Put the rest into a file and name it.`);
      return;
    }
    const content = text;
    change("");
    replace([]);
    area.current?.focus();
    void send(content, { ...(model.trim() === "" ? {} : { model: model.trim() }), ...(agent === "" ? {} : { agent }) }, files);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.isComposing || event.shiftKey) return;
    // A phone's keyboard has no other way to a new line.
    const isPhone = matchMedia("(pointer: coarse)").matches;
    if (isPhone && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    submit();
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => (event.preventDefault(), submit())}
      onDragOver={(event) => event.dataTransfer?.types.includes("Files") && event.preventDefault()}
      onDrop={(event) => {
        if (!event.dataTransfer?.files.length) return;
        event.preventDefault();
        void add(event.dataTransfer.files);
      }}
    >
      <p id="composer-problem" class="problem" role="alert">
        {problem}
      </p>
      <ChosenFiles files={files} remove={remove} />
      <div class="field">
        <input
          ref={chooser}
          type="file"
          multiple
          hidden
          aria-label="Files to attach"
          onChange={(event) => {
            const input = event.currentTarget;
            if (input.files) void add(input.files).then(() => (input.value = ""));
          }}
        />
        <button type="button" class="attach" aria-label="Attach files" title="Attach files" disabled={isDisabled} onClick={() => chooser.current?.click()}>
          +
        </button>
        <textarea
          ref={area}
          rows={1}
          aria-label={label}
          aria-describedby="composer-problem"
          placeholder={label}
          value={text}
          enterkeyhint="enter"
          onInput={(event) => change(event.currentTarget.value)}
          onKeyDown={onKeyDown}
          onPaste={(event) => {
            if (!event.clipboardData?.files.length) return;
            event.preventDefault();
            void add(event.clipboardData.files);
          }}
        />
        <button class="primary" type="submit" disabled={isDisabled || (text.trim() === "" && files.length === 0)}>
          Send
        </button>
      </div>
      <Choices
        workerId={workerId}
        fallback={sessionModel}
        value={{ model, agent }}
        choose={(next) => {
          setModel(next.model);
          setAgent(next.agent);
          write(`model.${draftKey}`, next.model);
          write(`agent.${draftKey}`, next.agent);
        }}
      />
    </form>
  );
}

/** As high as its text, up to what the style allows. */
function fit(area: HTMLTextAreaElement | null): void {
  if (!area) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}
