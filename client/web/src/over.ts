// What lies over the points and moves with them: labels, rings, lines, the lasso, a box in space, a bar of length.
import { svg } from "./dom";
import type { Scatter } from "./scatter";

export interface Scene {
	sel: string;
	cmp: string;
	hover: string;
	neighbours: string[];
	run: string[]; // in the order of steps
	stepOf: (name: string) => number | null;
	alerts: Iterable<string>;
	group: string[];
	shown: string[];
	loop: [number, number][] | undefined;
	unit: string; // of the axes; "": lengths mean nothing
	space: boolean;
}
type Spot = [number, number];
interface Box {
	x: number;
	y: number;
	w: number;
	h: number;
}

const RINGS_MAX = 400, LABELS_MAX = 80, LINE = 15;
const meter = document.createElement("canvas").getContext("2d");
const widths = new Map<string, number>();
function width(text: string): number {
	let w = widths.get(text);
	if (w === undefined) {
		if (meter) meter.font = "12px system-ui, sans-serif";
		w = meter?.measureText(text).width ?? 7 * text.length;
		if (widths.size > 10000) widths.clear();
		widths.set(text, w);
	}
	return w;
}
const hits = (a: Box, b: Box): boolean => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

/** Labels that cover neither each other nor, if there is a choice, a point. Those that come first have the first choice. */
class Labels {
	private taken: Box[] = [];
	private points: Box[] = [];
	private done = new Set<string>();
	private spots: Spot[] = [];
	constructor(private w: number, private h: number, points: Spot[]) {
		this.points = points.map(([x, y]) => ({ x: x - 6, y: y - 6, w: 12, h: 12 }));
	}
	/** must 2: at any price; 1: over points if it has to be; 0: where nothing is. */
	put(over: Element, name: string, p: Spot | undefined, must: 0 | 1 | 2, text = name): void {
		if (!p || this.done.has(name) || p[0] < -20 || p[1] < -20 || p[0] > this.w + 20 || p[1] > this.h + 20) return;
		this.done.add(name);
		if (this.spots.some(([x, y]) => Math.abs(x - p[0]) < 3 && Math.abs(y - p[1]) < 3) && must < 2) return; // models that coincide
		const w = width(text), at: [Box, string, number][] = [
			[{ x: p[0] + 13, y: p[1] - 8, w, h: LINE }, "start", p[0] + 13],
			[{ x: p[0] - 13 - w, y: p[1] - 8, w, h: LINE }, "end", p[0] - 13],
			[{ x: p[0] - w / 2, y: p[1] - 27, w, h: LINE }, "middle", p[0]],
			[{ x: p[0] - w / 2, y: p[1] + 12, w, h: LINE }, "middle", p[0]],
		];
		const inside = at.filter(([b]) => b.x > 2 && b.x + b.w < this.w - 2 && b.y > 0 && b.y + b.h < this.h);
		const free = inside.filter(([b]) => !this.taken.some((t) => hits(b, t)));
		const best = free.find(([b]) => !this.points.some((t) => hits(b, t))) ?? (must ? free[0] : undefined) ?? (must === 2 ? (inside[0] ?? at[0]) : undefined);
		if (!best) return;
		this.spots.push(p);
		this.taken.push(best[0]);
		over.append(svg("text", { x: best[2], y: best[0].y + 12, "text-anchor": best[1] }, text));
	}
}

/** A box around everything, so that one sees what is turned. */
function drawBox(over: Element, s: Scatter): void {
	const [lo, hi] = s.bounds(), corner = (k: number): Spot => s.project(...([0, 1, 2].map((a) => ((k >> a) & 1 ? hi : lo)[a]!) as [number, number, number]));
	for (let k = 0; k < 8; k++)
		for (let a = 0; a < 3; a++)
			if (!((k >> a) & 1)) {
				const p = corner(k), q = corner(k | (1 << a));
				over.append(svg("line", { class: "box", x1: p[0], y1: p[1], x2: q[0], y2: q[1] }));
			}
	["1", "2", "3"].forEach((t, a) => {
		const p = corner(0), q = corner(1 << a);
		over.append(svg("text", { class: "soft", x: (p[0] + q[0]) / 2, y: (p[1] + q[1]) / 2, "text-anchor": "middle" }, t));
	});
}

function drawBar(over: Element, s: Scatter, unit: string, w: number, h: number): void {
	const raw = 110 / s.cam[3]!, p = 10 ** Math.floor(Math.log10(raw)), f = raw / p, length = p * (f >= 5 ? 5 : f >= 2 ? 2 : 1), px = length * s.cam[3]!;
	const x = w - px - 14, y = h - 12;
	over.append(svg("path", { class: "rule", d: `M${x} ${y - 4}V${y}H${x + px}V${y - 4}` }), svg("text", { class: "soft", x: x + px, y: y - 8, "text-anchor": "end" }, `${Number(length.toPrecision(3))} ${unit}`));
}

export function drawOver(over: SVGSVGElement, s: Scatter, v: Scene): void {
	const { clientWidth: w, clientHeight: h } = s.canvas;
	const place = (name: string): Spot | undefined => {
		const i = name ? s.index(name) : -1;
		return i < 0 ? undefined : s.place(i);
	};
	over.replaceChildren();
	if (v.space && s.n) drawBox(over, s);
	else if (v.unit && s.n) drawBar(over, s, v.unit, w, h);
	const run = v.run.map(place).filter((p): p is Spot => !!p), here = place(v.sel);
	if (run.length > 1) over.append(svg("polyline", { class: "run", points: run.map((p) => p.join(",")).join(" ") }));
	for (let i = 1; i < run.length; i++) {
		// which way it goes
		const [a, b] = [run[i - 1]!, run[i]!], d = Math.hypot(b[0] - a[0], b[1] - a[1]);
		if (d < 40) continue;
		const turn = (Math.atan2(b[1] - a[1], b[0] - a[0]) * 180) / Math.PI;
		over.append(svg("path", { class: "arrow", d: "M-5 -4L4 0L-5 4Z", transform: `translate(${(a[0] + b[0]) / 2} ${(a[1] + b[1]) / 2}) rotate(${turn})` }));
	}
	for (const n of [...v.neighbours, v.cmp]) {
		const p = place(n);
		if (here && p) over.append(svg("line", { class: n === v.cmp ? "near pair" : "near", x1: here[0], y1: here[1], x2: p[0], y2: p[1] }));
	}
	const ring = (name: string, kind: string, r: number): void => {
		const p = place(name);
		if (p) over.append(svg("circle", { class: kind, cx: p[0], cy: p[1], r }));
	};
	let n = 0;
	for (const name of v.alerts) if (n++ < RINGS_MAX) ring(name, "alert", 10);
	for (const name of v.group.slice(0, RINGS_MAX)) ring(name, "ring", 8);
	ring(v.sel, "ring", 9);
	ring(v.cmp, "ring", 9);
	const few = v.shown.length <= LABELS_MAX, labels = new Labels(w, h, few ? v.shown.map(place).filter((p): p is Spot => !!p) : []);
	labels.put(over, v.sel, here, 2);
	labels.put(over, v.cmp, place(v.cmp), 2);
	if (v.hover) labels.put(over, v.hover, place(v.hover), 2);
	for (const name of v.neighbours) labels.put(over, name, place(name), 1);
	v.run.forEach((name, i) => labels.put(over, name, place(name), !v.sel && (i === 0 || i === v.run.length - 1) ? 1 : 0, v.stepOf(name) == null ? name : `step ${v.stepOf(name)}`));
	for (const name of v.group.slice(0, LABELS_MAX)) labels.put(over, name, place(name), 0);
	if (few) for (const name of v.shown) labels.put(over, name, place(name), 0);
	if (v.loop) over.append(svg("polyline", { class: "lasso", points: v.loop.map((p) => p.join(",")).join(" ") }));
}
