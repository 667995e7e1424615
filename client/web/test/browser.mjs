// The page in a real browser against a real daemon: node browser.mjs URL MODELS_DIR ARRIVAL SHOTS_DIR FIGURES
// ARRIVAL is a checkpoint that is copied into MODELS_DIR while the page is looked at; FIGURES what the command line and Python say.
import assert from "node:assert/strict";
import { cpSync, readFileSync } from "node:fs";
import { box, chrome, fixed, place, shown, step, until } from "./kit.mjs";

const [url, modelsDir, arrival, shots, figures] = process.argv.slice(2);
const { open, api, trouble, end } = await chrome(url, shots);
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
	await until(page, () => !document.getElementById("tip").hidden);
	const hit = await page.textContent("#tip b"), q = at.get(hit);
	assert.ok(Math.hypot(q[0] - x, q[1] - y) < 8, `${p.name} is picked as ${hit}`);
	await page.mouse.move(b.x + 2, b.y + b.height - 2);
}
assert.equal((await page.evaluate(() => window.modelmap.pixel(1, 1)))[3], 0);
step(`${map.points.length} points where the API says`);
await page.screenshot({ path: shots + "/first.png" });

// ---- labels cover neither each other nor the edge ----
const labels = await page.$$eval("#over text:not(.soft)", (l) => l.map((t) => t.getBoundingClientRect().toJSON()));
for (const [i, p] of labels.entries())
	for (const q of labels.slice(0, i)) assert.ok(p.left > q.right || q.left > p.right || p.top + 2 > q.bottom || q.top + 2 > p.bottom, "labels overlap");
assert.ok(labels.length >= 4 && labels.every((l) => l.left >= b.x && l.right <= b.x + b.width));

// ---- filter: the line, the form, the legend ----
const named = (f) => models.filter(f).map((m) => m.name).sort();
const passes = async (q, f) => {
	await page.fill("#q", q);
	assert.deepEqual((await shown(page)).sort(), named(f), q);
};
await passes("family:gpt_neox", (m) => m.family === "gpt_neox");
await passes("qwen2-a run=qwen2-a-run params>1000", (m) => m.run === "qwen2-a-run");
await passes("size<800k", (m) => m.params && m.params < 800000);
await passes("state=failed", (m) => m.state === "failed");
await passes("date>2020-01-01", (m) => m.scored_at > 0);
await passes("alert=duplicate", (m) => alerts.some((a) => a.kind === "duplicate" && a.model === m.name));
await passes('"qwen2-a-sh"', (m) => m.name.includes("qwen2-a-sh"));
await page.click("#fields summary");
await page.fill("#q", "");
await page.selectOption('#fields [data-key="family"]', "qwen2");
assert.deepEqual((await shown(page)).sort(), named((m) => m.family === "qwen2"));
assert.equal(await page.inputValue("#q"), "family=qwen2");
await page.selectOption('#fields [data-key="family"]', "");
assert.equal((await shown(page)).length, models.length);
await page.click("#fields summary");
await page.click("#legend button:has-text('gpt_neox')");
assert.deepEqual((await shown(page)).sort(), named((m) => m.family === "gpt_neox"));
await page.click("#legend button:has-text('gpt_neox')");
assert.equal((await shown(page)).length, models.length);
step("filter");

// ---- what a new user looks for, in at most five clicks each ----
let clicks = 0;
const click = async (what) => {
	clicks++;
	await (typeof what === "string" ? page.click(what) : page.mouse.click(...what));
};
const found = (what) => {
	assert.ok(clicks <= 5, `${what}: ${clicks} clicks`);
	step(`${what}: ${clicks} click${clicks > 1 ? "s" : ""}`);
	clicks = 0;
};
const figure = JSON.parse(readFileSync(figures)), one = "qwen2-a-shakespeare";
await click([b.x + at.get(one)[0], b.y + at.get(one)[1]]);
await page.waitForSelector("#panel table.smaller tr:nth-child(2), #panel table.near tr:nth-child(2)");
assert.equal(await page.textContent("#name"), one);
const neox = "neox-a-shakespeare";
await click(`#list li:has-text("${neox}")`);
const smaller = await api(`near?k=3&smaller=true&name=${neox}`);
await page.waitForSelector("#panel table.smaller tr:nth-child(2)");
assert.equal(await page.textContent("#panel table.smaller tr:nth-child(2) button.link"), smaller.neighbours[0].name);
assert.equal(await page.textContent("#panel table.smaller tr:nth-child(2) .kl"), fixed(smaller.neighbours[0].kl_bits_per_byte));
found("the nearest smaller relative");
await click('#alerts button:has-text("not_finite")');
await until(page, (t) => document.getElementById("panel").textContent.includes(t), alerts.find((a) => a.kind === "not_finite").evidence.reason);
found("the broken one and why");
await page.screenshot({ path: shots + "/alert.png" });
await click('#runs button:has-text("qwen2-a-run")');
await page.waitForSelector("#over polyline.run");
const line = (await page.getAttribute("#over polyline.run", "points")).split(" ").map((s) => s.split(",").map(Number));
for (const [i, n] of ["qwen2-a-run/checkpoint-200", "qwen2-a-run/checkpoint-800"].entries())
	assert.ok(Math.hypot(line[i][0] - at.get(n)[0], line[i][1] - at.get(n)[1]) < 0.5, n);
const leg = (await api("trajectory?run=qwen2-a-run")).legs[0];
await until(page, (t) => document.querySelector("table.legs tr:nth-child(3) td:last-child").textContent === t, fixed(leg.kl_bits_per_byte));
found("the trajectory of a run");
await page.screenshot({ path: shots + "/run.png" });

// ---- details: the same figures as the command line and Python ----
await page.locator("#list li", { hasText: /^qwen2-a-shakespeare$/ }).click();
const near = await api("near?k=8&name=" + one), dist = await api(`dist?a=${one}&b=${near.neighbours[0].name}`), predicted = (await api("predict?name=" + one)).predictions[0];
for (const who of ["cli", "python"])
	if (figure[who]) assert.deepEqual(figure[who], { near: near.neighbours, dist: dist.kl_bits_per_byte, interval: dist.interval_bits_per_byte, prediction: predicted.prediction, places: map.points.map((p) => [p.name, p.x, p.y]) }, who);
assert.ok(figure.cli);
await page.waitForSelector("#panel table.near tr:nth-child(2)");
assert.deepEqual(await page.locator("#panel table.near button.link").allTextContents(), near.neighbours.map((n) => n.name));
assert.deepEqual(await page.locator("#panel table.near .kl").allTextContents(), near.neighbours.map((n) => fixed(n.kl_bits_per_byte)));
await until(page, (t) => document.querySelector("#panel table.near .ci").textContent === t, dist.interval_bits_per_byte.map(fixed).join(" to "));
await until(page, (t) => document.querySelector("#scores")?.textContent.includes(t), fixed(predicted.prediction));
await page.screenshot({ path: shots + "/details.png" });
await page.click("#panel table.near tr:nth-child(2) button[title^=compare]");
await page.waitForSelector("table.domains tr:nth-child(3)");
assert.deepEqual(await page.$$eval("table.domains td.n", (l) => l.map((td) => td.firstChild.textContent)), dist.domains.map((d) => fixed(d.kl_bits_per_byte)));
assert.equal(await page.textContent("#pair b"), fixed(dist.kl_bits_per_byte));
await page.screenshot({ path: shots + "/pair.png" });
step(`details, two models: the same figures in the page${figure.python ? ", in Python" : ""} and by the command line`);

for (const a of alerts) {
	await page.locator("#alerts button", { hasText: a.kind + ": " + a.model }).first().click();
	await until(page, (t) => document.getElementById("panel").textContent.includes(t), a.message);
}
step(`${alerts.length} alerts`);

// ---- keyboard: everything is reached, the list and the map are walked, what has the focus shows it ----
await page.focus("#list");
await page.keyboard.press("Home");
assert.equal(await page.textContent("#name"), (await shown(page))[0]);
await page.keyboard.press("ArrowDown");
assert.equal(await page.textContent("#name"), (await shown(page))[1]);
await page.focus("#map");
await page.keyboard.press("n");
assert.equal(await page.textContent("#name"), (await shown(page))[2]);
await page.keyboard.press("Escape");
assert.equal(await page.locator("#name").count(), 0);
await page.keyboard.press("/");
assert.equal(await page.evaluate(() => document.activeElement.id), "q");
const order = [];
for (let i = 0; i < 16; i++) {
	await page.keyboard.press("Shift+Tab");
	const [id, outline] = await page.evaluate(() => [document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]);
	if (!id) break;
	order.push(id);
	assert.equal(outline, "solid", `${id} does not show that it has the focus`);
}
for (const id of ["png", "lasso", "size", "colour", "epoch", "domain", "dim", "method"]) assert.ok(order.includes(id), `${id} is not reached by the keyboard: ${order}`);
step("keyboard");

// ---- lasso ----
await page.click("#lasso");
await page.mouse.move(b.x + 3, b.y + b.height - 30);
await page.mouse.down();
for (const [x, y] of [[b.width - 3, b.height - 30], [b.width - 3, 3], [3, 3], [3, b.height - 40]]) await page.mouse.move(b.x + x, b.y + y, { steps: 3 });
await page.mouse.up();
assert.equal(await page.textContent("#group"), `${map.points.length} models`);
const neoxes = map.points.filter((p) => models.find((m) => m.name === p.name).family === "gpt_neox").length;
assert.ok((await page.textContent("#panel table")).includes(`gpt_neox: ${neoxes} of ${neoxes}`));
const group = await open(await page.evaluate(() => location.hash));
assert.equal(await group.textContent("#group"), `${map.points.length} models`);
await group.screenshot({ path: shots + "/group.png" });
await group.close();
step("lasso");

// ---- clusters, scores, sizes, other texts ----
await page.selectOption("#colour", "cluster");
const clusters = (await api("cluster")).clusters;
await until(page, (n) => document.querySelectorAll("#legend button").length === n, clusters.length);
await page.selectOption("#colour", "score");
await until(page, () => document.getElementById("legend").textContent.includes("quiz") && document.querySelectorAll("#legend .key").length >= 5);
await page.selectOption("#size", "params");
const domain = dist.domains[0].domain, there = await api("map?domain=" + domain);
await page.selectOption("#domain", domain);
await until(page, (p) => window.modelmap.point(p.name)?.x === p.x, there.points[0]);
await page.selectOption("#domain", "");
await until(page, (p) => window.modelmap.point(p.name)?.x === p.x, map.points[0]);
const metrics = (await api("commands")).commands.find((c) => c.name === "map").args.find((a) => a.name === "metric")?.choices.split("|") ?? [];
assert.equal(await page.locator("#metric").isVisible(), metrics.length > 1);
if (metrics.length) assert.equal(await page.locator("#metric option").count(), metrics.length);
const other_metric = metrics.find((m) => m !== metrics[0]), by = other_metric && (await fetch(`${url}api/v1/map?metric=${other_metric}`));
if (by) {
	const said = await by.json();
	await page.locator("#list li", { hasText: /^qwen2-a-shakespeare$/ }).click();
	await page.selectOption("#metric", other_metric);
	if (by.ok) {
		await until(page, (p) => window.modelmap.point(p.name)?.x === p.x, said.points[0]);
		const kin = (await api(`near?k=8&name=${one}&metric=${other_metric}`)).neighbours;
		await until(page, (t) => document.querySelector("#panel table.near .kl")?.textContent === t, fixed(kin[0].distance));
		assert.deepEqual(await page.locator("#panel table.near .kl").allTextContents(), kin.map((n) => fixed(n.distance)));
		await page.screenshot({ path: shots + "/metric.png" });
	} else {
		await until(page, (t) => document.getElementById("hint").textContent === t, said.error.text);
		assert.equal((await shown(page)).length, models.length);
		trouble.length = 0; // the browser reports what was refused
	}
	await page.selectOption("#metric", "");
	await until(page, (p) => window.modelmap.point(p.name)?.x === p.x, map.points[0]);
}
step(`clusters, scores, domains, ${metrics.length} metrics${by ? `, of ${other_metric}: ${by.ok ? "the same figures" : "why there is no map"}` : ""}`);

// ---- layouts, three dimensions, a link that shows the same ----
await page.selectOption("#size", "same");
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
await page.locator("#list li", { hasText: neox }).click();
await until(page, () => location.hash.includes("sel=neox"));
const hash = await page.evaluate(() => location.hash), other = await open(hash);
await other.waitForSelector("#panel table.near tr:nth-child(2)");
assert.equal(await other.textContent("#name"), neox);
for (const p of map.points) {
	const [x, y] = await place(page, p.name), [u, v] = await place(other, p.name);
	assert.ok(Math.hypot(x - u, y - v) < 1, `${p.name}: ${x},${y} and by the link ${u},${v}`);
}
assert.equal(await other.inputValue("#method"), "tsne");
await other.screenshot({ path: shots + "/link-3d.png" });
await other.close();
step("layouts, 3D, links");

// ---- a change of layout is a motion, unless the reader wants none ----
const moving = await open("", { reducedMotion: "no-preference" });
await moving.selectOption("#method", "mds");
await until(moving, () => window.modelmap.glides() > 0);
await until(moving, () => !window.modelmap.moving());
await moving.close();
assert.equal(await page.evaluate(() => window.modelmap.glides()), 0);

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
const drawing = (await save("#svg")).toString();
assert.equal(drawing.match(/<title>/g).length, map.points.length);
assert.ok(drawing.includes(`>${neox}</text>`) && drawing.includes("t-SNE"));
const png = await save("#png");
assert.deepEqual([...png.subarray(1, 4)], [...Buffer.from("PNG")]);
assert.equal(png.readUInt32BE(16), 2 * Math.round(b.width));
step("CSV, SVG, PNG");

// ---- a model arrives while one looks ----
await page.selectOption("#method", "pca");
cpSync(arrival, modelsDir + "/newcomer", { recursive: true, dereference: true });
await until(page, () => window.modelmap.place("newcomer") !== undefined);
assert.ok((await shown(page)).includes("newcomer"));
step("a model arrived");

// ---- the queue with its progress; the daemon goes and comes back; no WebGL ----
const other_day = await open();
await other_day.route("**/api/v1/queue*", (r) => r.fulfill({ json: { jobs: [{ id: 1, model: "neox-a", state: "running", progress: 0.42, eta_s: 61, reason: null }] } }));
await other_day.route("**/api/v1/events", (r) => r.abort());
await other_day.reload();
await until(other_day, () => document.getElementById("live").classList.contains("off"));
await other_day.unroute("**/api/v1/events");
await until(other_day, () => document.getElementById("live").textContent === "live");
trouble.length = 0; // the browser reports what it could not have
await other_day.waitForSelector("#queue progress");
assert.equal(await other_day.textContent("#queue small"), " running 42 %, 61 s left");
assert.equal(await other_day.getAttribute("#queue progress", "value"), "0.42");
await other_day.addInitScript(() => (HTMLCanvasElement.prototype.getContext = () => null));
await other_day.reload();
await until(other_day, () => document.body.dataset.ready && document.getElementById("hint").textContent.includes("WebGL"));
await other_day.locator("#list li", { hasText: neox }).click();
await other_day.waitForSelector("#panel table.near tr:nth-child(2)");
await other_day.close();
assert.deepEqual(trouble, []);
step("queue, a daemon that comes back, no WebGL");

// ---- dark, narrow, touch ----
const dark = await open("#sel=" + one, { colorScheme: "dark" });
await dark.waitForSelector("#panel table.near tr:nth-child(2)");
await dark.screenshot({ path: shots + "/dark.png" });
await dark.close();
const phone = await open("", { viewport: { width: 390, height: 800 }, colorScheme: "dark", hasTouch: true });
assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
await phone.tap("#view");
assert.ok(await phone.locator("#method").isVisible());
assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
await phone.screenshot({ path: shots + "/narrow-tools.png" });
await phone.tap("#view");
const [x, y] = await place(phone, one), pb = await box(phone);
await phone.touchscreen.tap(pb.x + x, pb.y + y);
assert.equal(await phone.textContent("#name"), one);
assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
await phone.screenshot({ path: shots + "/narrow-dark.png", fullPage: true });
step("dark, narrow, by touch");

assert.deepEqual(trouble, []);
await end();
console.log("web: the page shows what the daemon says");
