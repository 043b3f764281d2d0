// What the pages' checks share: a Chromium, axe's faults of a page, and the checks run one after the other.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

// BROWSER_FOLDER holds node_modules with playwright-core and axe-core, see package.json.
const [home, executablePath, ...others] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(home), "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

// Chromium's own sandbox does not start as root.
const args = ["--disable-gpu", ...(process.getuid() === 0 ? ["--no-sandbox"] : [])];

export const browser = await chromium.launch({ executablePath, args });

// The arguments behind the first two.
export const given = others;

// What axe finds, a line each.
export const faults = (page) => page.evaluate(`${axe}; axe.run(document).then(({ violations }) =>
  violations.map(({ id, nodes }) => id + ": " + nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(" | ")))`);

// Runs functions by their names; the process fails with them.
export async function check(tests) {
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      console.log(`ok: ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED: ${name}: ${error.message}`);
    }
  }
  await browser.close();
  process.exitCode = failed ? 1 : 0;
}
