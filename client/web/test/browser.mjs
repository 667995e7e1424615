// The page in a real browser against a real daemon: node browser.mjs URL MODELS_DIR ARRIVAL SHOTS_DIR
// ARRIVAL is a checkpoint that is copied into MODELS_DIR while the page is looked at.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const [url, modelsDir, arrival, shots] = process.argv.slice(2);
mkdirSync(shots, { recursive: true });
const api = async (path) => {
	const r = await fetch(url + "api/v1/" + path);
	assert.equal(r.status, 200, path);
	return r.json();
};
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"] });
const trouble = [];
async function open(hash = "", options = {}) {
	const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, reducedMotion: "reduce", ...options });
	const page = await context.newPage();
	page.setDefaultTimeout(60000);
	page.on("console", (m) => m.type() === "error" && trouble.push(m.text() + " " + m.location().url));
	page.on("pageerror", (e) => trouble.push(String(e)));
	page.on("request", (r) => r.url().startsWith(url) || r.url().startsWith("blob:") || trouble.push("asks elsewhere: " + r.url()));
	await page.addInitScript(() => addEventListener("securitypolicyviolation", (e) => console.error("CSP: " + e.violatedDirective)));
	await page.goto(url + hash);
	await page.waitForSelector("body[data-ready]");
	await until(page, () => document.getElementById("live").textContent.startsWith("live"));
	return page;
}
// The page's policy forbids what Playwright's own waiting does (eval).
async function until(page, f, arg) {
	const end = Date.now() + 120000;
	while (!(await page.evaluate(f, arg))) {
		assert.ok(Date.now() < end, "not in time: " + f);
		await new Promise((r) => setTimeout(r, 30));
	}
}
const place = (page, name) => page.evaluate((n) => window.modelmap.place(n), name);
const shown = (page) => page.evaluate(() => window.modelmap.shown());
const box = async (page) => (await page.locator("#map").boundingBox());
const step = (text) => console.log("  " + text);

const page = await open();
const map = await api("map"), models = (await api("models")).models, alerts = (await api("alerts")).alerts;
assert.ok(map.points.length >= 6);

// ---- every point is where the API says, is drawn there, and is found there ----
const b = await box(page);
const at = new Map();
for (const p of map.points) at.set(p.name, await place(page, p.name));
const [p0] = map.points, far = map.points.reduce((a, p) => (Math.hypot(p.x - p0.x, p.y - p0.y) > Math.hypot(a.x - p0.x, a.y - p0.y) ? p : a), p0);
const scale = (at.get(far.name)[0] - at.get(p0.name)[0]) / (far.x - p0.x);
for (const p of map.points) {
	const [x, y] = at.get(p.name);
	assert.ok(Math.abs(x - at.get(p0.name)[0] - scale * (p.x - p0.x)) < 0.5, p.name);
	assert.ok(Math.abs(y - at.get(p0.name)[1] + scale * (p.y - p0.y)) < 0.5, p.name);
	assert.equal((await page.evaluate(([x, y]) => window.modelmap.pixel(x, y), [x, y]))[3], 255, p.name + " is not drawn");
	await page.mouse.move(b.x + x, b.y + y);
	await until(page, () => document.getElementById("map").title !== "");
	const hit = await page.locator("#map").getAttribute("title"), q = at.get(hit);
	assert.ok(Math.hypot(q[0] - x, q[1] - y) < 8, `${p.name} is picked as ${hit}`);
	await page.mouse.move(b.x + 2, b.y + 2);
}
assert.equal((await page.evaluate(() => window.modelmap.pixel(1, 1)))[3], 0);
step(`${map.points.length} points where the API says`);
await page.screenshot({ path: shots + "/first.png" });

// ---- filter ----
await page.fill("#q", "family:gpt_neox");
assert.deepEqual((await shown(page)).sort(), models.filter((m) => m.family === "gpt_neox").map((m) => m.name).sort());
await page.fill("#q", "qwen2-a run:qwen2-a-run params>1000");
assert.deepEqual((await shown(page)).sort(), models.filter((m) => m.run === "qwen2-a-run").map((m) => m.name).sort());
await page.fill("#q", "");
assert.equal((await shown(page)).length, models.length);
step("filter");

// ---- details by a click; the nearest smaller relative, the trajectory, two models by domain ----
const one = "qwen2-a-shakespeare", near = await api("near?k=8&name=" + one);
await page.mouse.click(b.x + at.get(one)[0], b.y + at.get(one)[1]);
await page.waitForSelector("#panel table.near tr:nth-child(2)");
assert.equal(await page.textContent("#name"), one);
assert.deepEqual(await page.locator("#panel table.near button.link").allTextContents(), near.neighbours.map((n) => n.name));
const dist = await api(`dist?a=${one}&b=${near.neighbours[0].name}`);
await until(page, (t) => document.querySelector("#panel table.near td.n").textContent === t, `${dist.kl_bits_per_byte.toPrecision(4)} (${dist.interval_bits_per_byte.map((x) => x.toPrecision(4)).join(" to ")})`);
await page.click("#panel table.near tr:nth-child(2) button[title^=compare]");
await page.waitForSelector("table.domains tr:nth-child(3)");
assert.equal(await page.locator("table.domains tr").count(), dist.domains.length + 1);
await page.locator("#list li", { hasText: "checkpoint-200" }).click();
await page.waitForSelector("#over polyline.run");
const line = (await page.getAttribute("#over polyline.run", "points")).split(" ").map((s) => s.split(",").map(Number));
for (const [i, n] of ["qwen2-a-run/checkpoint-200", "qwen2-a-run/checkpoint-800"].entries())
	assert.ok(Math.hypot(line[i][0] - at.get(n)[0], line[i][1] - at.get(n)[1]) < 0.5, n);
step("details, neighbours, trajectory, two models");

// ---- alerts, with the broken model that is not on the map ----
for (const a of alerts) {
	await page.locator("#alerts button", { hasText: a.kind + ": " + a.model }).first().click();
	await until(page, (t) => document.getElementById("panel").textContent.includes(t), a.message);
}
assert.ok(alerts.some((a) => a.kind === "not_finite"));
await page.screenshot({ path: shots + "/alert.png" });
step(`${alerts.length} alerts`);

// ---- keyboard: the list is walked ----
await page.focus("#list");
await page.keyboard.press("Home");
assert.equal(await page.textContent("#name"), (await shown(page))[0]);
await page.keyboard.press("ArrowDown");
assert.equal(await page.textContent("#name"), (await shown(page))[1]);

// ---- lasso ----
await page.click("#lasso");
await page.mouse.move(b.x + 3, b.y + 3);
await page.mouse.down();
for (const [x, y] of [[b.width - 3, 3], [b.width - 3, b.height - 3], [3, b.height - 3], [3, 10]]) await page.mouse.move(b.x + x, b.y + y, { steps: 3 });
await page.mouse.up();
assert.equal(await page.textContent("#group"), `${map.points.length} models`);
step("lasso");

// ---- layouts, three dimensions, a link that shows the same ----
await page.selectOption("#method", "tsne");
await page.selectOption("#dim", "3");
await page.selectOption("#colour", "bits_per_byte");
await until(page, () => window.modelmap.view().m === "tsne" && location.hash.includes("d=3"));
const want = (await api("map?method=tsne&dim=3")).points.find((p) => p.name === one);
await until(page, (p) => { const q = window.modelmap.point(p.name); return q && q.x === p.x && q.z === p.z; }, want);
await page.focus("#map");
await page.keyboard.press("ArrowLeft");
await page.keyboard.press("+");
await until(page, () => location.hash.includes("cam="));
await page.locator("#list li", { hasText: "neox-a-shakespeare" }).click();
await until(page, () => location.hash.includes("sel=neox"));
const hash = await page.evaluate(() => location.hash), other = await open(hash);
await other.waitForSelector("#panel table.near tr:nth-child(2)");
assert.equal(await other.textContent("#name"), "neox-a-shakespeare");
for (const p of map.points) {
	const [x, y] = await place(page, p.name), [u, v] = await place(other, p.name);
	assert.ok(Math.hypot(x - u, y - v) < 1, `${p.name}: ${x},${y} and by the link ${u},${v}`);
}
assert.equal(await other.inputValue("#method"), "tsne");
await other.screenshot({ path: shots + "/link-3d.png" });
await other.close();
step("layouts, 3D, links");

// ---- downloads ----
const save = async (id) => {
	const [d] = await Promise.all([page.waitForEvent("download"), page.click(id)]);
	return readFileSync(await d.path());
};
const csv = (await save("#csv")).toString().trim().split("\n");
assert.equal(csv.length, map.points.length + 1);
const tsne = await api("map?method=tsne&dim=3");
for (const p of tsne.points) {
	const row = csv.find((l) => l.startsWith(p.name + ",")).split(",");
	assert.deepEqual(row.slice(1, 4).map(Number), [p.x, p.y, p.z]);
}
assert.equal((await save("#svg")).toString().match(/<title>/g).length, map.points.length);
assert.deepEqual([...(await save("#png")).subarray(1, 4)], [...Buffer.from("PNG")]);
step("CSV, SVG, PNG");

// ---- a model arrives while one looks ----
await page.selectOption("#method", "pca");
cpSync(arrival, modelsDir + "/newcomer", { recursive: true, dereference: true });
await until(page, () => window.modelmap.place("newcomer") !== undefined);
assert.ok((await shown(page)).includes("newcomer"));
step("a model arrived");

// ---- dark, narrow ----
const phone = await open("", { viewport: { width: 390, height: 800 }, colorScheme: "dark" });
assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
await phone.screenshot({ path: shots + "/narrow-dark.png" });

assert.deepEqual(trouble, []);
await browser.close();
console.log("web: the page shows what the daemon says");
