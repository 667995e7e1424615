// The page: what the daemon knows, the view of it, and what the reader does.
import { ask, Denied, follow, setToken, stored, type Model } from "./api";
import { askToken, bindFields, bindMap, choice, fill } from "./controls";
import { byId, el, fixed, key } from "./dom";
import { savePng, saveCsv, saveSvg, type Picture } from "./download";
import { matcher } from "./filter";
import { drawList, drawSides, LIST_MAX, mark } from "./lists";
import { colourBy, count, look, sizeBy, sizes, titleOf } from "./look";
import { drawOver } from "./over";
import { showGroup, showModel, showPair, showRun, type Doors } from "./panel";
import { Scatter } from "./scatter";
import * as state from "./state";
import { readView, writeView } from "./view";

const { at } = state;
const [panel, live, over, canvas, tip] = [byId("panel"), byId("live"), byId<SVGSVGElement>("over"), byId<HTMLCanvasElement>("map"), byId("tip")];
const welcome = panel.firstElementChild as HTMLElement;
let scatter: Scatter | undefined, blind = "";
try {
	scatter = new Scatter(canvas);
} catch (e) {
	blind = (e as Error).message; // the rest works all the same
}
let sizeOf: (name: string) => number = () => 11;

const say = (text: string, off = false): void => {
	live.textContent = text;
	live.classList.toggle("off", off);
};
const trouble = (e: Error): void => void (e instanceof Denied ? void denied() : say(e.message, true));

// ---- showing ----

const space = (): boolean => at.view.d === 3;
const channels = (c: string): number[] => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16) / 255);

const look3d = (): void => void scatter?.cam.splice(4, 2, ...(space() ? [0.5, 0.35] : [0, 0]));

/** Colours that depend on the reader's theme. */
function theme(): void {
	const s = getComputedStyle(document.documentElement);
	if (scatter) [scatter.ground, scatter.rim] = [channels(s.getPropertyValue("--bg").trim()), channels(s.getPropertyValue("--fg").trim())];
	scatter?.draw();
}

function draw(): void {
	const { view, models, points, known } = at;
	const match = matcher(view.q, known);
	at.shown = [...models.values()].filter(match).map((m) => m.name);
	const all = [...points.keys()];
	at.marks = look(all, models, known, view.c);
	sizeOf = sizes(all, models, known, view.s);
	const names = at.shown.filter((n) => points.has(n)), n = names.length;
	const dots = { key: names, at: new Float32Array(3 * n), colour: new Uint8Array(4 * n), size: new Float32Array(n), shape: new Float32Array(n) };
	names.forEach((name, i) => {
		const p = points.get(name)!, m = at.marks.of(name), rgb = parseInt(m.colour.slice(1), 16);
		dots.at.set([p.x, p.y, space() ? p.z : 0], 3 * i);
		dots.colour.set([rgb >> 16, (rgb >> 8) & 255, rgb & 255, 255], 4 * i);
		dots.size[i] = sizeOf(name);
		dots.shape[i] = m.shape;
	});
	const first = scatter && !scatter.n && n > 0;
	if (scatter) {
		scatter.haze = space() ? 1 : 0;
		scatter.margin = canvas.clientWidth < 600 ? 0.68 : 0.78;
	}
	scatter?.set(dots);
	if (first && scatter) {
		if (view.cam.length) scatter.cam = view.cam.slice();
		else {
			look3d();
			scatter.fit();
		}
	}
	drawList(go);
	drawSides(go);
	caption(n);
}

function caption(n: number): void {
	const { map, models, shown } = at;
	byId("count").textContent = `${shown.length === models.size ? "" : `${shown.length} of `}${models.size} model${models.size === 1 ? "" : "s"}, ${n} on the map${map.epoch ? `, epoch ${map.epoch}` : ""}`;
	byId("unit").textContent = captionText();
	const head = el("div", { class: "by" }, titleOf(at.view.c) + (at.view.c === "score" && at.bench ? `: ${at.bench}, measured or else predicted` : ""));
	byId("legend").replaceChildren(head, ...at.marks.legend.map((e) => {
		const b = el(e.filter ? "button" : "div", e.filter ? { type: "button", title: `show only ${e.label}` } : {}, key(e.colour, e.shape), e.label);
		if (e.filter) b.onclick = () => filterTo(at.view.q.includes(e.filter!) ? at.view.q.replace(e.filter!, "").trim() : e.filter!);
		return b;
	}), at.marks.more ? el("div", { class: "soft" }, `and ${at.marks.more} more`) : "");
	const hint = byId("hint");
	hint.hidden = n > 0 && !blind;
	hint.textContent = blind ? blind : at.why ? at.why : !models.size ? "Nothing here yet. Copy a model into a watched directory and it will appear." : shown.length ? "No model that passes the filter is on the map." : "No model passes the filter.";
}

function captionText(): string {
	const { map, view } = at, layout = byId<HTMLSelectElement>("method").selectedOptions[0]?.textContent ?? view.m, parts = [layout];
	const e = map.explained?.slice(0, space() ? 3 : 2);
	if (view.m === "pca" && e?.length) parts.push(`axes show ${e.map((x) => `${Math.round(100 * x)} %`).join(" + ")} of the variance`);
	const q = map.quality;
	if (q?.trustworthiness != null && q.knn_recall != null) parts.push(`trustworthiness ${q.trustworthiness.toFixed(3)}, ${Math.round(100 * q.knn_recall)} % of the 10 nearest kept`);
	if (map.unit === "none" && view.m === "tsne") parts.push("only neighbourhoods mean something");
	return parts.join("; ");
}

function overlay(): void {
	if (!scatter) return;
	const { view } = at, run = view.run ? state.runOf(view.run) : state.runOf(at.models.get(view.sel)?.run);
	drawOver(over, scatter, {
		sel: view.sel, cmp: view.cmp, hover: at.hover, neighbours: at.neighbours, group: view.g, shown: at.shown, loop: at.loop, space: space(),
		run: run.map((m) => m.name), stepOf: (n) => (view.run ? (at.models.get(n)?.step ?? null) : null), alerts: at.known.alerts.keys(),
		unit: at.map.unit && at.map.unit !== "none" ? at.map.unit : "",
	});
	if (scatter.n) view.cam = scatter.cam.slice();
	writeView(view);
}
if (scatter) scatter.onFrame = overlay;

function place(name: string): [number, number] | undefined {
	const i = scatter?.index(name) ?? -1;
	return i < 0 ? undefined : scatter!.place(i);
}

const doors: Doors = {
	select: (n) => select(n),
	compare: (n) => compare(n),
	run: (n) => showWay(n),
	near: (names) => {
		at.neighbours = names;
		scatter?.draw();
	},
	tree: state.readTree,
	get domain() { return at.view.t; },
	get metric() { return at.view.k || String(stored?.fixed["metric"] ?? ""); },
	known: (n) => at.models.get(n),
	alerts: (n) => at.known.alerts.get(n) ?? [],
	cluster: (n) => at.known.clusters.get(n),
	runOf: (m) => state.runOf(m.run),
};

function drawPanel(): void {
	const { view, models } = at, m = models.get(view.sel);
	at.neighbours = [];
	if (view.g.length) showGroup(panel, view.g.map((n) => models.get(n)).filter((x): x is Model => !!x), [...models.values()], doors);
	else if (view.run) showRun(panel, view.run, state.runOf(view.run), doors);
	else if (view.sel && view.cmp) void showPair(panel, view.sel, view.cmp, doors);
	else if (m) showModel(panel, m, doors);
	else if (view.sel) panel.replaceChildren(el("p", {}, `${view.sel} is not known (any more).`));
	else panel.replaceChildren(welcome);
}

/** Something else is looked at: model, pair, run or group. */
function turnTo(what: { sel?: string; cmp?: string; run?: string; g?: string[] }): void {
	Object.assign(at.view, { sel: "", cmp: "", run: "", g: [] }, what);
	drawPanel();
	panel.scrollTop = 0;
	mark();
	scatter?.draw();
	writeView(at.view);
}
const select = (name: string): void => turnTo({ sel: name });
const compare = (name: string): void => turnTo({ sel: at.view.sel, cmp: name });
const showWay = (run: string): void => turnTo({ run });
const go = { model: select, run: showWay };

// ---- what the reader does ----

const filterTo = (q: string): void => {
	byId<HTMLInputElement>("q").value = at.view.q = q;
	if (at.models.size > 5000) soon(more, 150);
	else draw();
	if (/\b(cluster|score)[:=<>]/.test(q)) void more().then(draw, trouble);
};
/** What only some views need: clusters, scores. */
const more = async (): Promise<void> => void (await Promise.all([state.readClusters(), state.readScores()]));
const again = (fit: boolean) => (): void => {
	state.readMap().then(() => {
		draw();
		if (fit) scatter?.fit();
		drawPanel();
		if (at.view.c === "cluster" || at.view.s === "cluster") soon(state.readClusters, 0);
	}).catch(trouble);
};
const recolour = (): void => {
	byId("bench").parentElement!.hidden = at.benches.length < 2 || (at.view.c !== "score" && at.view.s !== "score");
	more().then(() => {
		fill("bench", "", at.benches, at.bench);
		draw();
	}).catch(trouble);
};

function bindControls(): void {
	const { view } = at;
	choice("method", [], () => view.m, (v) => (at.view.m = v), again(true));
	choice("dim", [], () => String(view.d), (v) => {
		at.view.d = v === "3" ? 3 : 2;
		look3d();
	}, again(true));
	choice("metric", [], () => view.k, (v) => (at.view.k = v), again(true));
	choice("colour", colourBy, () => view.c, (v) => (at.view.c = v), recolour);
	choice("size", sizeBy, () => view.s, (v) => (at.view.s = v), recolour);
	choice("bench", [], () => at.bench, (v) => (at.bench = v || at.bench), recolour);
	choice("epoch", [], () => view.e, (v) => (at.view.e = v), again(false));
	choice("domain", [], () => view.t, (v) => (at.view.t = v), again(true));
	fill("epoch", "current", [], view.e);
	fill("domain", "all", [], view.t);
	const q = byId<HTMLInputElement>("q");
	q.value = view.q;
	q.oninput = () => filterTo(q.value);
	bindFields(filterTo);
	byId("fit").onclick = () => scatter?.fit();
	byId("view").onclick = () => byId("view").setAttribute("aria-expanded", String(document.body.classList.toggle("tools")));
	byId("list").onkeydown = (e) => {
		const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -1e9, End: 1e9 }[e.key];
		if (by === undefined) return;
		e.preventDefault();
		step(by);
	};
	byId("csv").onclick = () => saveCsv([["name", "x", "y", "z", "family", "params", "state", "bits_per_byte", "run", "step"],
		...at.shown.filter((n) => at.points.has(n)).map((n) => {
			const p = at.points.get(n)!, m = at.models.get(n);
			return [n, p.x, p.y, p.z, m?.family, m?.params, m?.state, m?.bits_per_byte, m?.run, m?.step];
		})]);
	byId("svg").onclick = () => saveSvg(picture());
	byId("png").onclick = () => void savePng(picture(), 2).catch(trouble);
}

function step(by: number): void {
	if (!at.shown.length) return;
	select(at.shown[Math.max(0, Math.min(Math.min(at.shown.length, LIST_MAX) - 1, at.shown.indexOf(at.view.sel) + by))]!);
}

function picture(): Picture {
	const marks = at.shown.flatMap((name) => {
		const i = scatter?.index(name) ?? -1;
		if (i < 0) return [];
		const p = scatter!.place(i);
		return [{ name, x: p[0], y: p[1], r: sizeOf(name) / 2, look: at.marks.of(name), depth: space() ? scatter!.depth(i) : 0 }];
	}).sort((a, b) => a.depth - b.depth);
	return { marks, over, legend: at.marks.legend, caption: captionText(), w: canvas.clientWidth, h: canvas.clientHeight };
}

function hover(name: string, x: number, y: number): void {
	if (name !== at.hover) {
		at.hover = name;
		scatter?.draw();
	}
	const m = at.models.get(name);
	tip.hidden = !name;
	canvas.style.cursor = name ? "pointer" : "";
	if (!name) return;
	tip.replaceChildren(el("b", {}, name), el("div", {}, [m?.family, count(m?.params), m?.bits_per_byte != null ? `${fixed(m.bits_per_byte)} bits per byte` : ""].filter(Boolean).join(", ")),
		el("div", {}, `${titleOf(at.view.c)}: ${at.marks.of(name).label}`), ...(at.known.alerts.get(name) ?? []).map((a) => el("div", { class: "bad" }, `\u26a0 ${a.kind}`)));
	const w = tip.offsetWidth, h = tip.offsetHeight;
	tip.style.left = `${Math.min(x + 14, canvas.clientWidth - w - 4)}px`;
	tip.style.top = `${y + 22 + h > canvas.clientHeight ? y - h - 14 : y + 22}px`;
}

// ---- what happens ----

/** Reads what is asked for once more when quiet: many events make one question. */
const waiting = new Map<() => Promise<void>, number>();
function soon(what: () => Promise<void>, ms = 300): void {
	if (waiting.has(what)) return;
	waiting.set(what, window.setTimeout(() => {
		waiting.delete(what);
		what().then(draw, trouble);
	}, ms));
}
const nothing = async (): Promise<void> => undefined;
const readEpochs = async (): Promise<void> => fill("epoch", "current", (await state.readEpochs()).map(String), at.view.e);
const readDomains = async (): Promise<void> => fill("domain", "all", await state.readDomains(), at.view.t);
const readAlerts = async (): Promise<void> => {
	const before = JSON.stringify(at.known.alerts.get(at.view.sel));
	await state.readAlerts();
	if (at.view.sel && !at.view.cmp && JSON.stringify(at.known.alerts.get(at.view.sel)) !== before) drawPanel();
};

let complete = false; // everything was read once
function heard(type: string, e: Record<string, unknown>): void {
	if (type === "hello" || type === "resync") say("live");
	if (type === "resync" || (type === "hello" && !complete)) {
		complete = true;
		for (const what of [state.readModels, state.readMap, readAlerts, state.readQueue, readEpochs, readDomains]) soon(what);
	} else if (type === "hello") return;
	else if (type === "model") {
		const m = e as unknown as Model, changed = at.models.get(m.name)?.state !== m.state;
		at.models.set(m.name, m);
		soon(nothing, 100);
		if (m.name === at.view.sel && !at.view.cmp && changed) drawPanel();
	} else if (type === "job") soon(state.readQueue);
	else if (type === "alert") soon(readAlerts);
	else if (type === "map") {
		say(e["what"] === "epoch" ? "live: a new epoch" : `live: ${String(e["name"])} has arrived`);
		soon(state.readMap);
		soon(state.readModels);
		soon(more, 600);
		if (e["what"] === "epoch") soon(readEpochs);
		if (byId<HTMLSelectElement>("domain").options.length < 2) soon(readDomains, 1000);
	}
}

async function denied(): Promise<void> {
	say("a token is needed", true);
	await askToken(sessionStorage.getItem("modelmapd-token") ? "That is not the token." : "");
	await start();
}

/** The rest of the choices; what one of them cannot be had for does not keep the others away. */
async function details(): Promise<void> {
	const metrics = async (): Promise<void> => {
		const m = await state.readMetrics();
		byId("metric").parentElement!.hidden = m.length < 2;
		if (m.length > 1) fill("metric", `${m[0]} (default)`, m.slice(1), at.view.k);
	};
	for (const r of await Promise.allSettled([readEpochs(), readDomains(), metrics(), more().then(draw)])) if (r.status === "rejected") trouble(r.reason as Error);
	fill("bench", "", at.benches, at.bench);
	recolourBench();
}
const recolourBench = (): void => void (byId("bench").parentElement!.hidden = at.benches.length < 2 || (at.view.c !== "score" && at.view.s !== "score"));

/** A file: what it was written with cannot be changed, what it does not hold cannot be chosen. */
function setFixed(): void {
	if (!stored) return;
	for (const [id, k] of [["epoch", "epoch"], ["domain", "domain"], ["metric", "metric"]] as const) {
		const s = byId<HTMLSelectElement>(id), v = stored.fixed[k];
		s.replaceChildren(el("option", { value: "" }, v === undefined ? (k === "epoch" ? String(at.map.epoch) : "all") : String(v)));
		s.disabled = true;
		if (k === "metric") s.parentElement!.hidden = v === undefined;
	}
	for (const o of byId<HTMLSelectElement>("method").options) o.disabled = !(`map?method=${o.value}` in stored.answers);
	byId("title").textContent = document.title = stored.title;
	live.classList.add("still");
	say(`as of ${new Date(stored.at * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`);
}

async function start(): Promise<void> {
	try {
		if (stored && !location.hash) Object.assign(at.view, stored.view);
		if (stored && !(`map?method=${at.view.m}` in stored.answers)) at.view.m = Object.keys(stored.answers).find((k) => k.startsWith("map?method="))?.slice(11) ?? at.view.m;
		bindControls();
		await Promise.all([state.readModels(), state.readMap(), state.readAlerts(), state.readQueue()]);
		draw();
		performance.mark("map");
		drawPanel();
		complete = true;
		await details();
		setFixed();
		if (at.view.g.length || at.view.sel) drawPanel();
	} catch (e) {
		trouble(e as Error);
		if (e instanceof Denied) return;
	}
	document.body.dataset["ready"] = "1";
	if (!stored) void follow(heard, trouble);
}

window.addEventListener("hashchange", () => {
	at.view = readView();
	bindControls();
	if (scatter && at.view.cam.length) scatter.cam = at.view.cam.slice();
	again(false)();
});
addEventListener("keydown", (e) => {
	const typing = e.target instanceof HTMLInputElement || e.target instanceof HTMLSelectElement;
	if (e.key === "/" && !typing && !byId<HTMLDialogElement>("login").open) {
		e.preventDefault();
		byId("q").focus();
	}
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);

/** What is done over and over, n times, so that a bench can take the processor's time for it. */
function repeat(what: string, n: number): void {
	for (let i = 0; i < n; i++)
		if (what === "frame") scatter?.drawNow(), overlay();
		else if (what === "pick") scatter?.pick(10 + i * 20, 10 + i * 15);
		else if (what === "draw") draw();
}

welcome.append(el("h1", {}, "Map of language models"),
	el("p", {}, "Models that give texts similar probabilities lie near each other. Select one, on the map or in the list, to see its relatives, its alerts and its scores."),
	el("table", { class: "grid" }, ...[["drag", "move the map; in 3D, turn it (with Shift: move)"], ["wheel, + and -", "zoom"], ["click", "details of a model"], ["Shift and click", "compare with the selected one"], ["Lasso", "what a group shares"],
		["arrow keys, N, P", "move; the next and previous model"], ["/", "filter"], ["Escape", "select none"]].map(([k, v]) => el("tr", {}, el("th", { scope: "row" }, k), el("td", {}, v)))),
	el("p", {}, "The address in the browser always holds what you see: copy it to show it to others."));
theme();
if (scatter) bindMap(canvas, scatter, { hover, select, compare, step, lassoed: (g) => (g.length ? turnTo({ g }) : undefined) });
// For tests and for the curious: where things are on the screen, and what it costs.
Object.assign(window, { modelmap: { repeat, place, ask, setToken, point: (n: string) => at.points.get(n), shown: () => at.shown, view: () => at.view, moving: () => scatter?.moving ?? false, glides: () => scatter?.glides ?? 0, pixel: (x: number, y: number) => scatter?.pixel(x, y) } });
void start();
