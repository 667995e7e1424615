// What is known of one model, of two, of a run, of a group.
import { ask, type Alert, type Dist, type Distance, type Kin, type Model, type Neighbour, type Trajectory } from "./api";
import { button, el, fixed, head, row, svg, when, type Child } from "./dom";
import { alertBox } from "./evidence";
import { count, day } from "./look";

/** What a panel may ask the page for. */
export interface Doors {
	select: (name: string) => void;
	compare: (name: string) => void;
	run: (name: string) => void;
	near: (names: string[]) => void; // draw lines to these
	tree: () => Promise<Map<string, Kin>>;
	domain: string;
	metric: string;
	known: (name: string) => Model | undefined;
	alerts: (name: string) => Alert[];
	cluster: (name: string) => string | undefined;
	runOf: (m: Model) => Model[];
}
const link = (name: string, go: (n: string) => void, text = name): HTMLElement => button(text, () => go(name), { class: "link" });

/** The distance of an answer, whatever its metric. */
export const far = (d: Partial<Distance>): number | null => d.distance ?? d.kl_bits_per_byte ?? null;
const interval = (d: Partial<Distance>): string => {
	const i = d.low != null && d.high != null ? [d.low, d.high] : d.interval_bits_per_byte;
	return i ? `${fixed(i[0])} to ${fixed(i[1])}` : "";
};
const unitOf = (d: Partial<Distance> | undefined, metric: string): string => (d?.distance != null && metric ? `${metric}${d.unit ? `, ${d.unit}` : ""}` : "KL, bits per byte");

/** A section that fills itself when its answer comes; an answer for a panel that is not shown any more changes nothing. */
function later(panel: HTMLElement, title: string, make: () => Promise<Child>, attrs: Record<string, string> = {}): void {
	const box = el("section", attrs, el("h2", {}, title), el("p", { class: "soft" }, "..."));
	panel.append(box);
	make().then(
		(c) => (c ? box.replaceChildren(el("h2", {}, title), c) : box.remove()),
		(e: Error) => box.replaceChildren(el("h2", {}, title), el("p", { class: "soft" }, e.message)),
	);
}

function nearTable(m: Model, list: Neighbour[], kind: string, doors: Doors): HTMLElement {
	const t = el("table", { class: kind }), hi = Math.max(...list.map((n) => far(n) ?? 0), 1e-300);
	t.append(el("tr", {}, el("th", { scope: "col" }, "model"), el("th", { scope: "col", class: "n" }, unitOf(list[0], doors.metric)), el("td")));
	for (const n of list) {
		const ci = el("small", { class: "ci" }, ""), bar = svg("svg", { class: "strip", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { class: "bar", width: (100 * (far(n) ?? 0)) / hi, height: 4 }));
		t.append(el("tr", {}, el("td", {}, link(n.name, doors.select), n.params ? el("small", {}, ` ${count(n.params)}`) : "", bar),
			el("td", { class: "n" }, el("span", { class: "kl" }, fixed(far(n))), ci), el("td", {}, button("vs", () => doors.compare(n.name), { title: `compare with ${n.name}`, "aria-label": `compare with ${n.name}` }))));
		ask<Dist>("dist", { a: m.name, b: n.name, domain: doors.domain, metric: doors.metric }).then((d) => (ci.textContent = interval(d)), () => undefined);
	}
	return t;
}

function lineage(k: Kin, tree: Map<string, Kin>, doors: Doors): Child {
	const children = [...tree.values()].filter((c) => c.parent === k.name || c.parent2 === k.name), p = el("p", {}, k.kind);
	if (k.parent) p.append(" of ", link(k.parent, doors.select));
	if (k.parent2) p.append(" and ", link(k.parent2, doors.select), k.alpha != null ? ` (${Math.round(100 * k.alpha)} %)` : "");
	if (k.support != null) p.append(`, support ${Math.round(100 * k.support)} %`);
	if (!children.length) return p;
	const list = el("p", {}, "parent of ");
	children.slice(0, 12).forEach((c, i) => list.append(i ? ", " : "", link(c.name, doors.select), ` (${c.kind})`));
	if (children.length > 12) list.append(` and ${children.length - 12} more`);
	return el("div", {}, p, list);
}

async function scoresOf(m: Model): Promise<Child> {
	if (!(await ask<{ benchmarks: unknown[] }>("scores")).benchmarks.length) return null;
	const r = await ask<{ predictions: { bench: string; prediction: number | null; interval?: [number, number]; score?: number }[] }>("predict", { name: m.name });
	const t = el("table", { class: "grid" }, head("benchmark", ">measured", ">predicted, 95 %"));
	for (const p of r.predictions)
		t.append(el("tr", {}, el("td", {}, p.bench), el("td", { class: "n" }, p.score == null ? "-" : fixed(p.score)), el("td", { class: "n" }, p.prediction == null ? "-" : fixed(p.prediction), p.interval ? el("small", { class: "ci" }, p.interval.map(fixed).join(" to ")) : "")));
	return t;
}

export function showModel(panel: HTMLElement, m: Model, doors: Doors): void {
	const facts = el("table", {}, row("state", m.detail && m.detail !== m.state ? `${m.state}, ${m.detail}` : m.state));
	const put = (k: string, v: Child): void => void (v && facts.append(row(k, v)));
	const alerts = doors.alerts(m.name), run = doors.runOf(m);
	put("reason", m.reason);
	put("family", m.family);
	put("parameters", count(m.params));
	put("weights", m.bytes ? `${(m.bytes / 2 ** 20).toPrecision(3)} MiB, ${m.dtype ?? ""}` : "");
	put("bits per byte", fixed(m.bits_per_byte));
	put("cluster", doors.cluster(m.name));
	put("written", when(m.modified));
	put("scored", when(m.scored_at));
	put("note", m.note);
	if (m.run) put("run", link(m.run, doors.run, run.length > 1 ? `${m.run}: trajectory of ${run.length} checkpoints` : m.run));
	panel.replaceChildren(el("h1", { id: "name", tabindex: "-1" }, m.name), facts);
	if (alerts.length) panel.append(el("section", { id: "trouble" }, el("h2", {}, alerts.length > 1 ? "Alerts" : "Alert"), ...alerts.map(alertBox)));
	if (m.state !== "scored") return;
	const near = (args: Record<string, number | boolean>, kind: string): (() => Promise<Child>) => async () => {
		const r = await ask<{ neighbours: Neighbour[] }>("near", { name: m.name, domain: doors.domain, metric: doors.metric, ...args });
		if (kind === "near") doors.near(r.neighbours.slice(0, 3).map((n) => n.name));
		return r.neighbours.length ? nearTable(m, r.neighbours, kind, doors) : null;
	};
	later(panel, "Nearest relatives", near({ k: 8 }, "near"));
	later(panel, "Nearest smaller relatives", near({ k: 3, smaller: true }, "smaller"));
	later(panel, "Lineage", async () => {
		const tree = await doors.tree(), k = tree.get(m.name);
		return k ? lineage(k, tree, doors) : null;
	}, { id: "lineage" });
	later(panel, "Benchmark scores", () => scoresOf(m), { id: "scores" });
}

export async function showPair(panel: HTMLElement, a: string, b: string, doors: Doors): Promise<void> {
	panel.replaceChildren(el("h1", { tabindex: "-1" }, "Two models by domain"), el("p", {}, link(a, doors.select), " and ", link(b, doors.select)));
	const facts = el("table", { class: "grid" }, el("tr", {}, ...["", a, b].map((x) => el("th", { scope: "col" }, x))));
	const [m, n] = [doors.known(a), doors.known(b)];
	for (const [k, f] of [["family", (x) => x.family ?? ""], ["parameters", (x) => count(x.params)], ["bits per byte", (x) => fixed(x.bits_per_byte)]] as [string, (x: Model) => string][])
		if (m && n) facts.append(el("tr", {}, el("th", { scope: "row" }, k), el("td", {}, f(m)), el("td", {}, f(n))));
	panel.append(facts);
	try {
		const d = await ask<Dist>("dist", { a, b, metric: doors.metric }), list = d.domains ?? [];
		const t = el("table", { class: "domains" }, el("tr", {}, el("th", { scope: "col" }, "texts"), el("th", { scope: "col", class: "n" }, unitOf(d, doors.metric))));
		panel.append(el("p", { id: "pair" }, el("b", {}, fixed(far(d))), ` ${d.distance != null && doors.metric ? unitOf(d, doors.metric) : "bits per byte"}${interval(d) ? `, 95 % ${interval(d)}` : ""}`));
		const hi = Math.max(...list.map((x) => far(x) ?? 0), 1e-300);
		for (const x of list) {
			const s = svg("svg", { class: "strip", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { class: "bar", width: (100 * (far(x) ?? 0)) / hi, height: 4 }));
			t.append(el("tr", {}, el("td", {}, x.domain || "(none)", el("small", {}, ` ${x.texts} texts`), s), el("td", { class: "n" }, fixed(far(x)), el("small", { class: "ci" }, interval(x)))));
		}
		if (list.length) panel.append(t);
	} catch (e) {
		panel.append(el("p", { class: "soft" }, (e as Error).message));
	}
}

/** Bits per byte over the steps. */
function curve(run: Model[]): Child {
	const p = run.filter((m) => m.step != null && m.bits_per_byte != null).map((m) => [m.step!, m.bits_per_byte!] as const);
	if (p.length < 2) return null;
	const x = p.map(([s]) => s), y = p.map(([, b]) => b), [x0, x1, y0, y1] = [Math.min(...x), Math.max(...x), Math.min(...y), Math.max(...y)];
	const at = ([s, b]: readonly [number, number]): [number, number] => [44 + (304 * (s - x0)) / (x1 - x0 || 1), 100 - (84 * (b - y0)) / (y1 - y0 || 1)];
	const s = svg("svg", { class: "histogram", viewBox: "0 0 360 130", width: "100%", role: "img", "aria-label": `bits per byte from ${fixed(y[0])} at step ${x[0]} to ${fixed(y.at(-1))} at step ${x.at(-1)}` });
	s.append(svg("line", { class: "axis", x1: 44, y1: 104, x2: 352, y2: 104 }), svg("polyline", { class: "curve", points: p.map((q) => at(q).map((v) => v.toFixed(1)).join(",")).join(" ") }));
	for (const q of p) s.append(svg("circle", { class: "bar", cx: at(q)[0], cy: at(q)[1], r: 3 }, svg("title", {}, `step ${q[0]}: ${fixed(q[1])} bits per byte`)));
	for (const [v, yy] of [[y1, 20], [y0, 103]] as const) s.append(svg("text", { x: 40, y: yy, "text-anchor": "end" }, fixed(v)));
	for (const [v, xx, a] of [[x0, 44, "start"], [x1, 352, "end"]] as const) s.append(svg("text", { x: xx, y: 120, "text-anchor": a }, String(v)));
	s.append(svg("text", { x: 198, y: 120, "text-anchor": "middle" }, "step"));
	return el("figure", {}, s, el("figcaption", {}, "Bits per byte of each checkpoint"));
}

export function showRun(panel: HTMLElement, name: string, run: Model[], doors: Doors): void {
	panel.replaceChildren(el("h1", { id: "run", tabindex: "-1" }, `Run ${name}`), el("p", {}, `${run.length} checkpoint${run.length === 1 ? "" : "s"}; the line on the map is their way.`));
	const picture = curve(run);
	if (picture) panel.append(picture);
	const t = el("table", { class: "grid legs" }, head(">step", "checkpoint", ">bits per byte", doors.metric ? `>${doors.metric} to the last` : ">KL to the last")), from = new Map<string, HTMLElement>();
	for (const m of run) {
		const kl = el("td", { class: "n" });
		from.set(m.name, kl);
		t.append(el("tr", {}, el("td", { class: "n" }, String(m.step ?? "")), el("td", {}, link(m.name, doors.select, m.name.slice(m.name.lastIndexOf("/") + 1)), doors.alerts(m.name).length ? " \u26a0" : ""), el("td", { class: "n" }, fixed(m.bits_per_byte)), kl));
	}
	panel.append(t);
	ask<Trajectory>("trajectory", { run: name, metric: doors.metric }).then((r) => {
		for (const l of r.legs) from.get(l.to)?.replaceChildren(fixed(far(l)));
	}, (e: Error) => panel.append(el("p", { class: "soft" }, e.message)));
}

/** What models of a group have in common: a property with how many in the group have it, and how many there are at all. */
export function showGroup(panel: HTMLElement, group: Model[], all: Model[], doors: Doors): void {
	const tally = (f: (m: Model) => string | null | undefined): Child => {
		const n = new Map<string, number>();
		for (const m of group) n.set(f(m) || "none", (n.get(f(m) || "none") ?? 0) + 1);
		const rows = [...n].sort((a, b) => b[1] - a[1]);
		if (rows.length === 1 && rows[0]![0] === "none") return null;
		const cell = el("div");
		for (const [k, v] of rows.slice(0, 5)) cell.append(el("div", {}, v === group.length && k !== "none" ? el("b", {}, `all ${k}`) : `${k}: ${v}`, el("small", {}, ` of ${all.filter((m) => (f(m) || "none") === k).length}`)));
		if (rows.length > 5) cell.append(el("div", { class: "soft" }, `and ${rows.length - 5} more`));
		return cell;
	};
	const numbers = (f: (m: Model) => number | null | undefined, as: (x: number) => string): Child => {
		const v = group.map(f).filter((x): x is number => x != null).sort((a, b) => a - b);
		return !v.length ? null : v[0] === v.at(-1) ? el("b", {}, `all ${as(v[0]!)}`) : `${as(v[0]!)} to ${as(v.at(-1)!)}, median ${as(v[v.length >> 1]!)}`;
	};
	const facts = el("table");
	const put = (k: string, v: Child): void => void (v && facts.append(row(k, v)));
	put("families", tally((m) => m.family));
	put("runs", tally((m) => m.run));
	put("clusters", tally((m) => doors.cluster(m.name)));
	put("alerts", tally((m) => doors.alerts(m.name)[0]?.kind));
	put("states", tally((m) => m.state));
	put("types", tally((m) => m.dtype));
	put("parameters", numbers((m) => m.params, count));
	put("bits per byte", numbers((m) => m.bits_per_byte, fixed));
	put("dates", numbers((m) => m.modified ?? m.scored_at, day));
	panel.replaceChildren(el("h1", { id: "group", tabindex: "-1" }, `${group.length} model${group.length === 1 ? "" : "s"}`), el("h2", {}, "What they share"), facts);
	if (group.length <= 2000)
		doors.tree().then((tree) => {
			const bases = tally((m) => tree.get(m.name)?.base);
			if (bases) facts.append(row("come from", bases));
		}, () => undefined);
	panel.append(el("h2", {}, "Models"), el("ul", {}, ...group.slice(0, 100).map((m) => el("li", {}, link(m.name, doors.select)))), group.length > 100 ? el("p", { class: "soft" }, `... ${group.length - 100} more`) : "");
}

