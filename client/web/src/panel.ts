// What is known of one model, of two, of a group. Text of the daemon goes in as text, never as HTML.
import { ask, type Alert, type Dist, type Kin, type Model, type Neighbour } from "./api";
import { count } from "./look";

type Child = Node | string | null | undefined;
export function el(tag: string, attrs: Record<string, string> = {}, ...children: Child[]): HTMLElement {
	const e = document.createElement(tag);
	for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
	for (const c of children) if (c != null) e.append(c);
	return e;
}
export function svg(tag: string, attrs: Record<string, string | number> = {}, ...children: Child[]): SVGElement {
	const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
	for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, String(v));
	for (const c of children) if (c != null) e.append(c);
	return e;
}

const fixed = (x: number | null | undefined): string => (x == null ? "" : x.toPrecision(4));
const row = (k: string, v: Child): HTMLElement => el("tr", {}, el("th", {}, k), el("td", {}, v));
const when = (t: number | null | undefined): string => (t ? new Date(t * 1000).toISOString().slice(0, 16).replace("T", " ") : "");

export interface Doors {
	select: (name: string) => void;
	compare: (name: string) => void;
}
const link = (name: string, go: (n: string) => void): HTMLElement => {
	const b = el("button", { class: "link", type: "button" }, name);
	b.onclick = () => go(name);
	return b;
};

/** A section that fills itself when its answer comes; an answer for a panel that is not shown any more changes nothing. */
function later(panel: HTMLElement, title: string, make: () => Promise<Child>): void {
	const box = el("section", {}, el("h2", {}, title), el("p", {}, "..."));
	panel.append(box);
	make().then(
		(c) => (c ? box.replaceChildren(el("h2", {}, title), c) : box.remove()),
		(e: Error) => box.replaceChildren(el("h2", {}, title), el("p", {}, e.message)),
	);
}

function bars(values: number[], marks: boolean[] = []): SVGElement {
	const hi = Math.max(...values, 1e-300), w = 280, h = 60, s = svg("svg", { viewBox: `0 0 ${w} ${h}`, width: "100%", role: "img", "aria-label": "histogram" });
	values.forEach((v, i) => {
		const k = ((h - 4) * v) / hi;
		s.append(svg("rect", { class: marks[i] ? "bar bad" : "bar", x: (i * w) / values.length, y: h - k, width: Math.max(1, w / values.length - 1), height: k }));
	});
	return s;
}

/** The evidence of an alert: lists of numbers as a picture, the rest as rows. */
function evidence(e: Record<string, unknown>): HTMLElement {
	const t = el("table");
	for (const [k, v] of Object.entries(e)) {
		if (Array.isArray(v) && v.length > 3 && v.every((x) => typeof x === "number")) t.append(row(k, bars(v as number[])));
		else if (v !== null && typeof v === "object") t.append(row(k, JSON.stringify(v).slice(0, 400)));
		else t.append(row(k, typeof v === "number" && !Number.isInteger(v) ? v.toPrecision(5) : String(v)));
	}
	return t;
}

export function alertBox(a: Alert): HTMLElement {
	return el("div", {}, el("p", { class: "bad" }, `${a.severity}: ${a.kind} (${a.state})`), el("p", {}, a.message), evidence(a.evidence));
}

export function showModel(panel: HTMLElement, m: Model, alerts: Alert[], run: Model[], domain: string, tree: () => Promise<Map<string, Kin>>, doors: Doors): void {
	const facts = el("table", {}, row("state", m.detail && m.detail !== m.state ? `${m.state}, ${m.detail}` : m.state));
	const put = (k: string, v: string): void => void (v && facts.append(row(k, v)));
	put("reason", m.reason ?? "");
	put("family", m.family ?? "");
	put("parameters", count(m.params));
	put("weights", m.bytes ? `${(m.bytes / 2 ** 20).toPrecision(3)} MiB, ${m.dtype ?? ""}` : "");
	put("bits per byte", fixed(m.bits_per_byte));
	put("scored", when(m.scored_at));
	put("note", m.note ?? "");
	panel.replaceChildren(el("h2", { id: "name" }, m.name), facts);
	if (alerts.length) panel.append(el("section", { id: "trouble" }, el("h2", {}, "Alerts"), ...alerts.map(alertBox)));
	if (run.length > 1)
		panel.append(el("section", {}, el("h2", {}, `Run ${m.run}`), el("ol", {}, ...run.map((r) => el("li", {}, link(`${r.step ?? ""} ${r.name}`.trim(), () => doors.select(r.name)))))));
	if (m.state !== "scored") return;
	const near = async (smaller: boolean): Promise<Child> => {
		const r = await ask<{ neighbours: Neighbour[] }>("near", { name: m.name, k: smaller ? 3 : 8, smaller: smaller || undefined, domain });
		if (!r.neighbours.length) return null;
		const t = el("table", { class: smaller ? "smaller" : "near" }, el("tr", {}, el("th", {}, "model"), el("th", {}, "KL, bits per byte"), el("th", {}, "")));
		for (const n of r.neighbours) {
			const kl = el("td", { class: "n" }, fixed(n.kl_bits_per_byte)), c = el("button", { type: "button", title: `compare with ${n.name}` }, "vs");
			c.onclick = () => doors.compare(n.name);
			t.append(el("tr", {}, el("td", {}, link(n.name, doors.select), smaller ? ` ${count(n.params)}` : ""), kl, el("td", {}, c)));
			if (!smaller && r.neighbours.indexOf(n) < 3)
				ask<Dist>("dist", { a: m.name, b: n.name, domain }).then((d) => { kl.textContent = `${fixed(d.kl_bits_per_byte)} (${d.interval_bits_per_byte.map(fixed).join(" to ")})`; }, () => undefined);
		}
		return t;
	};
	later(panel, "Nearest relatives", () => near(false));
	later(panel, "Nearest smaller ones", () => near(true));
	later(panel, "Lineage", async () => {
		const k = (await tree()).get(m.name);
		if (!k) return null;
		const p = el("p", {}, k.kind);
		if (k.parent) p.append(" of ", link(k.parent, doors.select));
		if (k.parent2) p.append(" and ", link(k.parent2, doors.select), ` (${Math.round(100 * (k.alpha ?? 0))} %)`);
		if (k.support != null) p.append(`, support ${Math.round(100 * k.support)} %`);
		return p;
	});
	later(panel, "Benchmark scores", async () => {
		const known = (await ask<{ benchmarks: unknown[] }>("scores")).benchmarks;
		if (!known.length) return null;
		const r = await ask<{ predictions: { bench: string; prediction: number | null; interval?: [number, number]; score?: number }[] }>("predict", { name: m.name });
		const t = el("table", {}, el("tr", {}, el("th", {}, "benchmark"), el("th", {}, "measured"), el("th", {}, "predicted")));
		for (const p of r.predictions)
			t.append(el("tr", {}, el("td", {}, p.bench), el("td", { class: "n" }, fixed(p.score)), el("td", { class: "n" }, p.prediction == null ? "" : `${fixed(p.prediction)} (${(p.interval ?? []).map(fixed).join(" to ")})`)));
		return t;
	});
}

export async function showPair(panel: HTMLElement, a: string, b: string, doors: Doors): Promise<void> {
	panel.replaceChildren(el("h2", {}, "Two models"), el("p", {}, link(a, doors.select), " and ", link(b, doors.select)));
	try {
		const d = await ask<Dist>("dist", { a, b }), t = el("table", { class: "domains" }, el("tr", {}, el("th", {}, "texts"), el("th", {}, "KL, bits per byte")));
		panel.append(el("p", {}, `${fixed(d.kl_bits_per_byte)} bits per byte, 95 % ${d.interval_bits_per_byte.map(fixed).join(" to ")}`));
		const hi = Math.max(...d.domains.map((x) => x.kl_bits_per_byte ?? 0), 1e-300);
		for (const x of d.domains) {
			const s = svg("svg", { viewBox: "0 0 100 8", width: "100%", height: "8", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { class: "bar", width: (100 * (x.kl_bits_per_byte ?? 0)) / hi, height: 8 }));
			t.append(el("tr", {}, el("td", {}, `${x.domain || "(none)"} (${x.texts})`), el("td", { class: "n" }, fixed(x.kl_bits_per_byte), s)));
		}
		panel.append(t);
	} catch (e) {
		panel.append(el("p", { class: "bad" }, (e as Error).message));
	}
}

export function showGroup(panel: HTMLElement, group: Model[], doors: Doors): void {
	const tally = (f: (m: Model) => string | null): string => {
		const n = new Map<string, number>();
		for (const m of group) n.set(f(m) ?? "none", (n.get(f(m) ?? "none") ?? 0) + 1);
		return [...n].sort((a, b) => b[1] - a[1]).slice(0, 6).map(([k, v]) => `${k} ${v}`).join(", ");
	};
	const bpb = group.map((m) => m.bits_per_byte).filter((x): x is number => x != null), p = group.map((m) => m.params).filter((x): x is number => x != null);
	panel.replaceChildren(
		el("h2", { id: "group" }, `${group.length} models`),
		el("table", {}, row("families", tally((m) => m.family)), row("runs", tally((m) => m.run)), row("states", tally((m) => m.state)),
			p.length ? row("parameters", `${count(Math.min(...p))} to ${count(Math.max(...p))}`) : null,
			bpb.length ? row("bits per byte", `${fixed(bpb.reduce((x, y) => x + y, 0) / bpb.length)} on average`) : null),
		el("ul", {}, ...group.slice(0, 50).map((m) => el("li", {}, link(m.name, doors.select)))),
		group.length > 50 ? el("p", {}, `... ${group.length - 50} more`) : "",
	);
}
