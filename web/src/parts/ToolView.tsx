// A tool call, folded: what it did in a line, and on demand what it was given and what it said. All of it is text and
// stays text. A long output is shown in part until somebody wants it all.

import { useMemo, useState } from "preact/hooks";
import { parseTool, type ToolCall } from "./tool";

const SHOWN_AT_FIRST = 8_000;

const MARKS: Record<ToolCall["status"], string> = { pending: "…", running: "…", completed: "✓", error: "✗" };
const WORDS: Record<ToolCall["status"], string> = { pending: "prepared", running: "running", completed: "done", error: "failed" };

export function ToolView({ state }: { state: string }) {
  const call = useMemo(() => parseTool(state), [state]);
  const [isOpen, setIsOpen] = useState(false);
  return (
    <details class="part tool" data-status={call.status} onToggle={(event) => setIsOpen(event.currentTarget.open)}>
      <summary>
        <span class="mark" aria-hidden="true">
          {MARKS[call.status]}
        </span>
        <span class="unseen">{WORDS[call.status]}: </span>
        <span class="tool-name">{call.tool}</span> <span class="tool-title">{call.title}</span>
      </summary>
      {/* Nothing is laid out before it is wanted: a session can have thousands of these. */}
      {isOpen && (
        <div class="tool-body">
          {call.input !== "" && <Text label="Given" text={call.input} />}
          {call.diff !== "" && <Diff text={call.diff} />}
          {call.output !== "" && <Text label="Output" text={call.output} />}
          {call.error !== "" && <Text label="Error" text={call.error} />}
        </div>
      )}
    </details>
  );
}

function Text({ label, text }: { label: string; text: string }) {
  const [isWhole, setIsWhole] = useState(false);
  const isCut = !isWhole && text.length > SHOWN_AT_FIRST;
  return (
    <div class="tool-text">
      <h4>{label}</h4>
      <pre tabIndex={0} role="region" aria-label={label}>
        {isCut ? text.slice(0, SHOWN_AT_FIRST) : text}
      </pre>
      {isCut && (
        <button type="button" onClick={() => setIsWhole(true)}>
          Show all {Math.ceil(text.length / 1_000)} kB
        </button>
      )}
    </div>
  );
}

function Diff({ text }: { text: string }) {
  const [isWhole, setIsWhole] = useState(false);
  const isCut = !isWhole && text.length > SHOWN_AT_FIRST;
  const lines = (isCut ? text.slice(0, SHOWN_AT_FIRST) : text).split("\n");
  return (
    <div class="tool-text">
      <h4>Changes</h4>
      <pre class="diff" tabIndex={0} role="region" aria-label="Changes">
        {lines.map((line, at) => (
          <span key={at} class={kindOf(line)}>
            {line}
            {"\n"}
          </span>
        ))}
      </pre>
      {isCut && (
        <button type="button" onClick={() => setIsWhole(true)}>
          Show all {Math.ceil(text.length / 1_000)} kB
        </button>
      )}
    </div>
  );
}

function kindOf(line: string): string {
  if (/^(\+\+\+|---|Index:|===)/.test(line)) return "head";
  if (line.startsWith("@@")) return "hunk";
  if (line.startsWith("+")) return "added";
  return line.startsWith("-") ? "removed" : "";
}
