// What is shown, as a file. The browser makes it; nothing leaves the machine.
import type { Entry } from "./look";
import { svg } from "./panel";

function save(name: string, blob: Blob): void {
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
const shapes: ((m: Mark) => SVGElement)[] = [
	(m) => svg("circle", { cx: m.x, cy: m.y, r: m.r }),
	(m) => svg("rect", { x: m.x - 0.87 * m.r, y: m.y - 0.87 * m.r, width: 1.74 * m.r, height: 1.74 * m.r }),
	(m) => svg("path", { d: `M${m.x} ${m.y - m.r}L${m.x + m.r} ${m.y}L${m.x} ${m.y + m.r}L${m.x - m.r} ${m.y}Z` }),
	(m) => svg("path", { d: `M${m.x} ${m.y - m.r}L${m.x + 0.92 * m.r} ${m.y + 0.75 * m.r}L${m.x - 0.92 * m.r} ${m.y + 0.75 * m.r}Z` }),
];

export function picture(marks: Mark[], over: SVGElement, w: number, h: number): SVGElement {
	const s = svg("svg", { xmlns: "http://www.w3.org/2000/svg", width: w, height: h, viewBox: `0 0 ${w} ${h}`, "font-family": "sans-serif", "font-size": 12 });
	s.append(svg("rect", { width: w, height: h, fill: getComputedStyle(document.body).backgroundColor }));
	for (const m of marks) {
		const e = shapes[m.look.shape]!(m);
		e.setAttribute("fill", m.look.colour);
		e.append(svg("title", {}, m.name));
		s.append(e);
	}
	for (const c of over.children) {
		const e = c.cloneNode(true) as SVGElement, style = getComputedStyle(c);
		for (const k of ["fill", "stroke", "stroke-width"]) e.setAttribute(k, style.getPropertyValue(k));
		if (c.tagName === "text") e.setAttribute("paint-order", "stroke");
		s.append(e);
	}
	return s;
}

export const saveSvg = (s: SVGElement): void => save("map.svg", new Blob([new XMLSerializer().serializeToString(s)], { type: "image/svg+xml" }));

export function savePng(marks: Mark[], w: number, h: number, ratio: number): void {
	const c = document.createElement("canvas"), g = c.getContext("2d")!;
	[c.width, c.height] = [w * ratio, h * ratio];
	g.scale(ratio, ratio);
	g.fillStyle = getComputedStyle(document.body).backgroundColor;
	g.fillRect(0, 0, w, h);
	for (const m of marks) {
		g.fillStyle = m.look.colour;
		g.beginPath();
		if (m.look.shape === 0) g.arc(m.x, m.y, m.r, 0, 7);
		else if (m.look.shape === 1) g.rect(m.x - 0.87 * m.r, m.y - 0.87 * m.r, 1.74 * m.r, 1.74 * m.r);
		else (m.look.shape === 2 ? [[0, -1], [1, 0], [0, 1], [-1, 0]] : [[0, -1], [0.92, 0.75], [-0.92, 0.75]]).forEach(([x, y]) => g.lineTo(m.x + x! * m.r, m.y + y! * m.r));
		g.fill();
	}
	c.toBlob((b) => b && save("map.png", b), "image/png");
}
