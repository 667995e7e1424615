// What the page costs with many models, in milliseconds of our own processor time: drawing itself is done in software here and says
// nothing. Simulated answers: node bench.mjs PAGE_DIR N
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const [dir, count] = process.argv.slice(2), n = Number(count);
let seed = 1;
const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
const families = Array.from({ length: 20 }, (_, i) => ({ f: `family-${i}`, at: [0, 1, 2].map(() => 40 * random()) }));
const models = [], points = [];
for (let i = 0; i < n; i++) {
	const { f, at } = families[i % 20], name = `${f}/model-${i}`, run = i % 50 ? null : f;
	models.push({ name, state: "scored", family: f, params: 1e6 * (1 + (i % 999)), bytes: 1, dtype: "bf16", scored_at: 1.7e9 + i, bits_per_byte: 1 + random(), mean_loglik: -900, run, step: run ? i : null });
	points.push({ name, x: at[0] + random(), y: at[1] + random(), z: at[2] + random(), family: f });
}
const answers = {
	models: { models }, map: { epoch: 1, method: "pca", unit: "sqrt(nats per text)", points }, alerts: { alerts: [] }, queue: { jobs: [] },
	epochs: { epoch: 1, epochs: [{ epoch: 1 }] }, scores: { benchmarks: [] }, dist: { domains: [] }, near: { neighbours: [] }, tree: { models: [] },
};
const server = createServer((q, r) => {
	const path = new URL(q.url, "http://x").pathname;
	const cmd = path.startsWith("/api/v1/") ? path.slice(8) : "";
	if (cmd === "events") return r.writeHead(200, { "Content-Type": "text/event-stream" }).write('event: hello\ndata: {"boot":"x","seq":0}\n\n');
	if (cmd) return r.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(answers[cmd] ?? {}));
	r.writeHead(200, { "Content-Type": path.endsWith(".js") ? "text/javascript" : path.endsWith(".css") ? "text/css" : "text/html" });
	r.end(readFileSync(dir + (path === "/" ? "/index.html" : path)));
}).listen(0, "127.0.0.1");
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"] });
const page = await (await browser.newContext({ viewport: { width: 1400, height: 900 }, reducedMotion: "reduce" })).newPage();
page.setDefaultTimeout(120000);
const cdp = await page.context().newCDPSession(page);
await cdp.send("Performance.enable", { timeDomain: "threadTicks" }); // the processor's time of the page's own thread
const busy = async () => 1000 * (await cdp.send("Performance.getMetrics")).metrics.find((m) => m.name === "TaskDuration").value;
await page.goto(`http://127.0.0.1:${server.address().port}/`);
await page.waitForSelector("body[data-ready]");
const [paint, map] = await page.evaluate(() => [performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN, performance.getEntriesByName("map")[0].startTime]);
console.log(`${n} models: first paint after ${paint.toFixed(0)} ms, the map after ${map.toFixed(0)} ms; processor until all is there ${(await busy()).toFixed(0)} ms`);
for (const [what, times, text] of [["frame", 100, "a frame"], ["pick", 100, "a pick"], ["draw", 5, "a new filter or colour"]]) {
	await page.evaluate(() => window.modelmap.repeat("frame", 3));
	const before = await busy();
	await page.evaluate(([w, k]) => window.modelmap.repeat(w, k), [what, times]);
	console.log(`  ${text}: ${(((await busy()) - before) / times).toPrecision(3)} ms of processor time`);
}
await browser.close();
server.close();
process.exit(0);
