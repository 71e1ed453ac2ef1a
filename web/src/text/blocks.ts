// Cuts a growing Markdown text into blocks that can be rendered one by one, so that a delta costs its last block and not
// the whole answer. A block ends at a blank line outside of a fence when what follows starts something new at the left
// edge; what may belong to a list stays with it. A block that does not end by itself is cut at a bound and shown as plain
// text from there on: nobody reads that as Markdown, and its cost has to have an end.

export const LONGEST_BLOCK = 64 * 1024;

export interface Block {
  text: string;
  /** Too long to be rendered as Markdown. */
  isPlain: boolean;
}

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const STARTS_ANEW = /^(?![ \t])(?![-*+>|] ?)(?!\d+[.)])\S/;

export class Blocks {
  private text = "";
  /** Where the last block begins, and the first line of it that was not looked at yet. */
  private begin = 0;
  private lookedTo = 0;
  private fence: string | null = null;
  private afterBlank = false;
  private isPlain = false;
  private settled: readonly Block[] = [];

  /** All blocks; those before the last are the same objects as before. */
  update(text: string): readonly Block[] {
    if (!text.startsWith(this.text)) this.restart();
    this.text = text;
    for (;;) {
      const end = text.indexOf("\n", this.lookedTo);
      if (end < 0) break;
      this.line(text.slice(this.lookedTo, end), this.lookedTo);
      this.lookedTo = end + 1;
      if (this.lookedTo - this.begin >= LONGEST_BLOCK) this.cut(this.lookedTo);
    }
    // a line without an end
    while (text.length - this.begin > 2 * LONGEST_BLOCK) this.cut(this.begin + LONGEST_BLOCK);
    const rest = text.slice(this.begin);
    return rest === "" ? this.settled : [...this.settled, { text: rest, isPlain: this.isPlain || rest.length > LONGEST_BLOCK }];
  }

  private line(line: string, at: number): void {
    if (this.fence !== null) {
      const closing = line.trim();
      if (closing.startsWith(this.fence) && closing.replaceAll(this.fence.charAt(0), "") === "") {
        this.fence = null;
        if (this.isPlain) this.settle(at + line.length + 1);
      }
      return;
    }
    if (line.trim() === "") {
      this.afterBlank = true;
      return;
    }
    const fence = FENCE.exec(line)?.[1];
    const isNew = this.afterBlank && (STARTS_ANEW.test(line) || (fence !== undefined && !/^[ \t]/.test(line)));
    if (isNew && at > this.begin) this.settle(at);
    this.afterBlank = false;
    this.fence = fence ?? null;
  }

  /** Ends the block here; what follows is Markdown again. */
  private settle(at: number): void {
    this.push(at);
    this.isPlain = false;
  }

  /** Ends the block in its middle; what follows has lost its beginning. */
  private cut(at: number): void {
    this.isPlain = true;
    this.push(at);
    this.lookedTo = Math.max(this.lookedTo, at);
  }

  private push(at: number): void {
    this.settled = [...this.settled, { text: this.text.slice(this.begin, at), isPlain: this.isPlain }];
    this.begin = at;
  }

  private restart(): void {
    this.begin = 0;
    this.lookedTo = 0;
    this.fence = null;
    this.afterBlank = false;
    this.isPlain = false;
    this.settled = [];
  }
}
