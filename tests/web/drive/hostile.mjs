// Whatever an assistant, a tool or a user writes is shown and does nothing. The record of offences (requests to other
// hosts, dialogs, violations of the policy, which are logged) is most of this test.

import { assert, begin, say, script, turn, until } from "./harness.mjs";

const HACK = "window.hacked=1";
const TEXTS = [
  `<script>${HACK}</script>`,
  `<img src=x onerror="${HACK}"><img src="https://evil.example/pixel.png">`,
  `<svg onload=${HACK}></svg><iframe srcdoc="<script>parent.${HACK}</script>"></iframe>`,
  `[click me](javascript:${HACK}) <a href="javascript:${HACK}">or me</a>`,
  "![pixel](https://evil.example/pixel.png)",
  `<style>body{display:none;background:url(https://evil.example/)}</style>`,
  `<form action="https://evil.example"><button>go</button></form><base href="https://evil.example">`,
  `<meta http-equiv="refresh" content="0;url=https://evil.example"><link rel=stylesheet href="https://evil.example/x.css">`,
  `<details open ontoggle=${HACK}><input autofocus onfocus=${HACK}>`,
  "`" + `</code><script>${HACK}</script>` + "`",
];

export default async function (stage) {
  const page = await stage.page();
  const all = TEXTS.join("\n\n");
  await begin(page, script([{ reason: all }, { text: all }, { tool: "bash", args: { command: `cat <<'END'\n${all}\nEND`, description: all } }], [{ text: "done" }]));
  await turn(page, "complete").waitFor();
  await say(page, all);
  await until("the second answer", async () => (await turn(page, "complete").count()) === 2);
  for (const fold of await page.locator("details.reasoning > summary, details.tool > summary").all()) await fold.click();
  await page.locator(".tool-body").first().waitFor();

  for (const link of await page.locator("article a").all()) assert.match(await link.getAttribute("href"), /^https?:/);
  const found = await page.evaluate(() => ({
    hacked: window.hacked,
    elements: document.querySelectorAll("article :is(script, img, svg, iframe, style, form, base, meta, link, object)").length,
    handlers: [...document.querySelectorAll("article *")].flatMap((one) => one.getAttributeNames()).filter((name) => name.startsWith("on")),
  }));
  assert.deepEqual(found, { hacked: undefined, elements: 0, handlers: [] });
  assert.ok((await page.locator("article.assistant").first().innerText()).includes(`<script>${HACK}</script>`), "it is shown as text");

  // The policy itself: even who gets into the page cannot run or load anything.
  const refused = await page.evaluate(async () => {
    const seen = [];
    document.addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
    try {
      document.body.insertAdjacentHTML("beforeend", "<p>x</p>");
    } catch {
      seen.push("trusted-types");
    }
    const script = document.createElement("img");
    script.src = "https://evil.example/pixel.png";
    document.body.append(script);
    await fetch("https://evil.example/").catch(() => {});
    await new Promise((done) => setTimeout(done, 100));
    return seen;
  });
  for (const directive of ["trusted-types", "img-src", "connect-src"]) assert.ok(refused.includes(directive), `${directive}: ${refused}`);
  stage.offences = stage.offences.filter((text) => !/Content Security Policy|Content-Security-Policy|TrustedHTML|asked: https:\/\/evil/.test(text));
}
