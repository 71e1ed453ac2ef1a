// @vitest-environment jsdom
import { describe, expect, test } from "vitest";
import { render } from "./markdown";

function shown(text: string): HTMLElement {
  const place = document.createElement("div");
  place.innerHTML = render(text);
  return place;
}

const HOSTILE = [
  "<script>window.hacked = 1</script>",
  "<img src=x onerror=\"window.hacked=1\">",
  "<svg onload=window.hacked=1><a xlink:href=javascript:window.hacked=1><text>x",
  "[click](javascript:window.hacked=1)",
  "[click](JaVaScRiPt:window.hacked=1)",
  "[click](java\nscript:window.hacked=1)",
  "[click](data:text/html,<script>window.hacked=1</script>)",
  "[click](vbscript:x)",
  "[click](file:///etc/passwd)",
  "<javascript:window.hacked=1>",
  "![x](https://evil.example/pixel.png)",
  "![x\" onerror=\"window.hacked=1](y)",
  "[x](https://a.example \"onmouseover=window.hacked=1\")",
  "[x](https://a.example/\"onmouseover=\"window.hacked=1)",
  "<iframe srcdoc='<script>parent.hacked=1</script>'></iframe>",
  "<style>*{background:url(https://evil.example)}</style>",
  "<form action=https://evil.example><button>go</button></form>",
  "<a href=javascript:window.hacked=1 style=position:fixed;inset:0>x</a>",
  "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=window.hacked=1&gt;\">",
  "```\"><script>window.hacked=1</script>\nx\n```",
  "| <img src=x onerror=window.hacked=1> |\n|---|\n| <script>window.hacked=1</script> |",
  "<base href=https://evil.example><link rel=stylesheet href=//evil.example><meta http-equiv=refresh content=0>",
  "<input onfocus=window.hacked=1 autofocus><details open ontoggle=window.hacked=1>",
  "&lt;script&gt;window.hacked=1&lt;/script&gt;",
];

describe("hostile text", () => {
  test.each(HOSTILE)("%s becomes nothing that acts", (text) => {
    const place = shown(text);
    for (const element of place.querySelectorAll("*")) {
      expect(["SCRIPT", "IMG", "SVG", "IFRAME", "STYLE", "FORM", "BUTTON", "BASE", "LINK", "META", "OBJECT", "EMBED", "DETAILS", "MATH"]).not.toContain(
        element.tagName.toUpperCase(),
      );
      for (const { name, value } of element.attributes) {
        expect(name.startsWith("on") || name === "style" || name === "src" || name === "srcset" || name === "id").toBe(false);
        if (name === "href") expect(value).toMatch(/^(https?|mailto):/);
      }
    }
    expect((window as { hacked?: unknown }).hacked).toBeUndefined();
  });

  test("is shown as the text that it is", () => {
    expect(shown("<script>alert(1)</script>").textContent).toContain("<script>alert(1)</script>");
    expect(shown("a <b>c</b>").textContent).toContain("<b>c</b>");
  });
});

describe("what an assistant writes", () => {
  test("is headings, lists, code, tables and links", () => {
    const place = shown("# T\n\n- [x] done\n- `y`\n\n```rust\nfn main() {}\n```\n\n| a | b |\n|--:|---|\n| 1 | 2 |\n\nsee https://a.example and ~~old~~");
    expect(place.querySelector("h1")?.textContent).toBe("T");
    expect(place.querySelector("pre code")?.textContent).toBe("fn main() {}");
    expect(place.querySelector(".language")?.textContent).toBe("rust");
    expect(place.querySelectorAll("td")).toHaveLength(2);
    expect(place.querySelector("del")?.textContent).toBe("old");
    const link = place.querySelector("a");
    expect(link?.getAttribute("href")).toBe("https://a.example");
    expect(link?.getAttribute("rel")).toContain("noopener");
    expect(place.querySelector("input")?.disabled).toBe(true);
    expect(place.querySelector("input")?.getAttribute("aria-label")).toBe("done");
    expect(place.querySelector("pre")?.getAttribute("tabindex")).toBe("0");
  });

  test("keeps an image's address as a link, and fetches nothing", () => {
    const place = shown("![a cat](https://a.example/cat.png)");
    expect(place.querySelector("img")).toBeNull();
    expect(place.querySelector("a")?.textContent).toBe("a cat (image)");
  });
});
