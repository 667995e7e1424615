/* cmd_models.c - `models`, the list, and `show`, one model in full. */
#include "client/client.h"

#include <stdlib.h>
#include <string.h>

/* ---- models ---- */

typedef int (*cmp_fn)(const json_t *a, const json_t *b);

static int cmp_num(const json_t *a, const json_t *b, const char *key, double absent, int sign)
{
	double x = mm_num(a, key, absent), y = mm_num(b, key, absent);
	return sign * ((x > y) - (x < y));
}

static int by_bits(const json_t *a, const json_t *b)
{
	return cmp_num(a, b, "bits_per_byte", 1e300, 1);
}
static int by_time(const json_t *a, const json_t *b)
{
	return cmp_num(a, b, "scored_at", 0, -1);
}
static int by_size(const json_t *a, const json_t *b)
{
	return cmp_num(a, b, "params", 0, -1);
}
static int by_state(const json_t *a, const json_t *b)
{
	return strcmp(mm_str(a, "state"), mm_str(b, "state"));
}
static int by_name(const json_t *a, const json_t *b)
{
	return mm_name_cmp(mm_str(a, "name"), mm_str(b, "name"));
}

static const struct {
	const char *name;
	cmp_fn cmp;
} orders[] = { { "name", by_name }, { "bits", by_bits }, { "time", by_time }, { "size", by_size },
	{ "state", by_state } };

struct row {
	const json_t *o;
	cmp_fn cmp;
};

static int cmp_row(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int c = x->cmp(x->o, y->o);
	return c ? c : by_name(x->o, y->o);
}

static struct row *sorted(const json_t *list, const char *order, struct mm_err *err)
{
	size_t n = json_array_size(list);
	struct row *row = mm_calloc(n + 1, sizeof *row, err);
	if (!row)
		return NULL;
	cmp_fn cmp = by_name;
	for (size_t i = 0; order && i < MM_COUNT(orders); i++)
		if (!strcmp(orders[i].name, order))
			cmp = orders[i].cmp;
	for (size_t i = 0; i < n; i++)
		row[i] = (struct row){ json_array_get(list, i), cmp };
	qsort(row, n, sizeof *row, cmp_row);
	return row;
}

/* The finer state where it says more: "waiting" may be queued or running, "failed" never ready. */
static const char *state_of(const json_t *m)
{
	const char *state = mm_str(m, "state"), *detail = mm_str(m, "detail");
	return *detail && (!strcmp(state, "waiting") || !strcmp(state, "failed")) && strcmp(detail, "placed") ? detail
													      : state;
}

static const char *remark_of(const json_t *m, char *out, size_t cap)
{
	static const char *const keys[] = { "reason", "warning", "note" };
	const char *same = mm_str(m, "same_as");
	if (json_is_true(json_object_get(m, "not_finite")) && !*mm_str(m, "reason"))
		return "log-likelihoods are not finite";
	for (size_t i = 0; i < MM_COUNT(keys); i++)
		if (*mm_str(m, keys[i]))
			return mm_str(m, keys[i]);
	if (!*same)
		return "";
	snprintf(out, cap, "same content as %s", same);
	return out;
}

static void model_row(struct mm_table *t, const json_t *m, int64_t now)
{
	char cell[MM_CELL], remark[512];
	const char *state = state_of(m);
	mm_table_put(t, MM_PLAIN, "%s", mm_str(m, "name"));
	mm_table_put(t, mm_style_of_state(state), "%s", state);
	mm_table_put(t, MM_PLAIN, "%s", mm_fmt_bits(json_object_get(m, "bits_per_byte"), cell));
	mm_table_put(t, MM_PLAIN, "%s", mm_fmt_num(json_object_get(m, "mean_loglik"), cell));
	mm_table_put(t, MM_PLAIN, "%s", mm_str(m, "family"));
	mm_table_put(t, MM_PLAIN, "%s", mm_fmt_count(json_object_get(m, "params"), cell));
	mm_table_put(t, MM_DIM, "%s", mm_str(m, "dtype"));
	mm_table_put(t, MM_DIM, "%s", mm_fmt_bytes(json_object_get(m, "bytes"), cell));
	mm_table_put(t, MM_DIM, "%s", mm_fmt_age(json_object_get(m, "scored_at"), now, cell));
	mm_table_put(t, MM_DIM, "%s", remark_of(m, remark, sizeof remark));
}

int mm_run_models(struct mm_cli *c, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "NAME", false, 0, 16 }, { "STATE", false, 0, 0 },
		{ "BITS/BYTE", true, 0, 0 }, { "NATS/TEXT", true, 3, 0 }, { "FAMILY", false, 1, 0 },
		{ "PARAMS", true, 2, 0 }, { "DTYPE", false, 5, 0 }, { "BYTES", true, 6, 0 }, { "AGE", true, 7, 0 },
		{ "REMARK", false, 4, 20 } };
	json_t *b;
	if (mm_cli_ask(c, "models", NULL, &b, err))
		return -1;
	if (!b)
		return 0;
	const json_t *list = json_object_get(b, "models");
	struct row *row = sorted(list, c->o.sort, err);
	struct mm_table *t = row ? mm_table_new(cols, MM_COUNT(cols), err) : NULL;
	size_t gone = 0;
	int64_t now = mm_now();
	for (size_t i = 0; t && i < json_array_size(list); i++) {
		bool is_gone = !strcmp(mm_str(row[i].o, "state"), "gone");
		gone += is_gone;
		if (!is_gone || c->o.all)
			model_row(t, row[i].o, now);
	}
	int rc = t ? 0 : -1;
	if (!rc && !mm_table_rows(t))
		mm_say(c, gone ? "no model is there now (%zu gone; --all shows them)" : "no models yet", gone);
	else if (!rc)
		rc = mm_table_print(t, &c->term, c->out, err);
	if (!rc && gone && !c->o.all && mm_table_rows(t) && c->term.tty)
		mm_say(c, "%zu more %s gone from the directory; --all shows them", gone, gone == 1 ? "is" : "are");
	mm_table_free(t);
	mm_free(row);
	json_decref(b);
	return rc;
}

/* ---- show ---- */

enum form { F_TEXT, F_NUM, F_BITS, F_COUNT, F_BYTES, F_TIME, F_SECONDS, F_SHARE, F_YES };

static const struct {
	const char *key, *label;
	enum form form;
} fields[] = {
	{ "state", "state", F_TEXT },
	{ "detail", "in detail", F_TEXT },
	{ "reason", "reason", F_TEXT },
	{ "reason_file", "file", F_TEXT },
	{ "missing_bytes", "missing", F_BYTES },
	{ "warning", "warning", F_TEXT },
	{ "note", "note", F_TEXT },
	{ "same_as", "same as", F_TEXT },
	{ "bits_per_byte", "bits per byte", F_BITS },
	{ "mean_loglik", "nats per text", F_NUM },
	{ "n_tokens", "tokens scored", F_COUNT },
	{ "n_cut", "texts cut", F_NUM },
	{ "family", "family", F_TEXT },
	{ "architecture", "architecture", F_TEXT },
	{ "params", "parameters", F_COUNT },
	{ "dtype", "weights", F_TEXT },
	{ "bytes", "size", F_BYTES },
	{ "container", "container", F_TEXT },
	{ "context", "context", F_NUM },
	{ "vocab", "vocabulary", F_NUM },
	{ "base_claimed", "base (claimed)", F_TEXT },
	{ "run", "run", F_TEXT },
	{ "step", "step", F_NUM },
	{ "compute", "arithmetic", F_TEXT },
	{ "scorer", "scorer", F_TEXT },
	{ "seconds", "scoring took", F_SECONDS },
	{ "tokens_per_s", "tokens/s", F_COUNT },
	{ "gemm_share", "of the GEMM rate", F_SHARE },
	{ "features", "features", F_TEXT },
	{ "no_features", "features: none because", F_TEXT },
	{ "attempts", "attempts", F_NUM },
	{ "on_map", "on the map", F_YES },
	{ "first_seen", "first seen", F_TIME },
	{ "modified", "files changed", F_TIME },
	{ "scored_at", "scored", F_TIME },
	{ "path", "path", F_TEXT },
	{ "fingerprint", "fingerprint", F_TEXT },
};

static const char *form_value(enum form form, const json_t *v, char cell[MM_CELL])
{
	*cell = 0;
	switch (form) {
	case F_TEXT:
		return json_is_string(v) ? json_string_value(v) : "";
	case F_BITS:
		return mm_fmt_bits(v, cell);
	case F_SHARE:
		if (!json_is_number(v))
			return "";
		snprintf(cell, MM_CELL, "%.0f %%", 100 * json_number_value(v));
		return cell;
	case F_COUNT:
		return mm_fmt_count(v, cell);
	case F_BYTES:
		return mm_fmt_bytes(v, cell);
	case F_SECONDS:
		return mm_fmt_eta(v, cell);
	case F_YES:
		return json_is_boolean(v) ? (json_is_true(v) ? "yes" : "no") : "";
	case F_TIME:
		if (json_is_integer(v) && json_integer_value(v) > 0)
			mm_format_time(json_integer_value(v), cell, MM_CELL);
		return cell;
	case F_NUM:
		if (json_is_integer(v))
			snprintf(cell, MM_CELL, "%lld", (long long)json_integer_value(v));
		return json_is_integer(v) ? cell : mm_fmt_num(v, cell);
	}
	return "";
}

int mm_run_show(struct mm_cli *c, struct mm_err *err)
{
	json_t *b;
	char clean[4096], cell[MM_CELL];
	if (mm_cli_ask(c, "show", json_pack("{s:s}", "name", c->word[0]), &b, err))
		return -1;
	if (!b)
		return 0;
	const json_t *m = json_object_get(b, "model");
	if (!json_is_object(m))
		m = b;
	mm_term_clean(&c->term, mm_str(m, "name"), clean, sizeof clean);
	fprintf(c->out, "%s%s%s\n", mm_term_on(&c->term, MM_BOLD), clean, mm_term_off(&c->term, MM_BOLD));
	for (size_t i = 0; i < MM_COUNT(fields); i++) {
		const char *value = form_value(fields[i].form, json_object_get(m, fields[i].key), cell);
		if (!*value)
			continue;
		mm_term_clean(&c->term, value, clean, sizeof clean);
		enum mm_style s = !strcmp(fields[i].key, "state") ? mm_style_of_state(value) : MM_PLAIN;
		fprintf(c->out, "  %-15s %s%s%s\n", fields[i].label, mm_term_on(&c->term, s), clean,
			mm_term_off(&c->term, s));
	}
	const json_t *copies = json_object_get(m, "copies"), *v;
	size_t i;
	json_array_foreach (copies, i, v) {
		mm_term_clean(&c->term, json_is_string(v) ? json_string_value(v) : "", clean, sizeof clean);
		fprintf(c->out, "  %-15s %s\n", i ? "" : "copies", clean);
	}
	json_decref(b);
	return 0;
}
