/* doctor_dirs.c - for every directory below the watched ones: is it on the map, and if not, why, and what to do. Which
 * directories there are says `modelmapd --explain`; what became of a candidate says the daemon, or without one
 * `modelmap-score --probe`, which is what the daemon would ask too. */
#include "client/doctor.h"

#include <string.h>

#define PROBES_MAX 500 /* without a daemon; each takes some milliseconds */

/* What helps, by the code of the reason (lib/model/probe.c, daemon/queue.c); "" stands for all others. */
static const struct {
	const char *code, *todo;
} cures[] = {
	{ "no_config", "copy config.json there too" },
	{ "bad_config", "config.json is damaged or not yet whole: copy it again" },
	{ "no_weights", "copy the weights there too (*.safetensors)" },
	{ "missing_shard", "copy the missing shard too" },
	{ "truncated", "finish the copy; if nothing copies any more, copy the file again" },
	{ "empty_blocks", "finish the copy or download: parts of a file were never written" },
	{ "bad_weights", "the file is damaged: copy it again" },
	{ "no_tokenizer", "copy the tokenizer there, or into the directory above" },
	{ "bad_tokenizer", "the tokenizer is damaged or of a kind that is not known: copy it again" },
	{ "unsupported", "this architecture is not known (modelmap-score --families lists those that are); a newer "
			 "version may" },
	{ "shape", "weights and config.json do not belong together: copy both from one source" },
	{ "no_base", "put the adapter's base model below a watched directory" },
	{ "not_finite", "the weights give NaN or infinity: take another checkpoint (modelmap alerts says more)" },
	{ "cancelled", "modelmap retry NAME" },
	{ "no_memory", "free memory or lower score.concurrency, then modelmap retry NAME" },
	{ "changed", "wait: its files are still changing" },
	{ "gone", "its files went while it waited; if they are back: modelmap retry NAME" },
	{ "", "modelmap show NAME tells all; after a repair modelmap retry NAME" },
};

static const char *cure(const char *code)
{
	size_t i = 0;
	while (*cures[i].code && strcmp(cures[i].code, code) != 0)
		i++;
	return cures[i].todo;
}

static void tell_model(struct mm_doctor *d, const char *path, const json_t *m)
{
	const char *state = mm_str(m, "state"), *detail = mm_str(m, "detail"), *why = mm_str(m, "reason");
	char bits[MM_CELL];
	if (!strcmp(state, "scored") && json_is_true(json_object_get(m, "on_map"))) {
		mm_fmt_bits(json_object_get(m, "bits_per_byte"), bits);
		bool copy = *mm_str(m, "same_as");
		mm_doctor_say(d, MM_WELL, "directories", path, "", "on the map as %s%s%s%s%s", mm_str(m, "name"),
			copy	? ", the same content as "
			: *bits ? ", "
				: "",
			copy ? mm_str(m, "same_as") : bits, *bits && !copy ? " bits per byte" : "", "");
	} else if (!strcmp(state, "gone")) {
		mm_doctor_say(d, MM_WARN, "directories", path,
			"look at the daemon's rights there; systemctl restart modelmapd scans again",
			"it is there, but the daemon does not see it");
	} else if (!strcmp(state, "failed") || json_is_true(json_object_get(m, "not_finite"))) {
		mm_doctor_say(d, MM_PROBLEM, "directories", path, cure(mm_str(m, "reason_code")), "%s: %s",
			*detail ? detail : state, *why ? why : "no reason is known");
	} else if (!strcmp(detail, "queued") || !strcmp(detail, "running")) {
		mm_doctor_say(d, MM_WELL, "directories", path, "", "%s: not on the map yet",
			!strcmp(detail, "running") ? "is being scored" : "in the queue");
	} else {
		const char *code = mm_str(m, "reason_code");
		mm_doctor_say(d, MM_WARN, "directories", path, *code ? cure(code) : "wait until nothing in it changes",
			"waits: %s", *why ? why : "the daemon looks whether it is whole");
	}
}

/* The bytes of a path; false when they are those that are shown. */
static bool raw_path(const json_t *o, char *out, size_t cap)
{
	const char *hex = mm_str(o, "hex");
	size_t n = 0;
	for (unsigned byte; n + 1 < cap && sscanf(hex, "%2x", &byte) == 1 && hex[1]; hex += 2)
		out[n++] = (char)byte;
	out[n] = 0;
	return n > 0;
}

/* Candidates that the daemon has only just seen have no record yet; the queue lists them by name. */
static bool is_settling(const json_t *queue, const char *path)
{
	const json_t *j;
	size_t i, n = strlen(path);
	json_array_foreach (json_object_get(queue, "jobs"), i, j) {
		const char *name = mm_str(j, "model");
		size_t k = strlen(name);
		if (json_is_null(json_object_get(j, "id")) && k && k < n && !strcmp(path + n - k, name) &&
			path[n - k - 1] == '/')
			return true;
	}
	return false;
}

static bool daemon_watches(const struct mm_doctor *d, const char *root)
{
	const json_t *v;
	size_t i;
	json_array_foreach (json_object_get(json_object_get(d->status, "watch"), "dirs"), i, v)
		if (json_is_string(v) && !strcmp(json_string_value(v), root))
			return true;
	return false;
}

static void by_daemon(struct mm_doctor *d, const json_t *o, const json_t *queue)
{
	const char *path = mm_str(o, "path"), *root = mm_str(o, "root");
	struct mm_err err = { 0 };
	json_t *m = NULL;
	if (!daemon_watches(d, root)) {
		mm_doctor_say(d, MM_WARN, "directories", path, "restart the daemon with these settings",
			"the running daemon does not watch %s", root);
		return;
	}
	const char *ask = path;
	char raw[4200];
	if (raw_path(o, raw, sizeof raw))
		ask = raw;
	if (!mm_utf8_valid(ask, strlen(ask))) { /* JSON has no bytes: by the name that the daemon made of it */
		ask = path + strlen(root);
		ask += strspn(ask, "/");
	}
	bool asked = !mm_cli_call(d->cli, "show", json_pack("{s:s}", "name", ask), &m, &err);
	if (asked && !strcmp(mm_str(m, "path"), path))
		tell_model(d, path, m);
	else if (is_settling(queue, path))
		mm_doctor_say(d, MM_WELL, "directories", path, "",
			"just seen: it is looked at when nothing in it has changed for %s",
			mm_doctor_value(d, "watch.settle"));
	else
		mm_doctor_say(d, MM_WARN, "directories", path,
			"look at the daemon's log (journalctl -u modelmapd) and its rights there",
			"a candidate, but the daemon does not know it%s",
			json_is_true(json_object_get(json_object_get(d->status, "watch"), "scanned"))
				? ""
				: " yet: its first scan goes on");
	json_decref(m);
}

static void by_probe(struct mm_doctor *d, const json_t *o, const char *program)
{
	const char *path = mm_str(o, "path");
	char raw[4200];
	const char *const argv[] = { program, "--search", mm_str(o, "root"), "--probe",
		raw_path(o, raw, sizeof raw) ? raw : path, NULL };
	const struct mm_child_call call = { .argv = argv, .max = (size_t)16 << 20, .timeout = 120, .quiet = true };
	struct mm_buf out = { 0 };
	struct mm_err err = { 0 };
	json_t *p = NULL;
	if (!mm_child_ask(&call, &out, &err))
		p = mm_json_parse((const char *)(out.data ? out.data : (uint8_t *)""), out.len, "probe", &err);
	mm_buf_fini(&out);
	const json_t *why = json_object_get(p, "reason");
	const char *state = mm_str(p, "state");
	if (!p)
		mm_doctor_say(d, MM_PROBLEM, "directories", path, "look at its rights and files", "%s", err.text);
	else if (!strcmp(state, "ready"))
		mm_doctor_say(d, MM_WELL, "directories", path, "", "whole: a daemon will score it");
	else
		mm_doctor_say(d, !strcmp(state, "failed") ? MM_PROBLEM : MM_WARN, "directories", path,
			cure(mm_str(why, "code")), "%s: %s",
			!strcmp(state, "failed") ? "cannot be scored" : "not whole", mm_str(why, "text"));
	json_decref(p);
}

static void tell_roots(struct mm_doctor *d)
{
	const json_t *r;
	size_t i;
	json_array_foreach (json_object_get(d->explain, "roots"), i, r) {
		const char *error = mm_str(r, "error");
		if (*error)
			mm_doctor_say(d, MM_PROBLEM, "directories", mm_str(r, "path"),
				"make it, mount it, or take it out of watch.dirs", "a watched directory: %s", error);
		else
			mm_doctor_say(d, MM_WELL, "directories", mm_str(r, "path"), "",
				"watched, with %lld director%s%s", (long long)mm_int(r, "directories", 0),
				mm_int(r, "directories", 0) == 1 ? "y" : "ies",
				json_is_true(json_object_get(r, "network")) ? ", on a network file system" : "");
	}
}

void mm_doctor_dirs(struct mm_doctor *d)
{
	const json_t *o;
	json_t *queue = NULL;
	struct mm_err err = { 0 };
	char program[4200];
	const char *own = mm_doctor_value(d, "score.program");
	size_t i, n_plain = 0, n_probe = 0, n_left = (size_t)mm_int(d->explain, "left_out", 0);
	if (*own)
		snprintf(program, sizeof program, "%s", own);
	else
		mm_child_program("modelmap-score", program, sizeof program);
	tell_roots(d);
	if (d->status && mm_cli_call(d->cli, "queue", NULL, &queue, &err))
		queue = NULL;
	json_array_foreach (json_object_get(d->explain, "dirs"), i, o) {
		const char *kind = mm_str(o, "kind"), *path = mm_str(o, "path"), *todo = mm_str(o, "do");
		if (!strcmp(kind, "plain")) {
			n_plain++;
			if (d->cli->o.all)
				mm_doctor_say(
					d, MM_WELL, "directories", path, "", "no candidate: %s", mm_str(o, "why"));
		} else if (!strcmp(kind, "passed_over")) {
			mm_doctor_say(d, *todo ? MM_WARN : MM_WELL, "directories", path, todo, "no candidate: %s",
				mm_str(o, "why"));
		} else if (d->status) {
			by_daemon(d, o, queue);
		} else if (n_probe++ < PROBES_MAX) {
			by_probe(d, o, program);
		} else {
			n_left++;
		}
	}
	if (n_plain && !d->cli->o.all)
		mm_doctor_say(d, MM_WELL, "directories", "", "", "%zu more without files of a model (--all lists them)",
			n_plain);
	if (n_left)
		mm_doctor_say(d, MM_WARN, "directories", "", "start the daemon and ask modelmap models",
			"%zu more were not looked at", n_left);
	json_decref(queue);
}
