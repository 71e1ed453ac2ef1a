// Where one writes. The draft is kept per session with every keystroke; the text leaves it only into the outbox, which
// keeps it until it is acknowledged. The model is free text: the last ones used are suggested.

import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../data/api";
import { useQuery } from "../data/hooks";
import { read, write } from "../data/store";
import type { Along } from "../data/files";
import { bytes } from "../text/words";
import { keepDraft, listenDraft, readDraft } from "./drafts";
import { ChosenFiles } from "./FileList";
import { useFiles } from "./useFiles";

/** The deployment's bound. */
const MOST_BYTES = 900_000;

interface Props {
  draftKey: string;
  label: string;
  isDisabled?: boolean;
  /** The session's own model, shown where none is chosen. */
  model?: string;
  send: (content: string, model: string | undefined, files: readonly Along[]) => Promise<void>;
}

export function Composer({ draftKey, label, isDisabled = false, model: sessionModel, send }: Props) {
  const [text, setText] = useState(() => readDraft(draftKey));
  const [model, setModel] = useState(() => read(`model.${draftKey}`) ?? "");
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
    void send(content, model.trim() === "" ? undefined : model.trim(), files);
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
      <ModelChoice
        value={model}
        fallback={sessionModel}
        choose={(next) => {
          setModel(next);
          write(`model.${draftKey}`, next);
        }}
      />
    </form>
  );
}

interface ModelProps {
  value: string;
  fallback: string | undefined;
  choose: (model: string) => void;
}

function ModelChoice({ value, fallback, choose }: ModelProps) {
  const { value: sessions } = useQuery(api.sessions.list, {});
  const used = [...new Set(sessions?.flatMap((session) => session.model ?? []))].slice(0, 20);
  return (
    <label class="model">
      Model{" "}
      <input
        list="models"
        value={value}
        placeholder={fallback ?? "the assistant's own"}
        spellcheck={false}
        autocomplete="off"
        autocapitalize="none"
        onInput={(event) => choose(event.currentTarget.value)}
      />
      <datalist id="models">
        {used.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </label>
  );
}

/** As high as its text, up to what the style allows. */
function fit(area: HTMLTextAreaElement | null): void {
  if (!area) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}
