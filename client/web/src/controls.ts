// What the reader does with the pointer and the keys on the map, and the small forms.
import { setToken } from "./api";
import { byId, el } from "./dom";
import { fieldOf, withField } from "./filter";
import { day, titleOf, wordOf } from "./look";
import type { Scatter } from "./scatter";
import { at } from "./state";

export function choice(id: string, words: readonly string[], get: () => string, set: (v: string) => void, then: () => void): void {
	const s = byId<HTMLSelectElement>(id);
	if (words.length) s.replaceChildren(...words.map((w) => el("option", { value: w }, titleOf(w))));
	s.value = get();
	s.onchange = () => {
		set(s.value);
		then();
	};
}

/** A choice whose words come later; one that the address asks for stands there from the start. */
export function fill(id: string, first: string, words: readonly string[], now: string): void {
	const s = byId<HTMLSelectElement>(id), all = now && !words.includes(now) ? [now, ...words] : words;
	s.replaceChildren(el("option", { value: "" }, first), ...all.map((w) => el("option", { value: w }, w || "(none)")));
	s.value = now;
}

/** The form behind "Filter by": another way to write the line of the filter. */
export function bindFields(changed: (q: string) => void): void {
	const box = byId<HTMLDetailsElement>("fields"), fields = box.querySelectorAll<HTMLInputElement | HTMLSelectElement>("[data-key]");
	const show = (): void => {
		for (const f of fields) {
			const key = f.dataset["key"]!, now = fieldOf(at.view.q, key, f.dataset["op"]!);
			if (f instanceof HTMLSelectElement) {
				const words = new Set<string>();
				for (const m of at.models.values()) words.add(wordOf(m, key, at.known));
				words.delete("none");
				f.replaceChildren(el("option", { value: "" }, "any"), ...[...words].sort().map((w) => el("option", { value: w }, w)));
			}
			f.value = now;
		}
	};
	box.ontoggle = show;
	for (const f of fields)
		f.onchange = () => changed(withField(at.view.q, f.dataset["key"]!, f.dataset["op"]!, f.type === "date" && f.value && f.dataset["op"] === "<" ? day(Date.parse(f.value) / 1000) : f.value.trim()));
}

export interface Acts {
	hover: (name: string, x: number, y: number) => void;
	select: (name: string) => void; // "": none
	compare: (name: string) => void;
	lassoed: (names: string[]) => void;
	step: (by: number) => void;
}

export function bindMap(canvas: HTMLCanvasElement, s: Scatter, acts: Acts): void {
	let down: { x: number; y: number; moved: boolean; pan: boolean } | undefined;
	const touches = new Map<number, [number, number]>();
	const lasso = byId("lasso");
	const spot = (e: MouseEvent): [number, number] => {
		const r = canvas.getBoundingClientRect();
		return [e.clientX - r.left, e.clientY - r.top];
	};
	const apart = (): [number, number, number] => {
		const [a, b] = [...touches.values()] as [[number, number], [number, number]];
		return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, Math.hypot(a[0] - b[0], a[1] - b[1])];
	};
	lasso.onclick = () => lasso.setAttribute("aria-pressed", String(lasso.getAttribute("aria-pressed") !== "true"));
	canvas.onpointerdown = (e) => {
		canvas.setPointerCapture(e.pointerId);
		const [x, y] = spot(e);
		touches.set(e.pointerId, [x, y]);
		down = { x, y, moved: touches.size > 1, pan: at.view.d === 2 || e.shiftKey || e.button === 2 || touches.size > 1 };
		if (lasso.getAttribute("aria-pressed") === "true") at.loop = [[x, y]];
	};
	canvas.onpointermove = (e) => {
		const [x, y] = spot(e);
		if (!down) return acts.hover(s.pick(x, y) ?? "", x, y);
		if (touches.size === 2 && touches.has(e.pointerId)) {
			const was = apart();
			touches.set(e.pointerId, [x, y]);
			const is = apart();
			s.pan(is[0] - was[0], is[1] - was[1]);
			if (was[2] > 0) s.zoom(is[2] / was[2], is[0], is[1]);
			return;
		}
		const [dx, dy] = [x - down.x, y - down.y];
		if (!down.moved && Math.hypot(dx, dy) < 4) return;
		down.moved = true;
		[down.x, down.y] = [x, y];
		touches.set(e.pointerId, [x, y]);
		if (at.loop) at.loop.push([x, y]), s.draw();
		else if (down.pan) s.pan(dx, dy);
		else s.rotate(dx, dy);
	};
	canvas.onpointercancel = (e) => {
		touches.delete(e.pointerId);
		down = at.loop = undefined;
	};
	canvas.onpointerleave = () => acts.hover("", 0, 0);
	canvas.onpointerup = (e) => {
		const [x, y] = spot(e), was = down;
		touches.delete(e.pointerId);
		down = undefined;
		if (at.loop) {
			const names = at.loop.length > 2 ? s.inside(at.loop) : [];
			at.loop = undefined;
			lasso.setAttribute("aria-pressed", "false");
			acts.lassoed(names);
			s.draw();
		} else if (was && !was.moved) {
			const hit = s.pick(x, y);
			if (hit && e.shiftKey && at.view.sel) acts.compare(hit);
			else acts.select(hit ?? "");
		}
	};
	canvas.oncontextmenu = (e) => e.preventDefault();
	canvas.addEventListener("wheel", (e) => {
		e.preventDefault();
		s.zoom(Math.exp(-e.deltaY / 400), ...spot(e));
	}, { passive: false });
	canvas.onkeydown = (e) => {
		if (e.ctrlKey || e.metaKey || e.altKey) return;
		const [w, h] = [canvas.clientWidth, canvas.clientHeight];
		const move = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[e.key];
		if (move && at.view.d === 3 && !e.shiftKey) s.rotate(move[0]!, move[1]!);
		else if (move) s.pan(move[0]!, move[1]!);
		else if (e.key === "+" || e.key === "=") s.zoom(1.25, w / 2, h / 2);
		else if (e.key === "-") s.zoom(0.8, w / 2, h / 2);
		else if (e.key === "0") s.fit();
		else if (e.key === "n" || e.key === "p") acts.step(e.key === "n" ? 1 : -1);
		else if (e.key === "Escape") acts.select("");
		else return;
		e.preventDefault();
	};
}

/** Asks for the token; the promise is kept when one was given. */
export function askToken(why: string): Promise<void> {
	const d = byId<HTMLDialogElement>("login"), f = d.querySelector("form")!, input = byId<HTMLInputElement>("token");
	byId("login-why").textContent = why;
	input.value = "";
	if (!d.open) d.showModal();
	d.oncancel = (e) => e.preventDefault();
	return new Promise((done) => {
		f.onsubmit = (e) => {
			e.preventDefault();
			setToken(input.value.trim());
			d.close();
			done();
		};
	});
}
