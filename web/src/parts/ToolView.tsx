// A tool call, folded: what it did in a line, and on demand what it was given and what it said. All of it is text and
// stays text. A long output is shown in part until somebody wants it all.

import { useMemo, useState } from "preact/hooks";
import { parseTool, type Todo, type ToolCall } from "./tool";

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
        <span class="tool-name">{call.tool}</span> <span class="tool-title">{call.todos.length > 0 ? progress(call.todos) : call.title}</span>
      </summary>
      {/* Nothing is laid out before it is wanted: a session can have thousands of these. */}
      {isOpen && (
        <div class="tool-body">
          {call.todos.length > 0 && <Todos todos={call.todos} />}
          {call.todos.length === 0 && call.input !== "" && <Text label="Given" text={call.input} />}
          {call.diff !== "" && <Diff text={call.diff} />}
          {call.todos.length === 0 && call.output !== "" && <Text label="Output" text={call.output} />}
          {call.error !== "" && <Text label="Error" text={call.error} />}
        </div>
      )}
    </details>
  );
}

const progress = (todos: Todo[]) => `${todos.filter(({ status }) => status === "completed").length} of ${todos.length} done`;

const TODO_MARKS: Record<Todo["status"], string> = { pending: "○", in_progress: "◐", completed: "✓", cancelled: "✗" };
const TODO_WORDS: Record<Todo["status"], string> = { pending: "to do", in_progress: "under way", completed: "done", cancelled: "dropped" };
const TODOS_SHOWN = 200;

function Todos({ todos }: { todos: Todo[] }) {
  return (
    <ul class="todos" aria-label="To do">
      {todos.slice(0, TODOS_SHOWN).map((todo, at) => (
        <li key={at} data-status={todo.status}>
          <span class="mark" aria-hidden="true">
            {TODO_MARKS[todo.status]}
          </span>{" "}
          <span class="unseen">{TODO_WORDS[todo.status]}: </span>
          {todo.content}
        </li>
      ))}
      {todos.length > TODOS_SHOWN && <li>and {todos.length - TODOS_SHOWN} more</li>}
    </ul>
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
