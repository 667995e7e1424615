// Elements. Text of the daemon goes in as text, never as HTML.
export type Child = Node | string | null | undefined;
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
export const byId = <T extends Element = HTMLElement>(id: string): T => document.getElementById(id) as unknown as T;

export const fixed = (x: number | null | undefined): string => (x == null ? "" : x === 0 ? "0" : Math.abs(x) < 1e-4 ? x.toExponential(1) : x.toPrecision(4));
export const row = (k: string, v: Child): HTMLElement => el("tr", {}, el("th", { scope: "row" }, k), el("td", {}, v));
export const when = (t: number | null | undefined): string => (t ? new Date(t * 1000).toISOString().slice(0, 16).replace("T", " ") : "");
/** A row of titles; those that begin with > stand over numbers. */
export const head = (...titles: string[]): HTMLElement => el("tr", {}, ...titles.map((t) => el("th", t.startsWith(">") ? { scope: "col", class: "n" } : { scope: "col" }, t.replace(/^>/, ""))));
export function button(text: string, go: () => void, attrs: Record<string, string> = {}): HTMLElement {
	const b = el("button", { type: "button", ...attrs }, text);
	b.onclick = go;
	return b;
}

const paths = ["M6 1a5 5 0 1 0 .01 0Z", "M1.7 1.7h8.6v8.6h-8.6Z", "M6 .4L11.6 6L6 11.6L.4 6Z", "M6 .8L11.4 10.6H.6Z"];
/** The mark of a class, as it is drawn on the map. */
export const key = (colour: string, shape: number): SVGElement =>
	svg("svg", { class: "key", viewBox: "0 0 12 12", "aria-hidden": "true" }, svg("path", { d: paths[shape]!, fill: colour }));
