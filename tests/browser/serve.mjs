// Asks by the page of `med2e3 serve` as a person would, and says what does not hold. Run by tests/tests/browser.rs:
//   node serve.mjs BROWSER_FOLDER CHROMIUM ADDRESS NIFTI

import assert from "node:assert/strict";
import { browser, check, faults, given } from "./checks.mjs";

const [address, nifti] = given;

// The page in a window of its own; what it says, and what it asks of others, is kept.
async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light", ...options });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  const said = [];
  page.on("console", (message) => said.push(`console ${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => said.push(`error: ${error}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(address) && !request.url().startsWith("data:")) said.push(`request: ${request.url()}`);
  });
  await page.goto(address);
  await page.locator("#list tbody button").first().waitFor();
  return { page, said, close: () => context.close() };
}

async function choose(page) {
  await page.locator("#list tbody button").first().click();
  await page.locator(".viewer.live").waitFor();
}

async function ask(page, question, before = 0) {
  await page.fill("[name=question]", question);
  await page.click("[type=submit]");
  await page.waitForFunction((count) => document.querySelectorAll(".questions > li").length > count, before);
}

const tests = {
  async "volumes are found by words"() {
    const { page, said, close } = await open();
    const all = await page.textContent("#search output");
    await page.fill("[name=search]", "no such words anywhere");
    await page.waitForFunction(() => document.querySelectorAll("#list tbody tr").length === 0);
    await page.fill("[name=search]", "");
    await page.waitForFunction((text) => document.querySelector("#search output").textContent === text, all);
    assert.deepEqual(said, []);
    await close();
  },

  async "a question is answered, a second one stands beside it"() {
    const { page, said, close } = await open();
    await choose(page);
    await ask(page, "Where is it?");
    assert.match(await page.textContent("#ask .answer"), /\(\d+\.\d s/);
    await ask(page, "How large is it?", 1);
    assert.equal(await page.locator(".questions > li.on .q").textContent(), "2. How large is it?");
    assert.equal(await page.locator(".viewer .matrix ol li").count(), 2);
    const moved = await page.evaluate(() => {
      const slider = document.querySelector(".viewer [type=range]");
      slider.value = 1;
      slider.dispatchEvent(new Event("input"));
      return document.querySelector(".viewer output").textContent;
    });
    assert.match(moved, /^Slice 1 of /);
    assert.deepEqual(said, []);
    await close();
  },

  async "a sample's question can be taken"() {
    const { page, close } = await open();
    await choose(page);
    await page.selectOption("[name=sample]", { index: 1 });
    assert.ok((await page.inputValue("[name=question]")).length > 3);
    await close();
  },

  async "an answer can be stopped, and the next one comes"() {
    const { page, close } = await open();
    await choose(page);
    await page.fill("[name=question]", "Where is it?");
    // The response is held back, so that there is time to stop it.
    await page.route("**/api/ask", async (route) => { await new Promise((done) => setTimeout(done, 3000)); await route.continue().catch(() => {}); }, { times: 1 });
    await page.click("[type=submit]");
    await page.click("[name=stop]");
    await page.waitForFunction(() => document.querySelector("#ask .answer").textContent.includes("stopped"));
    await ask(page, "Where is it?");
    await close();
  },

  async "a file is dropped, prepared and asked about"() {
    const { page, said, close } = await open();
    await page.setInputFiles("#drop input", nifti);
    await page.waitForFunction(() => document.querySelector("#question .volume").textContent.startsWith("the dropped file"));
    await ask(page, "What is it?");
    assert.deepEqual(said, []);
    await page.setInputFiles("#drop input", { name: "x.nii", mimeType: "", buffer: Buffer.from("no volume") });
    await page.waitForFunction(() => document.querySelector("#volumes .state").textContent.includes("expected a NIfTI volume"));
    await close();
  },

  async "the keyboard alone suffices"() {
    const { page, close } = await open();
    await page.focus("#list tbody button");
    await page.keyboard.press("Enter");
    await page.locator(".viewer.live").waitFor();
    await page.waitForFunction(() => document.activeElement?.name === "question");
    await page.keyboard.type("Where?");
    for (let at = 0; at < 4; at += 1) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelectorAll(".questions > li").length === 1);
    await close();
  },

  async "light and dark, wide and narrow: no fault that axe knows, no overflow"() {
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [1280, 390]) {
        const { page, close } = await open({ colorScheme, viewport: { width, height: 800 }, bypassCSP: true });
        await choose(page);
        await ask(page, "Where is it?");
        const where = `${colorScheme}, ${width} px`;
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${where}: the page overflows`);
        const found = await faults(page);
        assert.deepEqual(found, [], where);
        await close();
      }
    }
  },
};

await check(tests);
