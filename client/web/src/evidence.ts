// Alerts with what they rest on: the histogram of a leak as `modelmap alert show --svg` draws it, tests and domains as tables, lists of
// numbers as bars, the rest as rows.
import type { Alert } from "./api";
import { el, fixed, head, row, svg, when, type Child } from "./dom";

export interface Histogram {
	from: number;
	to: number;
	unit: string;
	texts: number[];
	suspect: number[];
}
type Row = Record<string, unknown>;

const W = 360, H = 170, X0 = 34, Y0 = 130, PLOT_H = 112;

function histogram(h: Histogram): HTMLElement {
	const n = h.texts.length, most = Math.max(...h.texts, 1), w = (W - X0 - 8) / n;
	const total = (a: number[]): number => a.reduce((x, y) => x + y, 0);
	const says = `How much likelier each of ${total(h.texts)} texts is than other models predict, in ${h.unit}; ${total(h.suspect)} are suspect`;
	const s = svg("svg", { class: "histogram", viewBox: `0 0 ${W} ${H}`, width: "100%", role: "img", "aria-label": says });
	h.texts.forEach((k, i) => {
		const x = X0 + w * i, at = h.from + ((h.to - h.from) * (i + 0.5)) / n, bad = h.suspect[i] ?? 0;
		s.append(svg("rect", { class: "bar", x, y: Y0 - (PLOT_H * k) / most, width: Math.max(0.5, w - 1), height: (PLOT_H * k) / most }, svg("title", {}, `${at.toPrecision(3)}: ${k} texts, ${bad} suspects`)));
		if (bad) s.append(svg("rect", { class: "bar bad", x, y: Y0 - (PLOT_H * bad) / most, width: Math.max(0.5, w - 1), height: (PLOT_H * bad) / most }));
	});
	s.append(svg("line", { class: "axis", x1: X0, y1: Y0, x2: W - 8, y2: Y0 }), svg("text", { x: X0 - 4, y: Y0 - PLOT_H + 8, "text-anchor": "end" }, String(most)), svg("text", { x: X0 - 4, y: Y0, "text-anchor": "end" }, "0"));
	for (let i = 0; i <= 4; i++) s.append(svg("text", { x: X0 + ((W - X0 - 8) * i) / 4, y: Y0 + 14, "text-anchor": i === 4 ? "end" : i ? "middle" : "start" }, String(Number((h.from + ((h.to - h.from) * i) / 4).toPrecision(3)))));
	s.append(svg("text", { x: X0 + (W - X0 - 8) / 2, y: H - 8, "text-anchor": "middle" }, h.unit));
	return el("figure", {}, s, el("figcaption", {}, "How much likelier each text is than other models predict; orange: suspects"));
}

function bars(values: number[]): SVGElement {
	const hi = Math.max(...values.map(Math.abs), 1e-300), w = 280, h = 48, s = svg("svg", { viewBox: `0 0 ${w} ${h}`, width: "100%", role: "img", "aria-label": `${values.length} values, the largest ${hi.toPrecision(3)}` });
	values.forEach((v, i) => s.append(svg("rect", { class: v < 0 ? "bar bad" : "bar", x: (i * w) / values.length, y: h - (h * Math.abs(v)) / hi, width: Math.max(0.5, w / values.length - 1), height: (h * Math.abs(v)) / hi })));
	return s;
}

/** Objects of the same kind under each other; what every row has and what fits. */
function tabled(rows: Row[]): HTMLElement {
	const known = Object.keys(rows[0]!).filter((k) => rows.every((r) => r[k] === null || typeof r[k] !== "object")), t = el("table", { class: "grid" });
	const columns = known.length > 4 ? ["name", "statistic", "p", "effect"].filter((k) => known.includes(k)).concat(known.filter((k) => !["name", "statistic", "p", "effect", "null"].includes(k))).slice(0, 4) : known;
	t.append(head(...columns.map((k) => (typeof rows[0]![k] === "number" ? ">" : "") + k.replaceAll("_", " "))));
	for (const r of rows.slice(0, 40)) t.append(el("tr", typeof r["null"] === "string" ? { title: `null hypothesis: ${r["null"]}` } : {}, ...columns.map((k) => el("td", typeof r[k] === "number" ? { class: "n" } : {}, typeof r[k] === "string" ? r[k].replaceAll("_", " ") : one(r[k])))));
	return t;
}

function one(v: unknown): string {
	return typeof v === "number" ? (Number.isInteger(v) ? String(v) : fixed(v)) : v == null ? "" : typeof v === "object" ? JSON.stringify(v).slice(0, 300) : String(v);
}

const isRow = (v: unknown): v is Row => typeof v === "object" && v !== null && !Array.isArray(v);
function value(k: string, v: unknown): Child {
	if (Array.isArray(v) && v.length > 3 && v.every((x) => typeof x === "number")) return bars(v as number[]);
	if (k === "suspect_texts" && Array.isArray(v)) return `${v.length}: ${(v as Row[]).slice(0, 24).map((t) => t["index"]).join(", ")}${v.length > 24 ? ", ..." : ""}`;
	if (Array.isArray(v) && v.length && v.every(isRow)) return tabled(v);
	if (Array.isArray(v) && v.every((x) => typeof x !== "object")) return v.map(one).join(", ");
	return one(v);
}

function evidence(e: Row, message: string): HTMLElement {
	const box = el("div"), facts = el("table");
	for (const [k, v] of Object.entries(e)) {
		if (isRow(v) && Array.isArray(v["texts"]) && Array.isArray(v["suspect"])) box.prepend(histogram(v as unknown as Histogram));
		else if (typeof v === "string" && v.length > 20 && message.includes(v)) continue; // said already
		else if (k === "fingerprint" && /^0*$/.test(String(v))) continue; // not known
		else if (Array.isArray(v) && v.length && v.every(isRow) && k !== "suspect_texts") box.append(el("h4", {}, k.replaceAll("_", " ")), tabled(v));
		else facts.append(row(k.replaceAll("_", " "), value(k, v)));
	}
	box.append(facts);
	return box;
}

export function alertBox(a: Alert): HTMLElement {
	return el("article", { class: `alert ${a.severity}` },
		el("h3", {}, `${sign(a.severity)} ${a.kind.replaceAll("_", " ")}`, el("small", {}, ` ${a.severity}, ${a.state}${a.raised_at ? `, ${when(a.raised_at)}` : ""}`)),
		el("p", { class: "message" }, a.message), evidence(a.evidence, a.message));
}

/** A sign beside the word, so that the weight of an alert is not a colour alone. */
export const sign = (severity: string): string => ({ critical: "\u2716", warning: "\u26a0", info: "\u2139" })[severity] ?? "\u2022";
