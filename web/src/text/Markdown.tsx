// A Markdown text that may still grow. Each block keeps its markup; only the last one is rendered again.

import { memo } from "preact/compat";
import { useRef } from "preact/hooks";
import { Blocks, type Block } from "./blocks";
import { render } from "./markdown";

export const Markdown = memo(function Markdown({ text }: { text: string }) {
  const blocks = useRef<Blocks | null>(null);
  blocks.current ??= new Blocks();
  return (
    <div class="markdown">
      {blocks.current.update(text).map((block, at) => (
        <Rendered key={at} block={block} />
      ))}
    </div>
  );
});

const Rendered = memo(
  function Rendered({ block }: { block: Block }) {
    if (block.isPlain) return <pre class="plain">{block.text}</pre>;
    return <div dangerouslySetInnerHTML={{ __html: render(block.text) }} />;
  },
  (before, after) => before.block.text === after.block.text && before.block.isPlain === after.block.isPlain,
);
