// What the tests of the page share: a browser that notes every complaint, waiting, where things are.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";

export async function chrome(url, shots) {
	if (shots) mkdirSync(shots, { recursive: true });
	const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"] });
	const trouble = [];
	const blank = async (options = {}, mayAsk = url) => {
		const page = await (await browser.newContext({ viewport: { width: 1400, height: 900 }, reducedMotion: "reduce", ...options })).newPage();
		page.setDefaultTimeout(60000);
		page.on("console", (m) => m.type() === "error" && trouble.push(m.text() + " " + m.location().url));
		page.on("pageerror", (e) => trouble.push(String(e)));
		page.on("request", (r) => r.url().startsWith(mayAsk) || /^(blob|data):/.test(r.url()) || trouble.push("asks elsewhere: " + r.url()));
		await page.addInitScript(() => addEventListener("securitypolicyviolation", (e) => console.error("CSP: " + e.violatedDirective + " " + e.blockedURI)));
		return page;
	};
	const open = async (hash = "", options = {}) => {
		const page = await blank(options);
		await page.goto(url + hash);
		await page.waitForSelector("body[data-ready]");
		await until(page, () => document.getElementById("live").textContent.startsWith("live"));
		return page;
	};
	const api = async (path, headers = {}) => {
		const r = await fetch(url + "api/v1/" + path, { headers });
		assert.equal(r.status, 200, path);
		return r.json();
	};
	return { blank, open, api, trouble, end: () => browser.close() };
}

// The page's policy forbids what Playwright's own waiting does (eval).
export async function until(page, f, arg) {
	const end = Date.now() + 120000;
	while (!(await page.evaluate(f, arg))) {
		assert.ok(Date.now() < end, "not in time: " + f);
		await new Promise((r) => setTimeout(r, 30));
	}
}
export const place = (page, name) => page.evaluate((n) => window.modelmap.place(n), name);
export const shown = (page) => page.evaluate(() => window.modelmap.shown());
export const box = async (page) => await page.locator("#map").boundingBox();
export const step = (text) => console.log("  " + text);
// As the page writes figures.
export const fixed = (x) => (x == null ? "" : x === 0 ? "0" : Math.abs(x) < 1e-4 ? x.toExponential(1) : x.toPrecision(4));
