// The daemon's questions (modelmap-protocol(7)), over the HTTP that this page came from, or, in a file that `modelmap map --html`
// wrote, from the answers in that file. No other address is ever asked.
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
	n_tokens?: number | null;
}
export interface Point {
	name: string;
	x: number;
	y: number;
	z: number;
}
export interface MapReply {
	epoch: number;
	method?: string;
	unit?: string;
	points: Point[];
	explained?: number[];
	quality?: { trustworthiness?: number | null; knn_recall?: number | null };
}
export interface Alert {
	id: number;
	kind: string;
	model: string;
	state: string;
	severity: string;
	message: string;
	evidence: Record<string, unknown>;
	raised_at?: number;
}
export interface Job {
	id: number | null;
	model: string;
	state: string;
	reason: string | null;
	progress: number | null;
	eta_s: number | null;
}
export interface Neighbour extends Partial<Distance> {
	name: string;
	params: number | null;
}
/** A distance as `near`, `dist` and `tree` give it: in bits per byte, or in the units of another metric under "distance". */
export interface Distance {
	kl_bits_per_byte: number | null;
	distance: number | null;
	interval_bits_per_byte: [number, number];
	low: number;
	high: number;
	unit: string;
}
export interface Dist extends Partial<Distance> {
	a: string;
	b: string;
	domains?: ({ domain: string; texts: number } & Partial<Distance>)[];
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
export interface Trajectory {
	run: string;
	legs: ({ from: string; to: string; from_step: number; to_step: number } & Partial<Distance>)[];
}
interface Command {
	name: string;
	args: { name: string; choices?: string }[];
}
interface Stored {
	at: number; // unix seconds
	title: string;
	view: { m: string; d: 2 | 3 };
	fixed: Record<string, string | number>; // arguments that all answers of the file share
	answers: Record<string, unknown>;
}

export type Args = Record<string, string | number | boolean | undefined>;

const text = document.getElementById("data")?.textContent?.trim();
/** The answers that lie in this file; null: there is a daemon to ask. */
export const stored: Stored | null = text && text !== "null" ? (JSON.parse(text) as Stored) : null;

export class Denied extends Error {}

const TOKEN = "modelmapd-token"; // of this tab only, gone when it closes
export const setToken = (t: string): void => (t ? sessionStorage.setItem(TOKEN, t) : sessionStorage.removeItem(TOKEN));
function headers(): Record<string, string> {
	const t = stored ? null : sessionStorage.getItem(TOKEN);
	return t ? { Authorization: `Bearer ${t}` } : {};
}

let commands: Promise<Map<string, Command>> | undefined;
const readCommands = (): Promise<Map<string, Command>> =>
	(commands ??= raw<{ commands: Command[] }>("commands", {}).then((r) => new Map(r.commands.map((c) => [c.name, c])), (e: Error) => {
		commands = undefined;
		throw e;
	}));

/** What the daemon takes as an argument of a command, e.g. the metrics of `map`; none: it has no such argument. */
export async function choices(cmd: string, arg: string): Promise<string[]> {
	const a = (await readCommands()).get(cmd)?.args.find((x) => x.name === arg);
	return a?.choices?.split("|") ?? [];
}

async function raw<T>(cmd: string, args: Args): Promise<T> {
	const given = Object.entries(args).filter(([k, v]) => v !== undefined && v !== "" && !(stored && k in stored.fixed)) as [string, string][];
	if (stored) {
		const find = (g: [string, string][]): unknown => stored.answers[`${cmd}?${g.sort(([k], [l]) => (k < l ? -1 : 1)).map(([k, v]) => `${k}=${v}`).join("&")}`];
		const a = find(given) ?? (cmd === "dist" ? find([["a", String(args["b"])], ["b", String(args["a"])]]) : undefined); // the same either way
		if (a === undefined) throw new Error("this is not in the file; the daemon that wrote it knows");
		return a as T;
	}
	const r = await fetch(`api/v1/${cmd}?${new URLSearchParams(given.map(([k, v]) => [k, String(v)]))}`, { credentials: "omit", headers: headers() });
	if (r.status === 401) throw new Denied("this daemon asks for a token");
	const body = (await r.json()) as { error?: { text: string } };
	if (!r.ok) throw new Error(body.error?.text ?? `${cmd}: ${r.status}`);
	return body as T;
}

/** Asks one command; an Error has the daemon's own text. A metric goes only where the daemon takes one. */
export async function ask<T>(cmd: string, args: Args = {}): Promise<T> {
	if (!stored && args["metric"] !== undefined && args["metric"] !== "" && !(await choices(cmd, "metric")).length) args = { ...args, metric: undefined };
	return raw<T>(cmd, args);
}

const pause = (ms: number): Promise<void> => new Promise((r) => setTimeout(r, ms));

/** Events as they come, over fetch because an EventSource cannot send a token; after a break it goes on where it was. */
export async function follow(on: (type: string, data: Record<string, unknown>) => void, down: (e: Error) => void): Promise<void> {
	for (let last = ""; ; await pause(2000)) {
		try {
			const r = await fetch("api/v1/events", { credentials: "omit", headers: { ...headers(), ...(last ? { "Last-Event-ID": last } : {}) } });
			if (r.status === 401) throw new Denied("this daemon asks for a token");
			if (!r.ok || !r.body) throw new Error(`events: ${r.status}`);
			const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
			for (let rest = ""; ; ) {
				const { done, value } = await reader.read();
				if (done) break;
				const parts = (rest + value).split("\n\n");
				rest = parts.pop()!;
				for (const p of parts) {
					const line = new Map(p.split("\n").map((l) => [l.slice(0, l.indexOf(":")), l.slice(l.indexOf(":") + 2)]));
					last = line.get("id") ?? last;
					if (line.has("event")) on(line.get("event")!, JSON.parse(line.get("data")!) as Record<string, unknown>);
				}
			}
			down(new Error("the daemon has gone; trying again"));
		} catch (e) {
			down(e instanceof Denied ? e : new Error("the daemon does not answer; trying again"));
			if (e instanceof Denied) return;
		}
	}
}
