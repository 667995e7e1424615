/* cmd_near.c - relatives and distances, in bits per byte. */
#include "client/client.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BAR 16

/* "0.01234 ±0.0002": the error where the daemon gives one, with two digits. */
static const char *with_error(const struct mm_cli *c, const json_t *o, char *out, size_t cap)
{
	char cell[MM_CELL];
	double e = mm_num(o, "stderr_bits_per_byte", NAN);
	mm_fmt_bits(json_object_get(o, "kl_bits_per_byte"), cell);
	if (isfinite(e) && *cell)
		snprintf(out, cap, "%s %s%.2g", cell, mm_glyph(&c->term, "\xC2\xB1", "+-"), e);
	else
		snprintf(out, cap, "%s", cell);
	return out;
}

static int filters(const struct mm_cli *c, json_t *args, struct mm_err *err)
{
	int64_t n = 0;
	if (c->o.family)
		json_object_set_new(args, "family", json_string(c->o.family));
	if (c->o.dtype)
		json_object_set_new(args, "dtype", json_string(c->o.dtype));
	if (c->o.domain)
		json_object_set_new(args, "domain", json_string(c->o.domain));
	mm_metric_arg(c, args);
	if (c->o.smaller)
		json_object_set_new(args, "smaller", json_true());
	uint64_t bytes = 0;
	if (c->o.max_bytes && mm_parse_size(c->o.max_bytes, &bytes, err))
		return mm_wrap(err, "--max-bytes");
	if (c->o.max_bytes)
		json_object_set_new(args, "max_bytes", json_real((double)bytes));
	if (!c->o.max_params)
		return 0;
	if (!mm_count_parse(c->o.max_params, &n))
		return mm_fail(
			err, MM_EINVAL, "--max-params: %s is no number of parameters (3B, 350M)", c->o.max_params);
	json_object_set_new(args, "max_params", json_real((double)n));
	return 0;
}

static int print_near(struct mm_cli *c, const json_t *b, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "", true, 5, 0 }, { "MODEL", false, 0, 16 },
		{ "KL BITS/BYTE", true, 0, 0 }, { "", false, 3, 0 }, { "KL NATS/TEXT", true, 1, 0 },
		{ "FAMILY", false, 2, 0 }, { "PARAMS", true, 4, 0 }, { "BYTES", true, 6, 0 },
		{ "DTYPE", false, 7, 0 } };
	char bar[4 * BAR + 1], cell[MM_CELL], kl[2 * MM_CELL], clean[4096];
	json_t *o;
	size_t i;
	const json_t *list = json_object_get(b, "neighbours");
	double far = mm_num(
		json_array_get(list, json_array_size(list) ? json_array_size(list) - 1 : 0), "kl_bits_per_byte", 0);
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t)
		return -1;
	json_array_foreach (list, i, o) {
		mm_fmt_bar(&c->term, far > 0 ? mm_num(o, "kl_bits_per_byte", 0) / far : 0, BAR, bar, sizeof bar);
		mm_table_put(t, MM_DIM, "%zu", i + 1);
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, "name"));
		mm_table_put(t, MM_BOLD, "%s", with_error(c, o, kl, sizeof kl));
		mm_table_put(t, MM_CYAN, "%s", bar);
		mm_table_put(t, MM_PLAIN, "%s", mm_fmt_num(json_object_get(o, "kl_nats_per_text"), cell));
		mm_table_put(t, MM_DIM, "%s", mm_str(o, "family"));
		mm_table_put(t, MM_DIM, "%s",
			mm_int(o, "params", 0) ? mm_fmt_count(json_object_get(o, "params"), cell) : "");
		mm_table_put(t, MM_DIM, "%s", mm_fmt_bytes(json_object_get(o, "bytes"), cell));
		mm_table_put(t, MM_DIM, "%s", mm_str(o, "dtype"));
	}
	mm_term_clean(&c->term, mm_str(b, "model"), clean, sizeof clean);
	fprintf(c->out, "Nearest to %s%s%s%s%s:\n", mm_term_on(&c->term, MM_BOLD), clean,
		mm_term_off(&c->term, MM_BOLD), c->o.domain ? " on texts of " : "",
		c->o.domain ? mm_str(b, "domain") : "");
	int rc = 0;
	if (mm_table_rows(t))
		rc = mm_table_print(t, &c->term, c->out, err);
	else
		fputs(mm_int(b, "of", 0) ? "  none of the other models is as you ask\n"
					 : "  no other model is on the map yet\n",
			c->out);
	mm_table_free(t);
	return rc;
}

int mm_run_near(struct mm_cli *c, struct mm_err *err)
{
	json_t *b, *args = json_pack("{s:s}", "name", c->word[0]);
	if (c->o.k)
		json_object_set_new(args, "k", json_integer(c->o.k));
	if (filters(c, args, err)) {
		json_decref(args);
		return -1;
	}
	if (mm_cli_call(c, "near", args, &b, err))
		return -1;
	int rc = mm_picture_wanted(c) ? mm_picture_of(c, mm_svg_near, b, "Nearest relatives", err) : 0;
	bool only = mm_picture_only(c);
	if (!rc && !only && c->o.json)
		rc = mm_json_print(b, &c->term, c->out, err);
	else if (!rc && !only)
		rc = mm_metric_other(b) ? mm_metric_print_near(c, b, err) : print_near(c, b, err);
	json_decref(b);
	return rc;
}

/* "0.0123 .. 0.0145" */
static const char *interval(const json_t *o, char *out, size_t cap)
{
	const json_t *v = json_object_get(o, "interval_bits_per_byte");
	char lo[MM_CELL], hi[MM_CELL];
	if (json_array_size(v) != 2)
		return "";
	snprintf(out, cap, "%s .. %s", mm_fmt_bits(json_array_get(v, 0), lo), mm_fmt_bits(json_array_get(v, 1), hi));
	return out;
}

/* The same for each domain, when there is more than one. */
static int domains(struct mm_cli *c, const json_t *list, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "DOMAIN", false, 0, 8 }, { "TEXTS", true, 2, 0 },
		{ "KL BITS/BYTE", true, 0, 0 }, { "95 %", false, 1, 0 } };
	char cell[MM_CELL], kl[2 * MM_CELL], iv[3 * MM_CELL];
	json_t *o;
	size_t i;
	if (json_array_size(list) < 2)
		return 0;
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t)
		return -1;
	json_array_foreach (list, i, o) {
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, "domain"));
		mm_table_put(t, MM_DIM, "%s", mm_fmt_count(json_object_get(o, "texts"), cell));
		mm_table_put(t, MM_BOLD, "%s", with_error(c, o, kl, sizeof kl));
		mm_table_put(t, MM_DIM, "%s", interval(o, iv, sizeof iv));
	}
	int rc = mm_table_print(t, &c->term, c->out, err);
	mm_table_free(t);
	return rc;
}

int mm_run_dist(struct mm_cli *c, struct mm_err *err)
{
	json_t *b;
	char x[2048], y[2048], kl[2 * MM_CELL], nats[MM_CELL], iv[3 * MM_CELL];
	json_t *args = json_pack("{s:s, s:s}", "a", c->word[0], "b", c->word[1]);
	if (c->o.domain)
		json_object_set_new(args, "domain", json_string(c->o.domain));
	mm_metric_arg(c, args);
	if (mm_cli_ask(c, "dist", args, &b, err))
		return -1;
	if (!b)
		return 0;
	if (mm_metric_other(b)) {
		int done = mm_metric_print_dist(c, b, err);
		json_decref(b);
		return done;
	}
	mm_term_clean(&c->term, mm_str(b, "a"), x, sizeof x);
	mm_term_clean(&c->term, mm_str(b, "b"), y, sizeof y);
	fprintf(c->out, "%s %s %s%s%s: %s%s%s bits per byte, %s nats per text (Kullback-Leibler)\n", x,
		mm_glyph(&c->term, "\xE2\x86\x94", "<->"), y, c->o.domain ? " on texts of " : "",
		c->o.domain ? mm_str(b, "domain") : "", mm_term_on(&c->term, MM_BOLD), with_error(c, b, kl, sizeof kl),
		mm_term_off(&c->term, MM_BOLD), mm_fmt_num(json_object_get(b, "kl_nats_per_text"), nats));
	if (*interval(b, iv, sizeof iv))
		fprintf(c->out, "95 %% interval over texts: %s bits per byte\n", iv);
	int rc = domains(c, json_object_get(b, "domains"), err);
	json_decref(b);
	return rc;
}
