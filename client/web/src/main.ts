// The page: what the daemon knows, the view of it, and what the reader does.
import { ask, follow, type Alert, type Job, type Kin, type MapReply, type Model, type Point } from "./api";
import { picture, saveCsv, savePng, saveSvg, type Mark } from "./download";
import { colourBy, look, matcher, sizeBy, sizeOf, type Look } from "./look";
import { alertBox, el, showGroup, showModel, showPair, svg, type Doors } from "./panel";
import { Scatter } from "./scatter";
import { readView, writeView } from "./view";

const $ = <T extends Element = HTMLElement>(id: string): T => document.getElementById(id) as unknown as T;
const [list, panel, live, over, canvas] = [$("list"), $("panel"), $("live"), $<SVGSVGElement>("over"), $<HTMLCanvasElement>("map")];

let view = readView();
let models = new Map<string, Model>();
let alerts = new Map<string, Alert[]>();
let points = new Map<string, Point>();
let scores = new Map<string, number>();
let map: MapReply = { epoch: 0, points: [] };
let tree: Promise<Map<string, Kin>> | undefined;
let shown: string[] = []; // names that pass the filter, in the order of the list
let marks: Look = { of: () => ({ label: "", colour: "#888888", shape: 0 }), legend: [] };
let hover = "", group: string[] = [], loop: [number, number][] | undefined;
let neighbours: string[] = [];
let scatter: Scatter | undefined;
try {
	scatter = new Scatter(canvas);
} catch (e) {
	$("stage").replaceChildren(el("p", {}, (e as Error).message));
}

// ---- reading ----

const say = (text: string, off = false): void => {
	live.textContent = text;
	live.classList.toggle("off", off);
};

async function readMap(): Promise<void> {
	const m = await ask<MapReply>("map", { method: view.m, epoch: view.e, domain: view.t, dim: view.m !== "pca" && view.d === 3 ? 3 : undefined });
	map = m;
	points = new Map(m.points.map((p) => [p.name, p]));
	tree = undefined;
	draw();
}

async function readRest(): Promise<void> {
	const [m, a, q] = await Promise.all([ask<{ models: Model[] }>("models"), ask<{ alerts: Alert[] }>("alerts"), ask<{ jobs: Job[] }>("queue")]);
	models = new Map(m.models.map((x) => [x.name, x]));
	alerts = new Map();
	for (const x of a.alerts) alerts.set(x.model, [...(alerts.get(x.model) ?? []), x]);
	$("alerts").replaceChildren(...a.alerts.map((x) => {
		const b = el("button", { class: "link", type: "button" }, `${x.kind}: ${x.model}`);
		b.onclick = () => select(x.model);
		return el("li", { title: x.message }, b);
	}));
	$("queue").replaceChildren(...q.jobs.map((j) => el("li", { title: j.reason ?? "" }, `${j.model}: ${j.state}`, j.state === "running" ? el("progress", { max: "1", value: String(j.progress ?? 0) }) : null)));
}

async function readScores(): Promise<void> {
	scores = new Map();
	if (view.c !== "score") return;
	const b = (await ask<{ benchmarks: { bench: string }[] }>("scores")).benchmarks[0]?.bench;
	if (!b) return;
	const r = await ask<{ predictions?: { name: string; score?: number }[] }>("predict", { bench: b });
	for (const p of r.predictions ?? []) if (p.score != null) scores.set(p.name, p.score);
}

async function readEpochs(): Promise<void> {
	const r = await ask<{ epochs: { epoch: number }[] }>("epochs"), s = $<HTMLSelectElement>("epoch");
	s.replaceChildren(el("option", { value: "" }, "current"), ...r.epochs.map((e) => el("option", { value: String(e.epoch) }, String(e.epoch))).reverse());
	s.value = view.e;
}

async function readDomains(): Promise<void> {
	const s = $<HTMLSelectElement>("domain"), two = [...points.keys()].slice(0, 2);
	s.replaceChildren(el("option", { value: "" }, "all"));
	if (two.length === 2) {
		const d = await ask<{ domains: { domain: string }[] }>("dist", { a: two[0], b: two[1] });
		if (d.domains.length > 1) s.append(...d.domains.map((x) => el("option", { value: x.domain }, x.domain)));
	}
	s.value = view.t;
}

/** Reads what is asked for once more when quiet: many events make one question. */
const waiting = new Map<() => Promise<void>, number>();
function soon(what: () => Promise<void>, ms = 300): void {
	if (waiting.has(what)) return;
	waiting.set(what, window.setTimeout(() => {
		waiting.delete(what);
		what().then(draw, (e: Error) => say(e.message, true));
	}, ms));
}

// ---- showing ----

function draw(): void {
	const match = matcher(view.q, alerts);
	shown = [...models.values()].filter(match).map((m) => m.name);
	marks = look([...points.keys()], models, alerts, view.c, scores);
	const names = shown.filter((n) => points.has(n)), n = names.length;
	const dots = { key: names, at: new Float32Array(3 * n), colour: new Uint8Array(4 * n), size: new Float32Array(n), shape: new Float32Array(n) };
	names.forEach((name, i) => {
		const p = points.get(name)!, m = marks.of(name), rgb = parseInt(m.colour.slice(1), 16);
		dots.at.set([p.x, p.y, view.d === 3 ? p.z : 0], 3 * i);
		dots.colour.set([rgb >> 16, (rgb >> 8) & 255, rgb & 255, 255], 4 * i);
		dots.size[i] = sizeOf(models.get(name), view.s);
		dots.shape[i] = m.shape;
	});
	const first = scatter && !scatter.n && n > 0;
	scatter?.set(dots);
	if (first && scatter) {
		if (view.cam.length) scatter.cam = view.cam.slice();
		else scatter.fit();
	}
	drawList();
	$("count").textContent = `${shown.length} of ${models.size} models, ${n} on the map, epoch ${map.epoch}`;
	const layout = $<HTMLSelectElement>("method").selectedOptions[0]?.textContent ?? view.m;
	$("unit").textContent = map.unit && map.unit !== "none" ? `${layout}, ${map.unit}` : layout;
	$("legend").replaceChildren(...marks.legend.map((e) => el("div", {}, key(e.colour, e.shape), e.label)));
}

function key(colour: string, shape: number): SVGElement {
	const s = svg("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" });
	const paths = ["M6 1a5 5 0 1 0 .01 0Z", "M2 2h8v8h-8Z", "M6 0L12 6L6 12L0 6Z", "M6 1L11 10H1Z"];
	s.append(svg("path", { d: paths[shape]!, fill: colour }));
	return s;
}

const LIST_MAX = 500;
function drawList(): void {
	list.replaceChildren(...shown.slice(0, LIST_MAX).map((n, i) => {
		const li = el("li", { role: "option", id: `o${i}`, "aria-selected": String(n === view.sel) }, n);
		if (alerts.has(n)) li.className = "bad";
		li.onclick = () => select(n);
		return li;
	}));
	if (shown.length > LIST_MAX) list.append(el("li", { "aria-disabled": "true" }, `... ${shown.length - LIST_MAX} more: filter`));
	const at = shown.indexOf(view.sel);
	if (at >= 0 && at < LIST_MAX) list.setAttribute("aria-activedescendant", `o${at}`);
	else list.removeAttribute("aria-activedescendant");
}

const runOf = (m: Model | undefined): Model[] =>
	m?.run ? [...models.values()].filter((x) => x.run === m.run).sort((a, b) => (a.step ?? 0) - (b.step ?? 0)) : [];

function place(name: string): [number, number] | undefined {
	const i = scatter?.index(name) ?? -1;
	return i < 0 ? undefined : scatter!.place(i);
}

/** Lines and labels over the points; again with every frame, because they move with them. */
function drawOver(): void {
	over.replaceChildren();
	const labels: [number, number][] = []; // one in a place: models that coincide would write over each other
	const label = (name: string): void => {
		const p = place(name);
		if (!p || labels.some(([x, y]) => Math.abs(x - p[0]) < 12 && Math.abs(y - p[1]) < 12)) return;
		labels.push(p);
		const right = p[0] + 9 + 7 * name.length < canvas.clientWidth; // else on the other side of its point
		over.append(svg("text", { x: p[0] + (right ? 12 : -12), y: p[1] + 4, "text-anchor": right ? "start" : "end" }, name));
	};
	label(view.sel);
	const run = runOf(models.get(view.sel)).map((m) => place(m.name)).filter((p): p is [number, number] => !!p);
	if (run.length > 1) over.append(svg("polyline", { class: "run", points: run.map((p) => p.join(",")).join(" ") }));
	const here = place(view.sel);
	for (const n of [...neighbours, view.cmp].filter(Boolean)) {
		const p = place(n);
		if (here && p) over.append(svg("line", { class: "near", x1: here[0], y1: here[1], x2: p[0], y2: p[1] }));
		label(n);
	}
	for (const name of alerts.keys()) {
		const p = place(name);
		if (p) over.append(svg("circle", { class: "alert", cx: p[0], cy: p[1], r: 10 }));
	}
	for (const name of group) {
		const p = place(name);
		if (p) over.append(svg("circle", { class: "ring", cx: p[0], cy: p[1], r: 8 }));
	}
	if (here) over.append(svg("circle", { class: "ring", cx: here[0], cy: here[1], r: 9 }));
	if (hover && hover !== view.sel) label(hover);
	if (shown.length <= 30) for (const n of shown) if (n !== view.sel && n !== hover && !neighbours.includes(n)) label(n);
	if (loop) over.append(svg("polyline", { class: "lasso", points: loop.map((p) => p.join(",")).join(" ") }));
	if (scatter) view.cam = scatter.n ? scatter.cam.slice() : view.cam;
	writeView(view);
}
if (scatter) scatter.onFrame = drawOver;

const doors: Doors = { select: (n) => select(n), compare: (n) => compare(n) };
const readTree = (): Promise<Map<string, Kin>> =>
	(tree ??= ask<{ models: Kin[] }>("tree").then((r) => new Map(r.models.map((k) => [k.name, k]))));

function select(name: string): void {
	view.sel = name;
	view.cmp = "";
	group = [];
	neighbours = [];
	drawPanel();
	drawList();
	scatter?.draw();
	if (models.get(name)?.state === "scored")
		ask<{ neighbours: { name: string }[] }>("near", { name, k: 3 }).then((r) => {
			if (view.sel === name) neighbours = r.neighbours.map((n) => n.name);
			scatter?.draw();
		}, () => undefined);
}

function compare(name: string): void {
	view.cmp = name;
	drawPanel();
	scatter?.draw();
}

function drawPanel(): void {
	const m = models.get(view.sel);
	if (group.length) showGroup(panel, group.map((n) => models.get(n)!).filter(Boolean), doors);
	else if (view.sel && view.cmp) void showPair(panel, view.sel, view.cmp, doors);
	else if (m) showModel(panel, m, alerts.get(m.name) ?? [], runOf(m), view.t, readTree, doors);
	else if (view.sel) panel.replaceChildren(el("p", {}, `${view.sel} is not known (any more).`));
	const only = !m && view.sel ? alerts.get(view.sel) : undefined;
	if (only) panel.append(...only.map(alertBox));
}

// ---- what the reader does ----

function choice(id: string, words: readonly string[], get: () => string, set: (v: string) => void, then: () => void): void {
	const s = $<HTMLSelectElement>(id);
	if (words.length) s.replaceChildren(...words.map((w) => el("option", { value: w }, w.replaceAll("_", " "))));
	s.value = get();
	s.onchange = () => {
		set(s.value);
		then();
	};
}
const reload = (): void => void readMap().catch((e: Error) => say(e.message, true));
const refit = (): void => void readMap().then(() => scatter?.fit(), (e: Error) => say(e.message, true));

const filtered = async (): Promise<void> => undefined; // what is drawn anew when `soon` has come

function bindControls(): void {
	choice("method", [], () => view.m, (v) => (view.m = v), refit);
	choice("dim", [], () => String(view.d), (v) => {
		view.d = v === "3" ? 3 : 2;
		if (scatter) scatter.cam.splice(4, 2, ...(view.d === 3 ? [0.5, 0.35] : [0, 0]));
	}, refit);
	choice("colour", colourBy, () => view.c, (v) => (view.c = v), () => void readScores().then(draw, draw));
	choice("size", sizeBy, () => view.s, (v) => (view.s = v), draw);
	choice("epoch", [], () => view.e, (v) => (view.e = v), reload);
	choice("domain", [], () => view.t, (v) => (view.t = v), refit);
	const q = $<HTMLInputElement>("q");
	q.value = view.q;
	q.oninput = () => {
		view.q = q.value;
		if (models.size > 5000) soon(filtered, 150);
		else draw();
	};
	$("fit").onclick = () => scatter?.fit();
	$("lasso").onclick = () => $("lasso").setAttribute("aria-pressed", String($("lasso").getAttribute("aria-pressed") !== "true"));
	list.onkeydown = (e) => {
		const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -1e9, End: 1e9 }[e.key];
		if (step === undefined || !shown.length) return;
		e.preventDefault();
		const at = Math.max(0, Math.min(Math.min(shown.length, LIST_MAX) - 1, shown.indexOf(view.sel) + step));
		select(shown[at]!);
		document.getElementById(`o${at}`)?.scrollIntoView({ block: "nearest" });
	};
	const all = (): Mark[] => shown.flatMap((name) => {
		const p = place(name);
		return p ? [{ name, x: p[0], y: p[1], r: sizeOf(models.get(name), view.s) / 2, look: marks.of(name) }] : [];
	});
	$("csv").onclick = () => saveCsv([["name", "x", "y", "z", "family", "params", "state", "bits_per_byte", "run", "step"],
		...shown.filter((n) => points.has(n)).map((n) => {
			const p = points.get(n)!, m = models.get(n);
			return [n, p.x, p.y, p.z, m?.family, m?.params, m?.state, m?.bits_per_byte, m?.run, m?.step];
		})]);
	$("svg").onclick = () => saveSvg(picture(all(), over, canvas.clientWidth, canvas.clientHeight));
	$("png").onclick = () => savePng(all(), canvas.clientWidth, canvas.clientHeight, 2);
}

function bindMap(s: Scatter): void {
	let down: { x: number; y: number; moved: boolean; pan: boolean } | undefined;
	const at = (e: MouseEvent): [number, number] => {
		const r = canvas.getBoundingClientRect();
		return [e.clientX - r.left, e.clientY - r.top];
	};
	canvas.onpointerdown = (e) => {
		canvas.setPointerCapture(e.pointerId);
		const [x, y] = at(e);
		down = { x, y, moved: false, pan: view.d === 2 || e.shiftKey || e.button === 2 };
		if ($("lasso").getAttribute("aria-pressed") === "true") loop = [[x, y]];
	};
	canvas.onpointermove = (e) => {
		const [x, y] = at(e);
		if (!down) {
			const h = s.pick(x, y) ?? "";
			if (h !== hover) {
				hover = h;
				canvas.title = h;
				s.draw();
			}
			return;
		}
		const [dx, dy] = [x - down.x, y - down.y];
		if (!down.moved && Math.hypot(dx, dy) < 4) return;
		down.moved = true;
		[down.x, down.y] = [x, y];
		if (loop) loop.push([x, y]), s.draw();
		else if (down.pan) s.pan(dx, dy);
		else s.rotate(dx, dy);
	};
	canvas.onpointerup = (e) => {
		const [x, y] = at(e), was = down;
		down = undefined;
		if (loop) {
			group = loop.length > 2 ? s.inside(loop) : [];
			loop = undefined;
			$("lasso").setAttribute("aria-pressed", "false");
			if (group.length) [view.sel, view.cmp] = ["", ""];
			drawPanel();
			s.draw();
		} else if (was && !was.moved) {
			const hit = s.pick(x, y);
			if (hit && e.shiftKey && view.sel) compare(hit);
			else if (hit) select(hit);
		}
	};
	canvas.oncontextmenu = (e) => e.preventDefault();
	canvas.addEventListener("wheel", (e) => {
		e.preventDefault();
		s.zoom(Math.exp(-e.deltaY / 400), ...at(e));
	}, { passive: false });
	canvas.onkeydown = (e) => {
		const [w, h] = [canvas.clientWidth, canvas.clientHeight];
		const move = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[e.key];
		if (move && view.d === 3 && !e.shiftKey) s.rotate(move[0]!, move[1]!);
		else if (move) s.pan(move[0]!, move[1]!);
		else if (e.key === "+" || e.key === "=") s.zoom(1.25, w / 2, h / 2);
		else if (e.key === "-") s.zoom(0.8, w / 2, h / 2);
		else if (e.key === "0") s.fit();
		else return;
		e.preventDefault();
	};
}

// ---- what happens ----

function heard(type: string, e: Record<string, unknown>): void {
	if (type === "hello") say("live");
	else if (type === "resync") soon(readRest), soon(readMap), soon(readEpochs);
	else if (type === "model") {
		models.set(String(e["name"]), e as unknown as Model);
		soon(async () => draw(), 100);
		if (e["name"] === view.sel && !view.cmp) drawPanel();
	} else if (type === "job" || type === "alert") soon(readRest);
	else if (type === "map") {
		say(e["what"] === "epoch" ? "live: a new epoch" : `live: ${String(e["name"])} has arrived`);
		soon(readMap);
		soon(readRest);
		if (e["what"] === "epoch") soon(readEpochs);
	}
}

async function start(): Promise<void> {
	bindControls();
	if (scatter) bindMap(scatter);
	try {
		await Promise.all([readRest(), readMap(), readEpochs(), readScores()]);
		draw();
		drawPanel();
		if (view.sel && !view.cmp) select(view.sel);
		document.body.dataset["ready"] = "1";
		await readDomains();
	} catch (e) {
		say((e as Error).message, true);
	}
	follow(heard, (up) => up || say("the daemon does not answer; trying again", true));
}
window.addEventListener("hashchange", () => {
	view = readView();
	bindControls();
	if (scatter && view.cam.length) scatter.cam = view.cam.slice();
	reload();
	drawPanel();
});
/** Milliseconds of ours for a frame (points and what lies over them), a pick, a new filter; means of n. */
function cost(n: number): Record<string, number> {
	const mean = (f: (i: number) => void): number => {
		const t = performance.now();
		for (let i = 0; i < n; i++) f(i);
		return (performance.now() - t) / n;
	};
	return {
		frame: mean(() => (scatter?.drawNow(), drawOver())),
		pick: mean((i) => scatter?.pick(10 + i * 20, 10 + i * 15)),
		draw: mean(draw),
	};
}

// For tests and for the curious: where things are on the screen, and what it costs.
Object.assign(window, { modelmap: { cost, place, point: (n: string) => points.get(n), shown: () => shown, view: () => view, moving: () => scatter?.moving ?? false, pixel: (x: number, y: number) => scatter?.pixel(x, y) } });
void start();
