// What one looks at, and its text in the address: a copied link shows the same.
export interface View {
	m: string; // layout
	d: 2 | 3;
	k: string; // metric; "": the daemon's own
	e: string; // epoch; "": current
	t: string; // domain of the texts
	c: string; // colour by
	s: string; // size by
	q: string; // filter
	sel: string; // a model
	cmp: string; // a second one, compared with it
	run: string; // a run instead of a model
	g: string[]; // a group, by lasso
	cam: number[]; // centre x, y, z, pixels per unit, yaw, pitch; empty: fit
}

const keys = ["m", "k", "e", "t", "c", "s", "q", "sel", "cmp", "run"] as const;
const initial: View = { m: "pca", d: 2, k: "", e: "", t: "", c: "family", s: "same", q: "", sel: "", cmp: "", run: "", g: [], cam: [] };
const GROUP_MAX = 60; // names in an address

export function readView(): View {
	const v: View = { ...initial, g: [], cam: [] };
	const p = new URLSearchParams(location.hash.slice(1));
	for (const k of keys) v[k] = p.get(k) ?? initial[k];
	v.d = p.get("d") === "3" ? 3 : 2;
	v.g = p.getAll("g");
	const cam = (p.get("cam") ?? "").split(",").map(Number);
	if (cam.length === 6 && cam.every(Number.isFinite) && cam[3]! > 0) v.cam = cam;
	return v;
}

export function writeView(v: View): void {
	const p = new URLSearchParams();
	for (const k of keys) if (v[k] !== initial[k]) p.set(k, v[k]);
	if (v.d === 3) p.set("d", "3");
	if (v.g.length <= GROUP_MAX) for (const name of v.g) p.append("g", name);
	if (v.cam.length) p.set("cam", v.cam.map((x) => x.toPrecision(6)).join(","));
	const hash = p.size ? `#${p}` : "";
	if (location.hash !== hash) history.replaceState(null, "", hash || location.pathname + location.search);
}
