// Every control has a name, everything can be reached and done by keyboard; and the main views, as pictures, to be looked
// at by whoever changes them.

import { assert, begin, say, script, shot, signIn, turn, until, url } from "./harness.mjs";

const ANSWER = `The total is **truncated before tax**, so a cart of three items loses a cent.

\`\`\`rust
let total = items.iter().map(Item::price).sum::<Cents>();
let taxed = (total * (100 + rate)) / 100;   // rounds once, at the end
\`\`\`

| cart | before | after |
|------|-------:|------:|
| 3 × 0.99 | 3.56 | 3.57 |
| 1 × 9.99 | 11.98 | 11.99 |

- [x] \`src/cart.rs\` is changed
- [ ] the receipts of last month are not
`;

export default async function (stage) {
  const page = await stage.page();
  await begin(page, "What does this project do?");
  await turn(page, "complete").waitFor();
  const tool = { tool: "bash", args: { command: "cargo test cart", description: "Runs the cart's tests" } };
  const address = await begin(page, `Fix the rounding in the cart. ${"Prices are in cents. ".repeat(3)}`);
  await turn(page, "complete").waitFor();
  await say(page, script([{ reason: "The sum is taken before the tax is." }, tool], [{ text: ANSWER }]));
  await until("three answers", async () => (await turn(page, "complete").count()) === 2);
  await page.getByLabel("Message", { exact: true }).fill("And the receipts?");

  await named(page);
  for (const dark of [false, true]) {
    for (const phone of [false, true]) {
      const other = await stage.page({ phone, dark });
      const kind = `${phone ? "phone" : "desktop"}-${dark ? "dark" : "light"}`;
      await other.getByText("Fix the rounding").first().waitFor();
      await shot(other, `sessions-${kind}`);
      await other.goto(address);
      await turn(other, "complete").last().getByText("truncated before tax").waitFor();
      await shot(other, `session-${kind}`);
      await other.goto(`${url}/#/machines`);
      await other.locator('[data-standing="online"]').waitFor();
      await shot(other, `machines-${kind}`);
      await named(other);
      await other.goto(`${url}/#/new`);
      await other.getByLabel("What is there to do?").waitFor();
      await other.locator('[data-standing="online"]').waitFor();
      await shot(other, `new-${kind}`);
      await named(other);
      await other.context().close();
      const stranger = await stage.page({ phone, dark, bare: true });
      await stranger.goto(url);
      await stranger.getByLabel("owner's token").waitFor();
      await shot(stranger, `sign-in-${kind}`);
      await named(stranger);
      await stranger.context().close();
    }
  }
  await byKeyboard(await stage.page());
}

/** No control without a name, no id twice, nothing wider than the screen. */
async function named(page) {
  const wrong = await page.evaluate(() => {
    const nameless = [...document.querySelectorAll("button, a[href], input, textarea, select, summary")].filter((one) => {
      const label = one.getAttribute("aria-label") || one.labels?.[0]?.textContent || one.textContent;
      return !label?.trim();
    });
    const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
    const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
    const isWide = document.documentElement.scrollWidth > innerWidth;
    return { nameless: nameless.map((one) => one.outerHTML), twice, isWide, headings: document.querySelectorAll("h1").length > 0, lang: document.documentElement.lang };
  });
  assert.deepEqual(wrong, { nameless: [], twice: [], isWide: false, headings: true, lang: "en" });
}

/** From the address bar to an answer without a mouse. */
async function byKeyboard(page) {
  await page.goto("about:blank");
  await signIn(page);
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim() || document.activeElement?.getAttribute("aria-label") || "");
  const tabTo = (name) =>
    until(`the keyboard reaches ${name}`, async () => {
      await page.keyboard.press("Tab");
      return (await focused()) === name;
    });
  await tabTo("Skip to the content");
  await tabTo("New");
  await page.keyboard.press("Enter");
  await page.getByLabel("What is there to do?").waitFor();
  await until("the composer has the focus", async () => {
    await page.keyboard.press("Tab");
    return (await page.evaluate(() => document.activeElement?.tagName)) === "TEXTAREA";
  });
  await page.keyboard.type("by keyboard");
  await page.keyboard.press("Enter");
  await page.waitForURL(/#\/session\//);
  await turn(page, "complete").getByText("by keyboard").waitFor();
}
