// A tool call's state, as the supervisor reports it: JSON that comes from an assistant, so nothing in it is taken for
// granted.

export interface ToolCall {
  tool: string;
  status: "pending" | "running" | "completed" | "error";
  title: string;
  /** The call's arguments, readable. */
  input: string;
  output: string;
  error: string;
  /** A unified diff, of tools that change files. */
  diff: string;
  /** What there is to do, of the tool that keeps such a list. */
  todos: Todo[];
}

export interface Todo {
  content: string;
  status: "pending" | "in_progress" | "completed" | "cancelled";
}

export function parseTool(text: string): ToolCall {
  let state: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) state = value as Record<string, unknown>;
  } catch {
    return { tool: "tool", status: "error", title: "", input: "", output: text, error: "its state cannot be read", diff: "", todos: [] };
  }
  const metadata = (typeof state.metadata === "object" && state.metadata !== null ? state.metadata : {}) as Record<string, unknown>;
  const input = typeof state.input === "object" && state.input !== null ? (state.input as Record<string, unknown>) : {};
  return {
    tool: string(state.tool) || "tool",
    status: status(state.status),
    title: string(state.title) || summary(input),
    input: readable(input),
    output: string(state.output),
    error: string(state.error),
    diff: string(metadata.diff),
    todos: state.tool === "todowrite" ? todosOf(input.todos) : [],
  };
}

function todosOf(value: unknown): Todo[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((entry: unknown) => {
    const { content, status } = (typeof entry === "object" && entry !== null ? entry : {}) as Record<string, unknown>;
    if (typeof content !== "string") return [];
    const isKnown = status === "in_progress" || status === "completed" || status === "cancelled";
    return [{ content, status: isKnown ? status : "pending" }];
  });
}

const string = (value: unknown): string => (typeof value === "string" ? value : "");

function status(value: unknown): ToolCall["status"] {
  return value === "completed" || value === "error" || value === "running" ? value : "pending";
}

/** What the call is about while it has no title: its command, file or first text. */
function summary(input: Record<string, unknown>): string {
  for (const name of ["description", "command", "filePath", "path", "pattern", "url"]) {
    const value = string(input[name]);
    if (value !== "") return value.split("\n")[0] ?? "";
  }
  return "";
}

function readable(input: Record<string, unknown>): string {
  return Object.entries(input)
    .map(([name, value]) => {
      const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
      return text.includes("\n") ? `${name}:\n${text}` : `${name}: ${text}`;
    })
    .join("\n");
}
