// One part of an answer: what is said, what was thought, what was done.

import { memo } from "preact/compat";
import { Markdown } from "../text/Markdown";
import type { Part } from "../data/api";
import { ToolView } from "./ToolView";

export const PartView = memo(
  function PartView({ part, isOpen }: { part: Part; isOpen: boolean }) {
    if (part.text === "") return null;
    switch (part.kind) {
      case "text":
        return (
          <div class="part text">
            <Markdown text={part.text} />
          </div>
        );
      case "reasoning":
        return (
          <details class="part reasoning">
            <summary>{isOpen ? "Thinking" : "Thoughts"}</summary>
            <Markdown text={part.text} />
          </details>
        );
      case "tool":
        return <ToolView state={part.text} />;
    }
  },
  (a, b) => a.part === b.part && a.isOpen === b.isOpen,
);
