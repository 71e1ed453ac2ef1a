// Runs one scenario: `run.mjs NAME`. Exits 0 when it held, and says on stderr what did not.

import { Stage } from "./harness.mjs";

const [name] = process.argv.slice(2);
const { default: scenario } = await import(`./${name}.mjs`);
const stage = await Stage.open();
let failed = true;
try {
  await scenario(stage);
  await stage.close();
  failed = false;
} catch (error) {
  console.error(error?.stack ?? error);
  if (stage.offences.length > 0) console.error("offences:", stage.offences);
} finally {
  await stage.browser.close().catch(() => {});
}
process.exit(failed ? 1 : 0);
