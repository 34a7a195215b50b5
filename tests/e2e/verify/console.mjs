// SPDX-License-Identifier: MIT
// A browser by npm's puppeteer-core that does what a person does: reads steps as JSON lines, [verb, ...], and answers each with a line,
// {"ok": value} or {"error": text, "shown": what the page shows}.
import readline from "node:readline";
import puppeteer from "puppeteer-core";

const PATIENCE = Number(process.env.PATIENCE ?? 40) * 1000;
const browser = await puppeteer.launch({ executablePath: "/usr/bin/chromium-headless-shell", args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
const page = await browser.newPage(), logs = [];
page.setDefaultTimeout(PATIENCE);
page.on("console", (said) => ["error", "warn"].includes(said.type()) && logs.push(said.text()));
page.on("pageerror", (error) => logs.push(String(error.stack ?? error)));

// The innermost thing with this text or label that can be used, in the dialog that is open, else in the page.
const find = (kind, text) => page.waitForFunction((kind, text) => {
  const dialogs = document.querySelectorAll("dialog[open]"), root = dialogs[dialogs.length - 1] ?? document.body;
  const words = (one) => (one.innerText ?? "").replace(/\s+/g, " ").trim();
  if (kind === "use") {
    const all = [...root.querySelectorAll("button, a, label, summary, tbody tr")].filter((one) => one.checkVisibility() && !one.disabled);
    return all.find((one) => words(one) === text || one.getAttribute("aria-label") === text) ?? all.find((one) => words(one).startsWith(text)) ?? all.find((one) => words(one).includes(text));
  }
  const fields = [...root.querySelectorAll("input, select, textarea")].filter((one) => one.checkVisibility());
  return fields.find((one) => [one.getAttribute("aria-label"), one.value && one.type === "checkbox" ? one.value : null, one.closest("label")?.querySelector("span")?.textContent].includes(text));
}, {}, kind, text);

const verbs = {
  open: (url) => page.goto(url, { waitUntil: "load" }).then((answer) => answer?.status() ?? 0),
  reload: () => page.reload({ waitUntil: "load" }).then(() => true),
  look: async (width, height, dark) => {
    await page.setViewport({ width, height }); // of a mobile it would load the page again
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }]);
    return page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
  },
  click: async (text) => (await find("use", text)).evaluate((one) => { one.scrollIntoView({ block: "nearest" }); one.click(); return true; }),
  fill: async (label, value) => (await find("field", label)).evaluate((one, value) => {
    one.focus();
    one.value = value;
    for (const name of ["input", "change"]) one.dispatchEvent(new Event(name, { bubbles: true }));
    return true;
  }, value),
  tick: async (value) => (await find("field", value)).evaluate((one) => { if (!one.checked) one.click(); return true; }),
  press: async (...keys) => { for (const key of keys) await page.keyboard.press(key); return true; },
  says: (text) => page.waitForFunction((text) => document.body.innerText.includes(text), {}, text).then(() => true),
  wait: (script) => page.waitForFunction(script).then((handle) => handle.jsonValue()),
  run: (script) => page.evaluate(script),
  picture: (path) => page.screenshot({ path }).then(() => true),
  logs: () => logs,
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [verb, ...words] = JSON.parse(line);
  try {
    console.log(JSON.stringify({ ok: (await verbs[verb](...words)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error), shown: await page.evaluate(() => document.body?.innerText).catch(() => null), logs }));
  }
}
await browser.close();
