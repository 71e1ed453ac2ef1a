// Images and files go along with a message: chosen, pasted, dropped, taken out; kept over a reload; seen by the model.
// What is too large is refused at once, and nothing of the draft is lost.

import { randomBytes } from "node:crypto";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import { assert, begin, env, say, shot, turn, until, words } from "./harness.mjs";

const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
/** A name that would do something if it were markup. */
const HOSTILE = `<img src=x onerror=alert(1)>.md`;

export default async function (stage) {
  const folder = env("PAGE_FILES");
  const file = (name, content) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const image = noise(600, 450);
  const shown = file("shot.png", image);
  const notes = file(HOSTILE, "the port is 4711");
  const huge = file("huge.png", "");
  truncateSync(huge, 50_000_000);

  const page = await stage.page();
  await begin(page, "hello");
  await turn(page, "complete").waitFor();
  const area = page.getByLabel("Message", { exact: true });
  const chosen = page.getByRole("list", { name: "Files that go along" });
  const choose = async (...paths) => await page.getByLabel("Files to attach").setInputFiles(paths);

  // too large: a sentence, and the draft and what was chosen before stay
  await area.fill("what is this?");
  await choose(shown);
  await chosen.getByText("shot.png").waitFor();
  await choose(huge);
  await page.getByRole("alert").filter({ hasText: "huge.png was not added" }).waitFor();
  assert.equal(await area.inputValue(), "what is this?");
  assert.equal(await chosen.getByRole("listitem").count(), 1);

  // chosen, and taken out again
  await choose(notes);
  await chosen.getByText(HOSTILE).waitFor();
  await chosen.getByRole("button", { name: "Remove shot.png" }).click();
  assert.equal(await chosen.getByRole("listitem").count(), 1);

  // pasted and dropped
  const give = async (kind) =>
    await area.evaluate(
      (element, [kind, base64]) => {
        const content = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([content], `${kind}.png`, { type: "image/png" }));
        const event =
          kind === "paste"
            ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
            : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
        element.dispatchEvent(event);
      },
      [kind, PIXEL],
    );
  await give("paste");
  await chosen.getByText("paste.png").waitFor();
  await give("drop");
  await chosen.getByText("drop.png").waitFor();
  await choose(shown);
  await chosen.getByText("shot.png").waitFor();

  // a reload loses neither the words nor the files
  await page.reload();
  await until("the draft is back", async () => (await area.inputValue()) === "what is this?");
  assert.equal(await chosen.getByRole("listitem").count(), 4);
  await shot(page, "files-chosen");

  await page.getByRole("button", { name: "Send" }).click();
  await until("the answer", async () => (await turn(page, "complete").count()) === 2);
  const said = (await words(page)).join("");
  assert.ok(said.includes(`image/png of ${image.length} bytes`), said);
  assert.ok(said.includes("what is this?"), said);
  assert.equal(await chosen.count(), 0);

  // in the transcript: the image is an image, a name is text, and a download is the very bytes
  const sent = page.locator("article.user").last();
  await sent.getByRole("img", { name: "shot.png" }).waitFor();
  await until("the image is drawn", async () => await sent.getByRole("img", { name: "shot.png" }).evaluate((image) => image.naturalWidth === 600));
  await sent.getByText(HOSTILE).waitFor();
  const [download] = await Promise.all([page.waitForEvent("download"), sent.getByRole("button", { name: "Download shot.png" }).click()]);
  assert.ok(readFileSync(await download.path()).equals(image), "the download is what was sent");
  await shot(page, "files-sent");

  // offline, with a reload in between: it goes out when the deployment is back
  await page.context().setOffline(true);
  await choose(shown);
  await chosen.getByText("shot.png").waitFor();
  await say(page, "");
  await page.getByText("will be sent when the deployment is back").or(page.getByText("sending…")).first().waitFor();
  await page.context().setOffline(false);
  await page.reload();
  await until("the third answer", async () => (await turn(page, "complete").count()) === 3);
  assert.ok((await words(page)).join("").includes(`image/png of ${image.length} bytes`));
}

/** A PNG that no compression makes small. */
function noise(width, height) {
  const chunk = (kind, content) => {
    const told = Buffer.concat([Buffer.from(kind), content]);
    const whole = Buffer.alloc(told.length + 8);
    whole.writeUInt32BE(content.length, 0);
    told.copy(whole, 4);
    whole.writeUInt32BE(crc32(told), told.length + 4);
    return whole;
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const rows = Buffer.concat(Array.from({ length: height }, () => Buffer.concat([Buffer.of(0), randomBytes(width * 3)])));
  const signature = Buffer.from("89504e470d0a1a0a", "hex");
  return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}
