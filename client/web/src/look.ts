// Colours, shapes and sizes. Every class has a colour and a shape, so that nothing hangs on colour alone.
import type { Alert, Model } from "./api";

// Okabe and Ito's colours: told apart with every kind of colour vision.
const classes = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b0a200"];
const LEGEND_MAX = 14;

export const colourBy = ["family", "run", "cluster", "alert", "state", "dtype", "params", "bits_per_byte", "score", "date", "step"] as const;
export const sizeBy = ["same", "params", "bits_per_byte", "score", "date", "step", "alert", "family", "run", "cluster"] as const;
const numeric: readonly string[] = ["params", "bits_per_byte", "score", "date", "step"];
const titles: Record<string, string> = { params: "parameters", bits_per_byte: "bits per byte", dtype: "element type", same: "the same" };
export const titleOf = (by: string): string => titles[by] ?? by;

/** What is known besides the models' own fields. */
export interface Known {
	alerts: Map<string, Alert[]>;
	scores: Map<string, number>;
	clusters: Map<string, string>;
}
export interface Entry {
	label: string;
	colour: string;
	shape: number;
	filter?: string; // what one would type to see these only
}
export interface Look {
	of: (name: string) => Entry;
	legend: Entry[];
	more: number; // classes that the legend has no room for
}

function number(m: Model, by: string, k: Known): number | null {
	switch (by) {
		case "params": return m.params ? Math.log10(m.params) : null;
		case "date": return m.modified ?? m.scored_at;
		case "score": return k.scores.get(m.name) ?? null;
		default: return (m as unknown as Record<string, number | null>)[by] ?? null;
	}
}

export const wordOf = (m: Model, by: string, k: Known): string =>
	by === "alert" ? (k.alerts.get(m.name)?.[0]?.kind ?? "none") : by === "cluster" ? (k.clusters.get(m.name) ?? "none") : String((m as unknown as Record<string, unknown>)[by] ?? "none");

function ramp(t: number): string {
	// dark blue to yellow, rising lightness: it reads the same in grey
	const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
	const x = Math.max(0, Math.min(1, t)) * 4, i = Math.min(3, Math.floor(x));
	return `#${[0, 1, 2].map((k) => Math.round(stops[i]![k]! + (x - i) * (stops[i + 1]![k]! - stops[i]![k]!)).toString(16).padStart(2, "0")).join("")}`;
}

export const day = (t: number): string => new Date(t * 1000).toISOString().slice(0, 10);
const shown = (by: string, v: number, span: number): string =>
	by === "params" ? count(10 ** v) : by === "step" ? String(Math.round(v)) : by !== "date" ? v.toPrecision(4) : span < 172800 ? new Date(v * 1000).toISOString().slice(5, 16).replace("T", " ") : day(v);

export function count(n: number | null | undefined): string {
	if (n == null) return "";
	const i = n >= 1e12 ? 4 : n >= 1e9 ? 3 : n >= 1e6 ? 2 : n >= 1e3 ? 1 : 0, x = n / 1000 ** i;
	return `${i && x < 100 ? x.toPrecision(3).replace(/\.?0+$/, "") : String(Math.round(x))}${["", "k", "M", "B", "T"][i]}`;
}

function range(values: Iterable<number | null>): { lo: number; hi: number; any: boolean } {
	let lo = Infinity, hi = -Infinity;
	for (const v of values)
		if (v !== null) {
			if (v < lo) lo = v;
			if (v > hi) hi = v;
		}
	return { lo, hi, any: hi >= lo };
}

const none: Entry = { label: "none", colour: "#888888", shape: 0 };

function byNumber(names: string[], models: Map<string, Model>, k: Known, by: string): Look {
	const v = new Map<string, number | null>();
	for (const n of names) v.set(n, models.has(n) ? number(models.get(n)!, by, k) : null);
	const { lo, hi, any } = range(v.values());
	const entry = (x: number): Entry => ({ label: shown(by, x, hi - lo), colour: ramp(hi > lo ? (x - lo) / (hi - lo) : 0.5), shape: 0 });
	const unknown = { ...none, label: "not known", shape: 1 };
	const legend = !any ? [unknown] : [1, 0.75, 0.5, 0.25, 0].map((t) => entry(lo + t * (hi - lo)));
	return {
		of: (n) => {
			const x = v.get(n);
			return x == null ? unknown : entry(x);
		},
		legend: lo === hi ? legend.slice(0, 1) : legend,
		more: 0,
	};
}

export function look(names: string[], models: Map<string, Model>, k: Known, by: string): Look {
	if (numeric.includes(by)) return byNumber(names, models, k, by);
	const words = new Map<string, string>(), often = new Map<string, number>();
	for (const n of names) {
		const w = models.has(n) ? wordOf(models.get(n)!, by, k) : "none";
		words.set(n, w);
		often.set(w, (often.get(w) ?? 0) + 1);
	}
	const order = [...often.keys()].filter((w) => w !== "none").sort((a, b) => often.get(b)! - often.get(a)! || a.localeCompare(b, undefined, { numeric: true }));
	const entries = new Map<string, Entry>([["none", none]]);
	order.forEach((w, i) => entries.set(w, { label: w, colour: classes[i % 7]!, shape: ((i % 7) + Math.floor(i / 7)) % 4, filter: `${by}=${quoted(w)}` }));
	const legend = order.slice(0, LEGEND_MAX).map((w) => entries.get(w)!);
	if (often.has("none")) legend.push(none);
	return { of: (n) => entries.get(words.get(n) ?? "none") ?? none, legend, more: Math.max(0, order.length - LEGEND_MAX) };
}

export const quoted = (w: string): string => (/\s/.test(w) ? `"${w}"` : w);

/** Diameters in pixels, smaller where there are many. Numbers by their place between the least and the most; classes by how many they are. */
export function sizes(names: string[], models: Map<string, Model>, k: Known, by: string): (name: string) => number {
	const many = Math.max(0.4, Math.min(1, (300 / names.length) ** 0.25));
	if (by === "same") return () => 11 * many;
	if (by === "alert") return (n) => (k.alerts.has(n) ? 18 : 8) * many;
	const v = new Map<string, number | null>(), often = new Map<string, number>();
	for (const n of names) {
		const m = models.get(n);
		if (m && numeric.includes(by)) v.set(n, number(m, by, k));
		else if (m) often.set(wordOf(m, by, k), (often.get(wordOf(m, by, k)) ?? 0) + 1);
	}
	for (const n of names) if (!v.has(n) && models.has(n)) v.set(n, Math.log(often.get(wordOf(models.get(n)!, by, k)) ?? 1));
	const { lo, hi } = range(v.values());
	return (n) => {
		const x = v.get(n);
		return many * (x == null ? 6 : 8 + (hi > lo ? (16 * (x - lo)) / (hi - lo) : 6));
	};
}
