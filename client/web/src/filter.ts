// The filter: words that must all be in the name, and questions about fields. One line of text, so that it fits into an address.
//
//   KEY:TEXT  holds TEXT      KEY=TEXT  is TEXT      KEY<N  KEY>N  numbers (7B, 300M, 2026-01-31)      "..."  with spaces
import type { Model } from "./api";
import { wordOf, type Known } from "./look";

const alias: Record<string, string> = { size: "params", parameters: "params", bpb: "bits_per_byte", type: "dtype" };
const TOKEN = /([a-z_]+)([:=<>])("[^"]*"?|\S*)|"([^"]*)"?|(\S+)/g;

/** Seconds of a date, else a number with k, M, B or T behind it. */
function value(key: string, s: string): number {
	if (key === "date" || key.endsWith("_at") || key === "modified") return /^\d{4}(-\d\d?){0,2}/.test(s) && s.length < 20 ? Date.parse(s) / 1000 : Number(s);
	const m = /^([-+.\de]+?)([kmbt])?$/i.exec(s);
	return m ? Number(m[1]) * 1000 ** (" kmbt".indexOf((m[2] ?? " ").toLowerCase())) : NaN;
}

export function matcher(q: string, known: Known): (m: Model) => boolean {
	const tests: ((m: Model) => boolean)[] = [];
	for (const [, name = "", op, given = "", quote, word] of q.matchAll(TOKEN)) {
		const plain = (quote ?? word)?.toLowerCase();
		if (plain !== undefined) {
			tests.push((m) => m.name.toLowerCase().includes(plain));
			continue;
		}
		const key = alias[name] ?? name, text = given.replaceAll('"', "").toLowerCase();
		const number = (m: Model): unknown => (key === "date" ? (m.modified ?? m.scored_at) : key === "score" ? known.scores.get(m.name) : (m as unknown as Record<string, unknown>)[key]);
		const n = value(key, text);
		if (!text) continue; // still being typed
		if (key === "alert" && op !== "<" && op !== ">") tests.push((m) => (known.alerts.get(m.name) ?? []).some((a) => (op === "=" ? a.kind === text : a.kind.includes(text))) || (text === "none" && !known.alerts.has(m.name)));
		else if (op === ":") tests.push((m) => wordOf(m, key, known).toLowerCase().includes(text));
		else if (op === "=") tests.push((m) => wordOf(m, key, known).toLowerCase() === text);
		else
			tests.push((m) => {
				const v = number(m);
				return typeof v === "number" && (op === "<" ? v < n : v > n);
			});
	}
	return (m) => tests.every((t) => t(m));
}

/** The same filter with this question about a field instead of what it asked before; "": without it. */
export function withField(q: string, key: string, op: string, text: string): string {
	const parts = [...q.matchAll(TOKEN)].filter((t) => !(t[1] === key && (op === "<" || op === ">" ? t[2] === op : t[2] === ":" || t[2] === "=")));
	const words = parts.map((t) => t[0]);
	if (text) words.push(`${key}${op}${/\s/.test(text) ? `"${text}"` : text}`);
	return words.join(" ");
}
export function fieldOf(q: string, key: string, op: string): string {
	for (const t of q.matchAll(TOKEN)) if (t[1] === key && t[2] === op) return (t[3] ?? "").replaceAll('"', "");
	return "";
}
