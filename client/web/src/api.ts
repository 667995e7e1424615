// The daemon's questions (modelmap-protocol(7)), over the HTTP that this page came from. No other address is ever asked.
export interface Model {
	name: string;
	state: string;
	detail?: string;
	family: string | null;
	params: number | null;
	bytes: number | null;
	dtype: string | null;
	scored_at: number | null;
	modified?: number | null;
	bits_per_byte: number | null;
	mean_loglik: number | null;
	run: string | null;
	step: number | null;
	reason?: string | null;
	note?: string | null;
}
export interface Point {
	name: string;
	x: number;
	y: number;
	z: number;
	family?: string | null;
	run?: string | null;
	step?: number | null;
}
export interface MapReply {
	epoch: number;
	method?: string;
	unit?: string;
	points: Point[];
	explained?: number[];
}
export interface Alert {
	id: number;
	kind: string;
	model: string;
	state: string;
	severity: string;
	message: string;
	evidence: Record<string, unknown>;
}
export interface Job {
	id: number | null;
	model: string;
	state: string;
	reason: string | null;
	progress: number | null;
	eta_s: number | null;
}
export interface Neighbour {
	name: string;
	kl_bits_per_byte: number;
	params: number | null;
}
export interface Dist {
	a: string;
	b: string;
	kl_bits_per_byte: number;
	interval_bits_per_byte: [number, number];
	domains: { domain: string; texts: number; kl_bits_per_byte: number | null }[];
}
export interface Kin {
	name: string;
	kind: string;
	base: string;
	parent?: string;
	parent2?: string;
	alpha?: number;
	support?: number;
}

export type Args = Record<string, string | number | boolean | undefined>;

/** Asks one command; an Error has the daemon's own text. */
export async function ask<T>(cmd: string, args: Args = {}): Promise<T> {
	const q = new URLSearchParams();
	for (const [k, v] of Object.entries(args)) if (v !== undefined && v !== "") q.set(k, String(v));
	const r = await fetch(`api/v1/${cmd}?${q}`, { credentials: "omit" });
	const body = (await r.json()) as { error?: { text: string } };
	if (!r.ok) throw new Error(body.error?.text ?? `${cmd}: ${r.status}`);
	return body as T;
}

/** Events as they come; the browser connects again by itself and goes on where it was. */
export function follow(on: (type: string, data: Record<string, unknown>) => void, state: (up: boolean) => void): void {
	const s = new EventSource("api/v1/events");
	for (const t of ["hello", "resync", "model", "job", "alert", "map", "status"])
		s.addEventListener(t, (e) => {
			state(true);
			on(t, JSON.parse((e as MessageEvent<string>).data) as Record<string, unknown>);
		});
	s.onerror = () => state(false);
}
