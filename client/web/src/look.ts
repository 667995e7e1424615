// Colours, shapes, sizes, and the filter. Every class has a colour and a shape, so that nothing hangs on colour alone.
import type { Alert, Model } from "./api";

// Okabe and Ito's colours: told apart with every kind of colour vision.
const classes = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b0a200", "#888888"];

export const colourBy = ["family", "run", "state", "alert", "dtype", "params", "bits_per_byte", "date", "score"] as const;
export const sizeBy = ["same", "params", "bits_per_byte"] as const;

export interface Entry {
	label: string;
	colour: string;
	shape: number;
}
export interface Look {
	of: (name: string) => Entry;
	legend: Entry[];
}

const number = (m: Model, by: string, scores: Map<string, number>): number | null =>
	by === "params" ? (m.params ? Math.log10(m.params) : null) : by === "bits_per_byte" ? m.bits_per_byte : by === "date" ? m.scored_at : (scores.get(m.name) ?? null);

const word = (m: Model, by: string, alerts: Map<string, Alert[]>): string =>
	by === "alert" ? (alerts.get(m.name)?.[0]?.kind ?? "none") : String((m as unknown as Record<string, unknown>)[by] ?? "none");

function ramp(t: number): string {
	// dark blue to yellow, rising lightness
	const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
	const x = Math.max(0, Math.min(1, t)) * 4, i = Math.min(3, Math.floor(x));
	return `#${[0, 1, 2].map((k) => Math.round(stops[i]![k]! + (x - i) * (stops[i + 1]![k]! - stops[i]![k]!)).toString(16).padStart(2, "0")).join("")}`;
}

const shown = (by: string, v: number): string =>
	by === "params" ? count(10 ** v) : by === "date" ? new Date(v * 1000).toISOString().slice(0, 10) : v.toPrecision(4);

export function count(n: number | null | undefined): string {
	if (n == null) return "";
	const i = n >= 1e12 ? 4 : n >= 1e9 ? 3 : n >= 1e6 ? 2 : n >= 1e3 ? 1 : 0;
	return `${(n / 1000 ** i).toPrecision(3).replace(/\.0+$/, "")}${["", "k", "M", "B", "T"][i]}`;
}

export function look(names: string[], models: Map<string, Model>, alerts: Map<string, Alert[]>, by: string, scores: Map<string, number>): Look {
	const none: Entry = { label: "none", colour: "#888888", shape: 0 };
	if (["params", "bits_per_byte", "date", "score"].includes(by)) {
		const v = new Map(names.map((n) => [n, models.has(n) ? number(models.get(n)!, by, scores) : null]));
		const known = [...v.values()].filter((x): x is number => x !== null);
		const lo = Math.min(...known), hi = Math.max(...known);
		const entry = (x: number): Entry => ({ label: shown(by, x), colour: ramp(hi > lo ? (x - lo) / (hi - lo) : 0.5), shape: 0 });
		const legend = known.length ? [0, 0.25, 0.5, 0.75, 1].map((t) => entry(lo + t * (hi - lo))) : [none];
		return { of: (n) => { const x = v.get(n); return x == null ? { ...none, shape: 1 } : entry(x); }, legend };
	}
	const words = new Map(names.map((n) => [n, models.has(n) ? word(models.get(n)!, by, alerts) : "none"]));
	const often = new Map<string, number>();
	for (const w of words.values()) often.set(w, (often.get(w) ?? 0) + 1);
	const order = [...often.keys()].filter((w) => w !== "none").sort((a, b) => often.get(b)! - often.get(a)! || (a < b ? -1 : 1));
	const entries = new Map<string, Entry>([["none", none]]);
	order.forEach((w, i) => entries.set(w, { label: w, colour: classes[i % 7]!, shape: Math.floor(i / 7 + i) % 4 }));
	return { of: (n) => entries.get(words.get(n) ?? "none") ?? none, legend: [...order.slice(0, 12).map((w) => entries.get(w)!), ...(often.has("none") ? [none] : [])] };
}

export function sizeOf(m: Model | undefined, by: string): number {
	if (by === "params" && m?.params) return Math.max(5, Math.min(26, 4 + 2.2 * (Math.log10(m.params) - 4)));
	if (by === "bits_per_byte" && m?.bits_per_byte) return Math.max(5, Math.min(26, 3 + 4 * m.bits_per_byte));
	return 11;
}

/** Words must all be in the name; KEY:TEXT, KEY<N, KEY>N ask a field; alert:KIND an open alert. */
export function matcher(q: string, alerts: Map<string, Alert[]>): (m: Model) => boolean {
	const tests = q.trim().toLowerCase().split(/\s+/).filter(Boolean).map((w): ((m: Model) => boolean) => {
		const part = /^([a-z_]+)([:<>])(.*)$/.exec(w);
		if (!part) return (m) => m.name.toLowerCase().includes(w);
		const [, key = "", op, text = ""] = part;
		const field = (m: Model): unknown => (m as unknown as Record<string, unknown>)[key];
		if (key === "alert") return (m) => (alerts.get(m.name) ?? []).some((a) => a.kind.includes(text));
		if (op === ":") return (m) => String(field(m) ?? "").toLowerCase().includes(text);
		const n = key.endsWith("_at") && text.includes("-") ? Date.parse(text) / 1000 : Number(text);
		return (m) => { const v = field(m); return typeof v === "number" && (op === "<" ? v < n : v > n); };
	});
	return (m) => tests.every((t) => t(m));
}
