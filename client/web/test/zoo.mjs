// By hand, against a daemon that has scored all of ../shared's zoo on its texts: node zoo.mjs URL TRUTH_JSON SHOTS_DIR.
// What a new user looks for, in at most five clicks each: the nearest smaller relative, the broken ones, runs, the leaked ones and why.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { chrome, fixed, step, until } from "./kit.mjs";

const [url, truthFile, shots] = process.argv.slice(2), truth = JSON.parse(readFileSync(truthFile));
const { open, api, trouble, end } = await chrome(url, shots);
const alerts = (await api("alerts")).alerts, page = await open();
for (const [name, t] of Object.entries(truth)) {
	if (t.kind !== "leaked") continue;
	const a = alerts.find((x) => x.model === name && x.kind === "leak"), h = a.evidence.histogram;
	await page.click(`#alerts button:text-is("leak: ${name}")`); // one click
	await until(page, (t) => document.querySelector("#trouble .message")?.textContent === t, a.message);
	// the picture has the numbers that `alert show --svg` draws
	const bars = await page.$$eval("#trouble .histogram rect:not(.bad) title", (l) => l.map((t) => t.textContent));
	assert.deepEqual(bars, h.texts.map((n, i) => `${(h.from + ((h.to - h.from) * (i + 0.5)) / h.texts.length).toPrecision(3)}: ${n} texts, ${h.suspect[i]} suspects`));
	assert.equal(await page.locator("#trouble .histogram rect.bad").count(), h.suspect.filter((n) => n > 0).length);
	for (const d of a.evidence.domains) assert.ok((await page.textContent("#trouble")).includes(d.domain));
	await page.screenshot({ path: `${shots}/leak-${name}.png` });
	step(`leaked: ${name}, one click`);
}
for (const a of alerts.filter((x) => x.severity === "critical")) {
	await page.click(`#alerts button:text-is("${a.kind}: ${a.model}")`);
	await until(page, (t) => document.querySelector("#trouble .message")?.textContent === t, a.message);
	step(`broken: ${a.model}, one click`);
}
const one = "llama-a-wiki" in truth ? "llama-a-wiki" : (await api("map")).points[0].name;
await page.fill("#q", one);
await page.locator("#list li").first().click();
const smaller = (await api(`near?k=3&smaller=true&name=${one}`)).neighbours;
if (smaller.length) {
	await page.waitForSelector("#panel table.smaller tr:nth-child(2)");
	assert.equal(await page.textContent("#panel table.smaller .kl"), fixed(smaller[0].kl_bits_per_byte));
}
step(`nearest smaller relative of ${one}: ${smaller[0]?.name ?? "there is none"}, one click`);
await page.fill("#q", "");
await page.click("#runs button >> nth=0");
await page.waitForSelector("#over polyline.run");
await page.screenshot({ path: shots + "/zoo-run.png" });
step("trajectory, one click");
for (const [hash, file, options] of [["#c=cluster&s=bits_per_byte&m=mds&d=3", "zoo-3d", {}], ["#c=score&m=tsne", "zoo-dark", { colorScheme: "dark" }]]) {
	const p = await open(hash, options);
	await p.screenshot({ path: `${shots}/${file}.png` });
	await p.close();
}
assert.deepEqual(trouble, []);
await end();
