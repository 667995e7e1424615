/* metric_view.c - distances by another metric than kl, in the answers that have them: near, dist, tree, and who was
 * left out. */
#include "client/client.h"

#include <math.h>
#include <string.h>

#define BAR 16

void mm_metric_arg(const struct mm_cli *c, json_t *args)
{
	if (c->o.metric)
		json_object_set_new(args, "metric", json_string(c->o.metric));
}

bool mm_metric_other(const json_t *answer)
{
	const char *m = mm_str(answer, "metric");
	return *m && strcmp(m, "kl") != 0;
}

double mm_distance(const json_t *o)
{
	return mm_num(o, "distance", mm_num(o, "kl_bits_per_byte", 0));
}

/* Four digits that count, however small. */
static const char *small(const json_t *v, char out[MM_CELL])
{
	if (json_is_number(v))
		snprintf(out, MM_CELL, "%.4g", json_number_value(v));
	else
		out[0] = 0;
	return out;
}

const char *mm_fmt_distance(const json_t *o, char out[MM_CELL])
{
	const json_t *v = json_object_get(o, "distance");
	return v ? small(v, out) : mm_fmt_bits(json_object_get(o, "kl_bits_per_byte"), out);
}

/* "js, bits" */
static const char *title_of(const json_t *answer, char *out, size_t cap)
{
	const char *unit = mm_str(answer, "unit");
	snprintf(out, cap, "%s%s%s", mm_str(answer, "metric"), strcmp(unit, "1") ? ", " : "",
		strcmp(unit, "1") ? unit : "");
	return out;
}

void mm_metric_note(const struct mm_cli *c, const json_t *answer)
{
	const json_t *list = json_object_get(answer, "without_features");
	size_t n = json_array_size(list);
	char clean[1024];
	if (!n)
		return;
	fprintf(c->out, "Without features, and so left out: ");
	for (size_t i = 0; i < n && i < 5; i++) {
		mm_term_clean(&c->term, json_string_value(json_array_get(list, i)), clean, sizeof clean);
		fprintf(c->out, "%s%s", i ? ", " : "", clean);
	}
	if (n > 5)
		fprintf(c->out, " and %zu more", n - 5);
	fprintf(c->out, "; %s\n", mm_str(answer, "hint"));
}

static const char *between(const json_t *o, char *out, size_t cap)
{
	char lo[MM_CELL], hi[MM_CELL];
	if (!json_object_get(o, "low"))
		return "";
	snprintf(out, cap, "%s .. %s", small(json_object_get(o, "low"), lo), small(json_object_get(o, "high"), hi));
	return out;
}

int mm_metric_print_near(struct mm_cli *c, const json_t *b, struct mm_err *err)
{
	char head[MM_CELL], bar[4 * BAR + 1], cell[MM_CELL], iv[3 * MM_CELL], clean[4096];
	const struct mm_col cols[] = { { "", true, 4, 0 }, { "MODEL", false, 0, 16 },
		{ title_of(b, head, sizeof head), true, 0, 0 }, { "95 %", false, 1, 0 }, { "", false, 3, 0 },
		{ "FAMILY", false, 2, 0 }, { "PARAMS", true, 5, 0 }, { "TYPE", false, 6, 0 } };
	const json_t *list = json_object_get(b, "neighbours"), *o;
	size_t i, n = json_array_size(list);
	double far = mm_distance(json_array_get(list, n ? n - 1 : 0));
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t)
		return -1;
	json_array_foreach (list, i, o) {
		mm_fmt_bar(&c->term, far > 0 ? mm_distance(o) / far : 0, BAR, bar, sizeof bar);
		mm_table_put(t, MM_DIM, "%zu", i + 1);
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, "name"));
		mm_table_put(t, MM_BOLD, "%s", mm_fmt_distance(o, cell));
		mm_table_put(t, MM_DIM, "%s", between(o, iv, sizeof iv));
		mm_table_put(t, MM_CYAN, "%s", bar);
		mm_table_put(t, MM_DIM, "%s", mm_str(o, "family"));
		mm_table_put(t, MM_DIM, "%s",
			mm_int(o, "params", 0) ? mm_fmt_count(json_object_get(o, "params"), cell) : "");
		mm_table_put(t, MM_DIM, "%s", mm_str(o, "dtype"));
	}
	mm_term_clean(&c->term, mm_str(b, "model"), clean, sizeof clean);
	fprintf(c->out, "Nearest to %s by %s, %lld probes%s%s:\n", clean, mm_str(b, "metric"),
		(long long)mm_int(b, "probes", 0), *mm_str(b, "domain") ? " in texts of " : "", mm_str(b, "domain"));
	int rc = mm_table_rows(t) ? mm_table_print(t, &c->term, c->out, err) : 0;
	if (!mm_table_rows(t))
		fputs("  none of the other models is as you ask\n", c->out);
	mm_metric_note(c, b);
	mm_table_free(t);
	return rc;
}

int mm_metric_print_dist(struct mm_cli *c, const json_t *b, struct mm_err *err)
{
	char head[MM_CELL], cell[MM_CELL], iv[3 * MM_CELL], x[2048], y[2048];
	const struct mm_col cols[] = { { "DOMAIN", false, 0, 8 }, { "PROBES", true, 2, 0 },
		{ title_of(b, head, sizeof head), true, 0, 0 }, { "95 %", false, 1, 0 } };
	const json_t *list = json_object_get(b, "domains"), *o;
	size_t i;
	mm_term_clean(&c->term, mm_str(b, "a"), x, sizeof x);
	mm_term_clean(&c->term, mm_str(b, "b"), y, sizeof y);
	fprintf(c->out, "%s %s %s: %s%s%s (%s), 95 %% interval over %lld probes%s%s: %s\n", x,
		mm_glyph(&c->term, "\xE2\x86\x94", "<->"), y, mm_term_on(&c->term, MM_BOLD), mm_fmt_distance(b, cell),
		mm_term_off(&c->term, MM_BOLD), head, (long long)mm_int(b, "probes", 0),
		*mm_str(b, "domain") ? " in texts of " : "", mm_str(b, "domain"), between(b, iv, sizeof iv));
	if (json_array_size(list) < 2)
		return 0;
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t)
		return -1;
	json_array_foreach (list, i, o) {
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, "domain"));
		mm_table_put(t, MM_DIM, "%lld", (long long)mm_int(o, "probes", 0));
		mm_table_put(t, MM_BOLD, "%s", mm_fmt_distance(o, cell));
		mm_table_put(t, MM_DIM, "%s", between(o, iv, sizeof iv));
	}
	int rc = mm_table_print(t, &c->term, c->out, err);
	mm_table_free(t);
	return rc;
}
