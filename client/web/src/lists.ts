// The left side: models that pass the filter, alerts, runs, the queue.
import { button, byId, el } from "./dom";
import { sign } from "./evidence";
import { at } from "./state";

export const LIST_MAX = 500;
const [list, alerts, runs, queue] = [byId("list"), byId("alerts"), byId("runs"), byId("queue")];

export interface Goes {
	model: (name: string) => void;
	run: (name: string) => void;
}

export function drawList(go: Goes): void {
	const { shown, view, known } = at;
	list.replaceChildren(...shown.slice(0, LIST_MAX).map((n, i) => {
		const li = el("li", { role: "option", id: `o${i}`, "aria-selected": String(n === view.sel) }, n), bad = known.alerts.get(n);
		if (bad) li.append(el("span", { class: `sign ${bad[0]!.severity}`, title: bad.map((a) => a.kind).join(", ") }, sign(bad[0]!.severity)));
		else if (at.models.get(n)?.state !== "scored") li.append(el("small", {}, ` ${at.models.get(n)?.state}`));
		li.onclick = () => go.model(n);
		return li;
	}));
	if (shown.length > LIST_MAX) list.append(el("li", { "aria-disabled": "true" }, `... ${shown.length - LIST_MAX} more: filter`));
	if (!shown.length) list.append(el("li", { "aria-disabled": "true" }, at.models.size ? "no model passes the filter" : "no models yet"));
	mark();
}

/** Which one of the list is selected. */
export function mark(): void {
	const i = at.shown.indexOf(at.view.sel);
	list.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
	if (i < 0 || i >= LIST_MAX) return list.removeAttribute("aria-activedescendant");
	list.setAttribute("aria-activedescendant", `o${i}`);
	const li = document.getElementById(`o${i}`);
	li?.setAttribute("aria-selected", "true");
	li?.scrollIntoView({ block: "nearest" });
}

const weight: Record<string, number> = { critical: 0, warning: 1, info: 2 };
const box = (id: string, n: number): void => void (byId(id).hidden = n === 0);

export function drawSides(go: Goes): void {
	const all = [...at.known.alerts.values()].flat().sort((a, b) => (weight[a.severity] ?? 3) - (weight[b.severity] ?? 3) || (b.raised_at ?? 0) - (a.raised_at ?? 0));
	alerts.replaceChildren(...all.slice(0, LIST_MAX).map((a) =>
		el("li", { title: a.message, class: a.severity }, el("span", { class: "sign" }, sign(a.severity)), button(`${a.kind}: ${a.model}`, () => go.model(a.model), { class: "link" }))));
	box("alerts-box", all.length);
	const count = new Map<string, number>();
	for (const m of at.models.values()) if (m.run && m.state !== "gone") count.set(m.run, (count.get(m.run) ?? 0) + 1);
	const names = [...count.keys()].filter((r) => count.get(r)! > 1).sort();
	runs.replaceChildren(...names.slice(0, LIST_MAX).map((r) => el("li", {}, button(r, () => go.run(r), { class: "link" }), el("small", {}, ` ${count.get(r)} checkpoints`))));
	box("runs-box", names.length);
	queue.replaceChildren(...at.jobs.slice(0, 100).map((j) => {
		const done = j.progress ?? 0, left = j.eta_s != null ? `, ${Math.ceil(j.eta_s)} s left` : "";
		return el("li", { title: j.reason ?? "" }, button(j.model, () => go.model(j.model), { class: "link" }),
			el("small", {}, ` ${j.state}${j.state === "running" ? ` ${Math.round(100 * done)} %${left}` : ""}`),
			j.state === "running" ? el("progress", { max: "1", value: String(done), "aria-label": `${j.model} is scored` }) : null);
	}));
	if (at.jobs.length > 100) queue.append(el("li", {}, `... ${at.jobs.length - 100} more`));
	box("queue-box", at.jobs.length);
}
