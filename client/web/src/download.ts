// What is shown, as a file: points, what lies over them, the legend. The browser makes it; nothing leaves the machine.
import { svg } from "./dom";
import type { Entry } from "./look";

export function save(name: string, blob: Blob): void {
	const a = document.createElement("a");
	a.href = URL.createObjectURL(blob);
	a.download = name;
	a.click();
	setTimeout(() => URL.revokeObjectURL(a.href), 10000);
}

export function saveCsv(rows: (string | number | null | undefined)[][]): void {
	const field = (v: string | number | null | undefined): string => {
		const s = v == null ? "" : String(v);
		return /[",\r\n]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s;
	};
	save("map.csv", new Blob([rows.map((r) => r.map(field).join(",")).join("\n") + "\n"], { type: "text/csv" }));
}

export interface Mark {
	name: string;
	x: number;
	y: number;
	r: number;
	look: Entry;
}
export interface Picture {
	marks: Mark[]; // those behind first
	over: SVGElement;
	legend: Entry[];
	caption: string;
	w: number;
	h: number;
}
const corners = [[], [[-0.87, -0.87], [0.87, -0.87], [0.87, 0.87], [-0.87, 0.87]], [[0, -1], [1, 0], [0, 1], [-1, 0]], [[0, -1], [0.92, 0.75], [-0.92, 0.75]]];

function shape(m: Mark): SVGElement {
	const p = corners[m.look.shape]!, e = p.length ? svg("polygon", { points: p.map(([x, y]) => `${(m.x + x! * m.r).toFixed(2)},${(m.y + y! * m.r).toFixed(2)}`).join(" ") }) : svg("circle", { cx: m.x.toFixed(2), cy: m.y.toFixed(2), r: m.r });
	e.setAttribute("fill", m.look.colour);
	return e;
}

const kept = ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-size"];
/** Everything but the points, with its style written out. */
function frame(p: Picture): SVGElement[] {
	const style = getComputedStyle(document.body), out: SVGElement[] = [];
	for (const c of p.over.children) {
		const e = c.cloneNode(true) as SVGElement, s = getComputedStyle(c);
		for (const k of kept) e.setAttribute(k, s.getPropertyValue(k));
		if (c.tagName === "text") e.setAttribute("paint-order", "stroke");
		out.push(e);
	}
	p.legend.forEach((l, i) => out.push(shape({ name: "", x: 16, y: 18 + 18 * i, r: 5, look: l }), svg("text", { x: 28, y: 22 + 18 * i, fill: style.color }, l.label)));
	out.push(svg("text", { x: 10, y: p.h - 10, fill: style.color }, p.caption));
	return out;
}

const sheet = (p: Picture): SVGElement => svg("svg", { xmlns: "http://www.w3.org/2000/svg", width: p.w, height: p.h, viewBox: `0 0 ${p.w} ${p.h}`, "font-family": "system-ui, sans-serif", "font-size": 12 });

export function saveSvg(p: Picture): void {
	const s = sheet(p);
	s.append(svg("rect", { width: p.w, height: p.h, fill: getComputedStyle(document.body).backgroundColor }));
	for (const m of p.marks) {
		const e = shape(m);
		e.append(svg("title", {}, m.name));
		s.append(e);
	}
	s.append(...frame(p));
	save("map.svg", new Blob([new XMLSerializer().serializeToString(s)], { type: "image/svg+xml" }));
}

export async function savePng(p: Picture, ratio: number): Promise<void> {
	const c = document.createElement("canvas"), g = c.getContext("2d")!, top = sheet(p), image = new Image();
	[c.width, c.height] = [p.w * ratio, p.h * ratio];
	g.scale(ratio, ratio);
	g.fillStyle = getComputedStyle(document.body).backgroundColor;
	g.fillRect(0, 0, p.w, p.h);
	for (const m of p.marks) {
		g.fillStyle = m.look.colour;
		g.beginPath();
		if (!m.look.shape) g.arc(m.x, m.y, m.r, 0, 7);
		else for (const [x, y] of corners[m.look.shape]!) g.lineTo(m.x + x! * m.r, m.y + y! * m.r);
		g.fill();
	}
	top.append(...frame(p));
	image.src = `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(top))}`;
	await image.decode();
	g.drawImage(image, 0, 0, p.w, p.h);
	c.toBlob((b) => b && save("map.png", b), "image/png");
}
