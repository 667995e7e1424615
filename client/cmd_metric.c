/* cmd_metric.c - `metrics compare`, `fisher`, `merge-check`, and `trajectory` by a metric of next-byte distributions.
 */
#include "client/client.h"

#include <math.h>
#include <string.h>

/* ---- metrics compare ---- */

static const char *const names[] = { "kl", "fisher", "hellinger", "jeffreys", "js", "wasserstein" };

static const json_t *pair_of(const json_t *list, const char *a, const char *b)
{
	size_t i;
	const json_t *o;
	json_array_foreach (list, i, o)
		if ((!strcmp(mm_str(o, "a"), a) && !strcmp(mm_str(o, "b"), b)) ||
			(!strcmp(mm_str(o, "a"), b) && !strcmp(mm_str(o, "b"), a)))
			return o;
	return NULL;
}

/* Spearman's correlations above the diagonal, Pearson's below. */
static int print_square(struct mm_cli *c, const json_t *list, struct mm_err *err)
{
	const struct mm_col cols[] = { { "", false, 0, 0 }, { names[0], true, 0, 0 }, { names[1], true, 0, 0 },
		{ names[2], true, 0, 0 }, { names[3], true, 0, 0 }, { names[4], true, 0, 0 },
		{ names[5], true, 0, 0 } };
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t)
		return -1;
	for (size_t i = 0; i < MM_COUNT(names); i++) {
		mm_table_put(t, MM_BOLD, "%s", names[i]);
		for (size_t j = 0; j < MM_COUNT(names); j++) {
			const json_t *o = pair_of(list, names[i], names[j]);
			if (o)
				mm_table_put(t, MM_PLAIN, "%.3f", mm_num(o, j > i ? "spearman" : "pearson", 0));
			else
				mm_table_put(t, MM_DIM, "%s", "1");
		}
	}
	int rc = mm_table_print(t, &c->term, c->out, err);
	mm_table_free(t);
	return rc;
}

static int print_domains(struct mm_cli *c, const json_t *o, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "DOMAIN", false, 0, 8 }, { "SPEARMAN", true, 0, 0 },
		{ "PEARSON", true, 0, 0 } };
	const json_t *d;
	size_t i;
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t)
		return -1;
	json_array_foreach (json_object_get(o, "domains"), i, d) {
		mm_table_put(t, MM_PLAIN, "%s", mm_str(d, "domain"));
		mm_table_put(t, MM_PLAIN, "%.3f", mm_num(d, "spearman", 0));
		mm_table_put(t, MM_PLAIN, "%.3f", mm_num(d, "pearson", 0));
	}
	int rc = mm_table_print(t, &c->term, c->out, err);
	mm_table_free(t);
	return rc;
}

static int print_odd(struct mm_cli *c, const json_t *list, const char *metric, struct mm_err *err)
{
	const struct mm_col cols[] = { { "MODELS", false, 0, 16 }, { "", false, 0, 16 }, { "KL RANK", true, 0, 0 },
		{ metric, true, 0, 0 }, { "MOSTLY IN", false, 1, 0 }, { "PROBES (TEXT:BYTE, SHARE)", false, 2, 0 } };
	const json_t *o, *p;
	size_t i, j;
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t)
		return -1;
	json_array_foreach (list, i, o) {
		char probes[200] = "";
		size_t at = 0;
		json_array_foreach (json_object_get(o, "probes"), j, p) {
			int n = snprintf(probes + at, sizeof probes - at, "%s%lld:%lld %.0f %%", at ? ", " : "",
				(long long)mm_int(p, "text", 0), (long long)mm_int(p, "offset", 0),
				100 * mm_num(p, "share", 0));
			at = MM_MIN(at + (size_t)(n > 0 ? n : 0), sizeof probes - 1);
		}
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, "a"));
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, "b"));
		mm_table_put(t, MM_BOLD, "%.0f %%", 100 * mm_num(o, "kl_rank", 0));
		mm_table_put(t, MM_BOLD, "%.0f %%", 100 * mm_num(o, "rank", 0));
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, "domain"));
		mm_table_put(t, MM_DIM, "%s", probes);
	}
	int rc = mm_table_print(t, &c->term, c->out, err);
	mm_table_free(t);
	return rc;
}

int mm_run_metrics(struct mm_cli *c, struct mm_err *err)
{
	json_t *b, *args = json_object();
	if (strcmp(c->word[0], "compare") != 0) {
		json_decref(args);
		c->usage = true;
		return mm_fail(err, MM_EINVAL, "usage: modelmap metrics compare [--metric METRIC] [-k N]");
	}
	mm_metric_arg(c, args);
	if (c->o.k)
		json_object_set_new(args, "k", json_integer(c->o.k));
	if (mm_cli_ask(c, "metrics_compare", args, &b, err))
		return -1;
	if (!b)
		return 0;
	const char *metric = mm_str(b, "metric");
	const json_t *list = json_object_get(b, "correlations");
	fprintf(c->out, "%lld pairs of %lld models, %lld probes. Correlations: Spearman's above, Pearson's below.\n",
		(long long)mm_int(b, "pairs", 0), (long long)mm_int(b, "models", 0), (long long)mm_int(b, "probes", 0));
	int rc = print_square(c, list, err);
	fprintf(c->out, "\nkl and %s by domain; the nearest model is the same for %.0f %%.\n", metric,
		100 * mm_num(b, "same_nearest", 0));
	if (!rc)
		rc = print_domains(c, pair_of(list, "kl", metric), err);
	fprintf(c->out, "\nPairs that kl and %s see most differently (share of all pairs that are nearer):\n", metric);
	if (!rc)
		rc = print_odd(c, json_object_get(b, "disagree"), metric, err);
	mm_metric_note(c, b);
	json_decref(b);
	return rc;
}

/* ---- fisher ---- */

int mm_run_fisher(struct mm_cli *c, struct mm_err *err)
{
	json_t *b, *args = json_pack("{s:s}", "name", c->word[0]), *v;
	char clean[4096], bar[4 * 24 + 1];
	size_t i;
	if (c->o.domain)
		json_object_set_new(args, "domain", json_string(c->o.domain));
	if (mm_cli_ask(c, "fisher", args, &b, err))
		return -1;
	if (!b)
		return 0;
	const char *pm = mm_glyph(&c->term, "\xC2\xB1", "+-");
	mm_term_clean(&c->term, mm_str(b, "model"), clean, sizeof clean);
	fprintf(c->out, "Directions from %s to %lld other models (%lld probes)\n", clean,
		(long long)mm_int(b, "models", 0), (long long)mm_int(b, "probes", 0));
	fprintf(c->out, "effective dimension %s%.3g %s%.2g%s, from the products %.3g\n", mm_term_on(&c->term, MM_BOLD),
		mm_num(b, "dimension", 0), pm, mm_num(b, "dimension_stderr", 0), mm_term_off(&c->term, MM_BOLD),
		mm_num(b, "exact_dimension", 0));
	fprintf(c->out, "trace (mean squared distance) %.4g %s%.2g rad^2, from the products %.4g\n",
		mm_num(b, "trace", 0), pm, mm_num(b, "trace_stderr", 0), mm_num(b, "exact_trace", 0));
	json_array_foreach (json_object_get(b, "spectrum"), i, v) {
		double share = json_number_value(v);
		mm_fmt_bar(&c->term, share, 24, bar, sizeof bar);
		fprintf(c->out, "%4zu  %5.1f %%  %s\n", i + 1, 100 * share, bar);
	}
	mm_metric_note(c, b);
	json_decref(b);
	return 0;
}

/* ---- merge-check ---- */

int mm_run_merge_check(struct mm_cli *c, struct mm_err *err)
{
	json_t *b, *args = json_pack("{s:s, s:s, s:s}", "a", c->word[0], "b", c->word[1], "merged", c->word[2]);
	char a[2048], z[2048], m[2048];
	mm_metric_arg(c, args);
	if (mm_cli_ask(c, "merge_check", args, &b, err))
		return -1;
	if (!b)
		return 0;
	mm_term_clean(&c->term, mm_str(b, "a"), a, sizeof a);
	mm_term_clean(&c->term, mm_str(b, "b"), z, sizeof z);
	mm_term_clean(&c->term, mm_str(b, "merged"), m, sizeof m);
	fprintf(c->out, "%s lies at %s%.1f %%%s (%.1f .. %.1f) of the way from %s to %s,\n", m,
		mm_term_on(&c->term, MM_BOLD), 100 * mm_num(b, "along", 0), mm_term_off(&c->term, MM_BOLD),
		100 * mm_num(b, "along_low", 0), 100 * mm_num(b, "along_high", 0), a, z);
	const json_t *on = json_object_get(b, "on_line");
	fprintf(c->out, "%s%.1f %%%s (%.1f .. %.1f) of its length off the line%s\n", mm_term_on(&c->term, MM_BOLD),
		100 * mm_num(b, "off_line", 0), mm_term_off(&c->term, MM_BOLD), 100 * mm_num(b, "off_line_low", 0),
		100 * mm_num(b, "off_line_high", 0),
		json_is_true(on)    ? ": as a merge of the two does"
		: json_is_false(on) ? ": farther than merges of two models are"
				    : "");
	json_decref(b);
	return 0;
}

/* ---- trajectory ---- */

int mm_metric_print_way(struct mm_cli *c, const json_t *b, struct mm_err *err)
{
	char head[MM_CELL], cell[MM_CELL];
	snprintf(head, sizeof head, "%s, %s", mm_str(b, "metric"), mm_str(b, "unit"));
	const struct mm_col cols[] = { { "CHECKPOINT", false, 0, 12 }, { "STEP", true, 2, 0 }, { head, true, 0, 0 },
		{ "ALONG", true, 0, 0 }, { "OFF", true, 1, 0 }, { "HEADING", true, 3, 0 } };
	const json_t *legs = json_object_get(b, "legs"), *o;
	size_t i;
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t)
		return -1;
	json_array_foreach (json_object_get(b, "checkpoints"), i, o) {
		const json_t *leg = i ? json_array_get(legs, i - 1) : NULL;
		double heading = mm_num(leg, "heading_degrees", NAN);
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, "name"));
		mm_table_put(t, MM_DIM, "%lld", (long long)mm_int(o, "step", 0));
		mm_table_put(t, MM_BOLD, "%s", leg ? mm_fmt_distance(leg, cell) : "");
		mm_table_put(t, MM_PLAIN, "%.1f %%", 100 * mm_num(o, "along", 0));
		mm_table_put(t, MM_DIM, "%.1f %%", 100 * mm_num(o, "off", 0));
		if (isfinite(heading))
			mm_table_put(t, MM_DIM, "%.0f%s", heading, mm_glyph(&c->term, "\xC2\xB0", " deg"));
		else
			mm_table_put(t, MM_DIM, "%s", "");
	}
	int rc = mm_table_print(t, &c->term, c->out, err);
	fprintf(c->out,
		"path %.3g, from end to end %.3g %s; along, off: of the way from the first to the last; heading: "
		"between a "
		"leg and the way to the last\n",
		mm_num(b, "path", 0), mm_num(b, "distance", 0), mm_str(b, "unit"));
	mm_metric_note(c, b);
	mm_table_free(t);
	return rc;
}
