// Opens a report in a Chromium as a person would, and says what does not hold. Run by tests/tests/browser.rs:
//   node pages.mjs BROWSER_FOLDER CHROMIUM REPORT DATASET_PAGE

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { browser, check, faults, given } from "./checks.mjs";

const [report, view] = given;

// A page in a window of its own; what it says and asks for is kept.
async function open(file, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light", ...options });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  const said = [];
  page.on("console", (message) => said.push(`console ${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => said.push(`error: ${error}`));
  page.on("request", (request) => {
    if (!request.url().startsWith("data:") && request.url() !== `file://${file}`) said.push(`request: ${request.url()}`);
  });
  await page.goto(`file://${file}`, { waitUntil: "load" });
  return { page, said, close: () => context.close() };
}

const tests = {
  async "nothing is fetched, nothing fails, and the load time is said"() {
    for (const file of [report, view]) {
      const { page, said, close } = await open(file);
      await page.waitForTimeout(300);
      assert.deepEqual(said, []);
      const { loadEventEnd } = await page.evaluate(() => performance.getEntriesByType("navigation")[0].toJSON());
      console.log(`${path.basename(file)}: loaded in ${Math.round(loadEventEnd)} ms`);
      await close();
    }
  },

  async "a text of the page can't run a script"() {
    const { page, close } = await open(report);
    const ran = await page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "window.intruded = true";
      document.body.append(script);
      return window.intruded === true;
    });
    assert.equal(ran, false);
    await close();
  },

  async "the slider moves slice, bar and marker"() {
    const { page, close } = await open(report);
    const viewer = page.locator(".viewer.live").first();
    const slider = viewer.locator("[type=range]");
    const marked = () => viewer.evaluate((box) => {
      const chart = box.querySelector(".lane.bars svg.shown");
      return [...chart.querySelectorAll(".bar")].findIndex((bar) => bar.classList.contains("on"));
    });
    const pixels = () => viewer.evaluate((box) => {
      const canvas = box.querySelector(".screen canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.reduce((sum, value, at) => (sum + value * (1 + (at % 97))) % 1e9, 0);
    });
    await slider.focus();
    await page.keyboard.press("Home");
    assert.equal(await marked(), 0);
    const first = await pixels();
    await page.keyboard.press("ArrowRight");
    assert.equal(await marked(), 1);
    assert.notEqual(await pixels(), first, "the picture did not change");
    assert.match(await viewer.locator("output").textContent(), /^Slice 1 of 4/);
    assert.match(await slider.getAttribute("aria-valuetext"), /^slice 1, \d+\.\d\d times/);

    // The marked bar, the marker and the slider's thumb stand at one x.
    const middles = await viewer.evaluate((box) => {
      const middle = (rect) => rect.left + rect.width / 2;
      const slider = box.querySelector("[type=range]").getBoundingClientRect();
      const [thumb, at, last] = [14, 1, 3];
      return [
        middle(box.querySelector(".lane.bars svg.shown .on").getBoundingClientRect()),
        middle(box.querySelector(".marker").getBoundingClientRect()),
        slider.left + thumb / 2 + (at / last) * (slider.width - thumb),
      ];
    });
    for (const middle of middles) assert.ok(Math.abs(middle - middles[0]) < 2, `middles ${middles}`);

    // The wheel on the picture, and the pointer over the bars.
    await viewer.locator(".screen canvas").hover();
    await page.mouse.wheel(0, 100);
    await page.waitForFunction(() => document.querySelector(".viewer output").textContent.startsWith("Slice 2"));
    const lane = viewer.locator(".lane.bars");
    await lane.scrollIntoViewIfNeeded();
    const { x, y, width, height } = await lane.boundingBox();
    await page.mouse.move(x + width * 0.9, y + height / 2);
    assert.equal(await marked(), 3);
    await close();
  },

  async "a digit shows a question at its highest slice"() {
    const { page, close } = await open(report);
    const viewer = page.locator(".viewer.live").first();
    await viewer.locator("[type=range]").focus();
    await page.keyboard.press("2");
    const [shown, peak, question] = await viewer.evaluate((box) => {
      const item = box.querySelectorAll(".questions > li")[1];
      const scores = item.dataset.scores.split(" ").map(Number);
      return [Number(box.querySelector("[type=range]").value), scores.indexOf(Math.max(...scores)), item.classList.contains("on")];
    });
    assert.deepEqual([shown, question], [peak, true]);
    await close();
  },

  async "a window of Hounsfield units changes the picture"() {
    // As of a dataset that was made with one window, which a study of made-up shapes has not.
    const file = path.join(path.dirname(report), "units.html");
    writeFileSync(file, readFileSync(report, "utf8").replaceAll('data-slices=', 'data-low="-1000" data-high="1000" data-slices='));
    const { page, close } = await open(file);
    const viewer = page.locator(".viewer.live").first();
    const greys = () => viewer.evaluate((box) => {
      const canvas = box.querySelector(".screen canvas");
      return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data].filter((_, at) => at % 4 === 0);
    });
    await viewer.locator("[type=range]").focus();
    await page.keyboard.press("Home");
    const stored = await greys();
    await viewer.locator("select").selectOption("soft tissue");
    const seen = await greys();
    // The chosen one is -160 to 240 HU.
    stored.forEach((grey, at) => {
      const units = -1000 + (grey / 255) * 2000;
      const expected = Math.max(0, Math.min(255, 255 * ((units - 40) / 400 + 0.5)));
      assert.ok(Math.abs(seen[at] - expected) <= 1, `grey ${grey}: ${seen[at]}, ${expected} expected`);
    });
    assert.notDeepEqual(seen, stored);
    // One of which less than half is stored is not offered.
    assert.deepEqual(await viewer.locator("option").allInnerTexts(), [
      "-1000 to 1000 HU, as stored", "brain, 0 to 80 HU", "subdural, -32.5 to 182.5 HU", "soft tissue, -160 to 240 HU", "lung, -1350 to 150 HU",
    ]);
    await close();
  },

  async "the filter finds the wrong answer"() {
    const { page, close } = await open(report);
    const list = page.locator(".answer-list").last();
    const shown = () => list.locator("ol.answers > li:not([hidden])");
    const all = await shown().count();
    assert.ok(all > 2, `${all} answers`);
    await list.locator("[name=wrong]").check();
    assert.equal(await shown().count(), 1);
    // Not what is painted: a browser passes over what is out of sight.
    assert.match(await shown().textContent(), /wrong.*answer/);
    assert.equal(await list.locator("output").textContent(), `1 of ${all} answers`);
    await list.locator("[name=wrong]").uncheck();
    await list.locator("[name=search]").fill("WRONG answer");
    assert.equal(await shown().count(), 1);
    await list.locator("[name=search]").fill("no such word");
    assert.equal(await shown().count(), 0);
    // It is the first of all, with its words marked.
    await list.locator("[name=search]").fill("");
    const first = list.locator("ol.answers > li").first();
    assert.equal(await first.locator("mark.extra").first().textContent(), "a");
    await close();
  },

  async "everything is reached by the keyboard"() {
    const { page, close } = await open(report);
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
    await page.keyboard.press("Enter");
    assert.match(page.url(), /#scores-1$/);
    const focused = new Set();
    const selectors = ["[value=macro]", ".filter [name=wrong]", ".filter [type=search]", ".viewer [type=range]", ".viewer [type=radio]", "summary", ".scroll"];
    for (let presses = 0; presses < 400 && focused.size < selectors.length; presses += 1) {
      await page.keyboard.press("Tab");
      // Of radio buttons the chosen one is reached, and arrows move on.
      const found = await page.evaluate((selectors) => selectors.filter((one) => {
        const at = document.activeElement;
        return at.matches(one) || (one.includes("value=") && at.name && document.querySelector(`${one}[name="${at.name}"]`));
      }), selectors);
      found.forEach((one) => focused.add(one));
    }
    assert.deepEqual(selectors.filter((one) => !focused.has(one)), []);
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    const second = await page.evaluate(() => [...document.querySelectorAll("ol.answers > li")].indexOf(document.activeElement));
    assert.equal(second, 1);
    await page.keyboard.press("k");
    assert.equal(await page.evaluate(() => document.activeElement.previousElementSibling), null);
    await close();
  },

  async "a switch shows the other mean and the other reading"() {
    const { page, close } = await open(report);
    const table = page.locator(".switched").first();
    const shown = () => table.evaluate((box) => ["micro", "macro", "released", "strict"].filter((name) =>
      [...box.querySelectorAll(`.${name}`)].some((part) => part.offsetParent !== null)));
    assert.deepEqual(await shown(), ["micro"]);
    await table.locator("[value=macro]").check();
    assert.deepEqual(await shown(), ["macro"]);
    await close();
  },

  async "light and dark, wide and narrow, are without a fault"() {
    for (const file of [report, view]) {
      for (const colorScheme of ["light", "dark"]) {
        for (const width of [1280, 390]) {
          const { page, said, close } = await open(file, { colorScheme, viewport: { width, height: 900 } });
          const where = `${path.basename(file)}, ${colorScheme}, ${width} px`;
          const looks = await page.evaluate(() => ({
            wide: document.documentElement.scrollWidth,
            ground: getComputedStyle(document.body).backgroundColor,
            small: [...document.querySelectorAll("body *")].filter((part) => {
              const own = [...part.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
              if (!own || !part.checkVisibility() || part.closest("title, desc, script")) return false;
              // Text of a chart shrinks with it.
              const matrix = part.getScreenCTM?.();
              return parseFloat(getComputedStyle(part).fontSize) * (matrix ? matrix.a : 1) < 11.99;
            }).map((part) => `${part.tagName} ${part.textContent}`),
          }));
          assert.equal(looks.wide, width, `${where}: the page is ${looks.wide} px wide`);
          assert.deepEqual(looks.small, [], `${where}: texts below 12 px`);
          const lightness = looks.ground.match(/\d+/g).slice(0, 3).map(Number).reduce((sum, part) => sum + part) / 3;
          assert.equal(lightness > 128, colorScheme === "light", `${where}: ground ${looks.ground}`);
          // Folded parts are looked at too.
          await page.evaluate(() => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
          const found = await faults(page);
          assert.deepEqual(found, [], where);
          // axe adds an element of its own and no request.
          assert.deepEqual(said.filter((line) => !line.startsWith("console warning")), [], where);
          await close();
        }
      }
    }
  },

  async "charts have titles and descriptions, tables have heads"() {
    const { page, close } = await open(report);
    const lacking = await page.evaluate(() => ({
      charts: [...document.querySelectorAll("svg")].filter((svg) =>
        svg.getAttribute("role") !== "img" || !svg.querySelector("title")?.textContent || !svg.querySelector("desc")?.textContent).length,
      heads: [...document.querySelectorAll("th")].filter((head) => !head.getAttribute("scope")).length,
      count: document.querySelectorAll("svg").length,
    }));
    assert.ok(lacking.count > 20, `${lacking.count} charts`);
    assert.deepEqual([lacking.charts, lacking.heads], [0, 0]);
    await close();
  },

  async "without the script there are still pictures"() {
    const { page, close } = await open(report, { javaScriptEnabled: false });
    for (const seen of [".viewer .sheet", ".viewer .questions .bars svg", ".viewer .matrix svg", "ol.answers > li"]) {
      assert.ok(await page.locator(seen).first().isVisible(), seen);
    }
    for (const hidden of [".filter", ".viewer .keys"]) {
      assert.equal(await page.locator(hidden).first().isVisible(), false, hidden);
    }
    await close();
  },

  async "what is printed is light and without controls"() {
    const { page, close } = await open(report, { colorScheme: "dark" });
    await page.emulateMedia({ media: "print", colorScheme: "dark" });
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.equal(ground, "rgb(255, 255, 255)");
    for (const hidden of ["nav", ".filter", ".viewer [type=range]"]) {
      assert.equal(await page.locator(hidden).first().isVisible(), false, hidden);
    }
    await close();
  },
};

await check(tests);
