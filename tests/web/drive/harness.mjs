// What every scenario has: a browser, pages in it that are signed in, and a record of what no page may do: log an error,
// throw, ask another host, open a dialog. One scenario is one process; its browser goes with it.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

export { assert };

const LIMIT_MS = 120_000;

export const env = (name) => process.env[name] ?? assert.fail(`${name} is not set`);
export const url = env("PAGE_URL");
export const token = env("ORCHESTRATOR_OWNER_TOKEN");

export class Stage {
  offences = [];

  static async open() {
    const browser = await chromium.launch({ executablePath: env("PAGE_CHROMIUM"), args: ["--disable-gpu"] });
    return Object.assign(new Stage(), { browser });
  }

  /** A browser of its own: nothing is shared with another one but the deployment. */
  async page({ phone = false, dark = false, tolerates = [], bare = false } = {}) {
    const context = await this.browser.newContext({
      viewport: phone ? { width: 390, height: 844 } : { width: 1280, height: 800 },
      deviceScaleFactor: phone ? 2 : 1,
      hasTouch: phone,
      isMobile: phone,
      colorScheme: dark ? "dark" : "light",
      locale: "en",
      reducedMotion: "reduce",
    });
    context.setDefaultTimeout(LIMIT_MS);
    const page = await context.newPage();
    const offence = (text) => tolerates.some((known) => text.includes(known)) || this.offences.push(text);
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && offence(`console: ${message.text()}`));
    page.on("pageerror", (error) => offence(`thrown: ${error.message}`));
    page.on("dialog", (dialog) => (offence(`dialog: ${dialog.message()}`), void dialog.dismiss()));
    page.on("request", (request) => new URL(request.url()).host === new URL(url).host || offence(`asked: ${request.url()}`));
    page.on("websocket", (socket) => new URL(socket.url()).host === new URL(url).host || offence(`asked: ${socket.url()}`));
    if (!bare) await signIn(page);
    return page;
  }

  async close() {
    await this.browser.close();
    assert.deepEqual(this.offences, []);
  }
}

export async function signIn(page, place = "") {
  await page.goto(`${url}/${place}#token=${token}`);
  await page.getByRole("navigation", { name: "Sessions" }).waitFor({ state: "attached" });
}

/** Starts a session with a message; returns its address. */
export async function begin(page, text) {
  await page.goto(`${url}/#/new`);
  const area = page.getByLabel("What is there to do?");
  await area.fill(text);
  await page.getByRole("button", { name: "Send" }).click();
  await page.waitForURL(/#\/session\//);
  return page.url();
}

export async function say(page, text) {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

export const turns = (page) => page.locator("article.assistant");
export const turn = (page, state) => page.locator(`article.assistant[data-state="${state}"]`);

/** The answer's words, without what stands around them. */
export const words = (page) => page.locator("article.assistant").last().locator(".part.text").allInnerTexts();

export async function until(what, probe) {
  const end = Date.now() + LIMIT_MS;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > end) assert.fail(`never: ${what}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}

export const script = (...steps) => `SCRIPT:${JSON.stringify({ steps })}`;

export async function shot(page, name) {
  const folder = env("PAGE_SHOTS");
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}
