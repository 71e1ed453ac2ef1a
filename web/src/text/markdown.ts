// Markdown to markup that does nothing. Two locks: marked is told to show HTML as the text that it is and to make neither
// images nor links to anything but the web; and DOMPurify lets through only the elements that Markdown has. The page's
// policy (Trusted Types, no inline script) is a third, where the browser has it.

import DOMPurify from "dompurify";
import { Marked, type Tokens } from "marked";

const TAGS = [
  "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "strong",
  "table", "tbody", "td", "th", "thead", "tr", "ul", "input", "div", "span",
];
const HARMLESS = ["title", "rel", "target", "start", "align", "type", "checked", "disabled", "class", "tabindex", "role", "aria-label"];

const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`);

/** Only what opens another page. Anything else (scripts, files, data, our own addresses) stays text. */
function isWebAddress(href: string): boolean {
  try {
    return ["http:", "https:", "mailto:"].includes(new URL(href).protocol);
  } catch {
    return false;
  }
}

const marked = new Marked({
  gfm: true,
  breaks: false,
  async: false,
  renderer: {
    html({ text }: Tokens.HTML | Tokens.Tag): string {
      return escaped(text);
    },
    // An image would be fetched: that tells its server who reads. Its text and address are shown instead.
    image({ href, text }: Tokens.Image): string {
      const name = escaped(text || "image");
      return isWebAddress(href) ? `${link(href, `${name} (image)`)}` : name;
    },
    link({ href, tokens }: Tokens.Link): string {
      const inner = this.parser.parseInline(tokens);
      return isWebAddress(href) ? link(href, inner) : inner;
    },
    code({ text, lang }: Tokens.Code): string {
      const language = /^[\w+#.-]{1,24}/.exec(lang ?? "")?.[0];
      const label = language ? `<div class="language">${escaped(language)}</div>` : "";
      return `<div class="code">${label}<pre tabindex="0" role="region" aria-label="Code"><code>${escaped(text)}</code></pre></div>\n`;
    },
    checkbox({ checked }: Tokens.Checkbox): string {
      return `<input type="checkbox" disabled${checked ? " checked" : ""} aria-label="${checked ? "done" : "to do"}"> `;
    },
    table(token: Tokens.Table): string {
      const cell = (cell: Tokens.TableCell, tag: string) =>
        `<${tag}${cell.align ? ` align="${cell.align}"` : ""}>${this.parser.parseInline(cell.tokens)}</${tag}>`;
      const row = (cells: Tokens.TableCell[], tag: string) => `<tr>${cells.map((one) => cell(one, tag)).join("")}</tr>`;
      const body = token.rows.map((cells) => row(cells, "td")).join("");
      return `<div class="table" tabindex="0" role="region" aria-label="Table"><table><thead>${row(token.header, "th")}</thead><tbody>${body}</tbody></table></div>\n`;
    },
  },
});

function link(href: string, inner: string): string {
  return `<a href="${escaped(href)}" target="_blank" rel="noopener noreferrer nofollow">${inner}</a>`;
}

/** Where the browser has Trusted Types this is one of them, which is all that the page's policy lets become markup. */
export function render(text: string): string {
  const markup = marked.parse(text) as string;
  return DOMPurify.sanitize(markup, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ["href", ...HARMLESS],
    // all but `href` are no addresses; and an address must be the web's
    ADD_URI_SAFE_ATTR: HARMLESS,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
    RETURN_TRUSTED_TYPE: true,
  }) as unknown as string;
}
