// What the page knows, and the questions that fill it.
import { ask, choices, Denied, stored, type Alert, type Job, type Kin, type MapReply, type Model, type Point } from "./api";
import type { Known, Look } from "./look";
import { readView } from "./view";

export const at = {
	view: readView(),
	models: new Map<string, Model>(),
	points: new Map<string, Point>(),
	map: { epoch: 0, points: [] } as MapReply,
	jobs: [] as Job[],
	known: { alerts: new Map(), scores: new Map(), clusters: new Map() } as Known,
	benches: [] as string[],
	bench: "",
	why: "", // there is no map
	shown: [] as string[], // names that pass the filter, in the order of the list
	marks: { of: () => ({ label: "", colour: "#888888", shape: 0 }), legend: [], more: 0 } as Look,
	neighbours: [] as string[],
	hover: "",
	loop: undefined as [number, number][] | undefined,
};
let tree: { metric: string; domain: string; models: Promise<Map<string, Kin>> } | undefined;
let clustered = "";

/** Arguments that every question about distances shares. */
const lens = (): { domain: string; metric: string } => ({ domain: at.view.t, metric: at.view.k });

export async function readMap(): Promise<void> {
	const v = at.view;
	let m: MapReply = { epoch: 0, points: [] };
	at.why = "";
	try {
		m = await ask<MapReply>("map", { method: v.m, epoch: v.e, ...lens(), dim: v.m !== "pca" && v.d === 3 ? 3 : undefined });
	} catch (e) {
		if (e instanceof Denied) throw e;
		at.why = (e as Error).message; // everything else is there all the same
	}
	at.map = m;
	at.points = new Map(m.points.map((p) => [p.name, p]));
	tree = undefined;
	if (clustered) clustered = "?";
}

export async function readModels(): Promise<void> {
	at.models = new Map((await ask<{ models: Model[] }>("models")).models.map((x) => [x.name, x]));
}

export async function readAlerts(): Promise<void> {
	const list = new Map<string, Alert[]>();
	for (const x of (await ask<{ alerts: Alert[] }>("alerts")).alerts) list.set(x.model, [...(list.get(x.model) ?? []), x]);
	at.known.alerts = list;
}

export async function readQueue(): Promise<void> {
	at.jobs = (await ask<{ jobs: Job[] }>("queue")).jobs;
}

const wanted = (by: string): boolean => at.view.c === by || at.view.s === by;

/** Measured scores, predicted ones where there is none. */
export async function readScores(): Promise<void> {
	at.benches = (await ask<{ benchmarks: { bench: string }[] }>("scores")).benchmarks.map((b) => b.bench);
	if (!at.benches.includes(at.bench)) at.bench = at.benches[0] ?? "";
	const scores = new Map<string, number>();
	if (at.bench && (wanted("score") || /\bscore[<>]/.test(at.view.q))) {
		const r = await ask<{ predictions?: { name: string; score?: number; prediction: number | null }[] }>("predict", { bench: at.bench });
		for (const p of r.predictions ?? []) if ((p.score ?? p.prediction) != null) scores.set(p.name, (p.score ?? p.prediction)!);
	}
	at.known.scores = scores;
}

export async function readClusters(): Promise<void> {
	const key = JSON.stringify(lens());
	if (!(wanted("cluster") || /\bcluster[:=]/.test(at.view.q)) || clustered === key) return;
	const r = await ask<{ clusters: { name: string; members: string[] }[] }>("cluster", lens());
	at.known.clusters = new Map(r.clusters.flatMap((c) => c.members.map((m) => [m, c.name] as const)));
	clustered = key;
}

export function readTree(): Promise<Map<string, Kin>> {
	const l = lens();
	if (!tree || tree.metric !== l.metric || tree.domain !== l.domain)
		tree = { ...l, models: ask<{ models: Kin[] }>("tree", l).then((r) => new Map(r.models.map((k) => [k.name, k]))) };
	return tree.models;
}

export const readEpochs = async (): Promise<number[]> => (stored ? [] : (await ask<{ epochs: { epoch: number }[] }>("epochs")).epochs.map((e) => e.epoch).reverse());
export const readMetrics = async (): Promise<string[]> => (stored ? [] : choices("map", "metric"));
export async function readDomains(): Promise<string[]> {
	const two = [...at.points.keys()].slice(0, 2);
	if (stored || two.length < 2) return [];
	const d = await ask<{ domains: { domain: string }[] }>("dist", { a: two[0], b: two[1] });
	return d.domains.length > 1 ? d.domains.map((x) => x.domain).filter(Boolean) : [];
}

export function runOf(run: string | null | undefined): Model[] {
	return run ? [...at.models.values()].filter((x) => x.run === run && x.state !== "gone").sort((a, b) => (a.step ?? 0) - (b.step ?? 0)) : [];
}
