/* cmd_near.c - relatives and distances, in bits per byte. */
#include "client/client.h"

#include <math.h>
#include <string.h>

#define BAR 16

/* "0.01234 ±0.0002": the error where the daemon gives one, with two digits. */
static const char *with_error(const struct mm_cli *c, const json_t *o, char *out, size_t cap)
{
	char cell[MM_CELL];
	double e = mm_num(o, "kl_bits_per_byte_se", NAN);
	mm_fmt_bits(json_object_get(o, "kl_bits_per_byte"), cell);
	if (isfinite(e) && *cell)
		snprintf(out, cap, "%s %s%.2g", cell, mm_glyph(&c->term, "\xC2\xB1", "+-"), e);
	else
		snprintf(out, cap, "%s", cell);
	return out;
}

int mm_run_near(struct mm_cli *c, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "", true, 5, 0 }, { "MODEL", false, 0, 16 },
		{ "KL BITS/BYTE", true, 0, 0 }, { "", false, 3, 0 }, { "KL NATS/TEXT", true, 1, 0 },
		{ "FAMILY", false, 2, 0 }, { "PARAMS", true, 4, 0 } };
	json_t *b, *args = json_pack("{s:s}", "name", c->word[0]), *o;
	char bar[4 * BAR + 1], cell[MM_CELL], kl[2 * MM_CELL], clean[4096];
	size_t i;
	if (c->o.k)
		json_object_set_new(args, "k", json_integer(c->o.k));
	if (mm_cli_ask(c, "near", args, &b, err))
		return -1;
	if (!b)
		return 0;
	const json_t *list = json_object_get(b, "neighbours");
	double far = mm_num(
		json_array_get(list, json_array_size(list) ? json_array_size(list) - 1 : 0), "kl_bits_per_byte", 0);
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t) {
		json_decref(b);
		return -1;
	}
	json_array_foreach (list, i, o) {
		mm_fmt_bar(&c->term, far > 0 ? mm_num(o, "kl_bits_per_byte", 0) / far : 0, BAR, bar, sizeof bar);
		mm_table_put(t, MM_DIM, "%zu", i + 1);
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, "name"));
		mm_table_put(t, MM_BOLD, "%s", with_error(c, o, kl, sizeof kl));
		mm_table_put(t, MM_CYAN, "%s", bar);
		mm_table_put(t, MM_PLAIN, "%s", mm_fmt_num(json_object_get(o, "kl_nats_per_text"), cell));
		mm_table_put(t, MM_DIM, "%s", mm_str(o, "family"));
		mm_table_put(t, MM_DIM, "%s", mm_fmt_count(json_object_get(o, "params"), cell));
	}
	mm_term_clean(&c->term, mm_str(b, "model"), clean, sizeof clean);
	fprintf(c->out, "Nearest to %s%s%s:\n", mm_term_on(&c->term, MM_BOLD), clean, mm_term_off(&c->term, MM_BOLD));
	int rc = 0;
	if (mm_table_rows(t))
		rc = mm_table_print(t, &c->term, c->out, err);
	else
		fputs("  no other model is on the map yet\n", c->out);
	mm_table_free(t);
	json_decref(b);
	return rc;
}

int mm_run_dist(struct mm_cli *c, struct mm_err *err)
{
	json_t *b;
	char x[2048], y[2048], kl[2 * MM_CELL], nats[MM_CELL];
	if (mm_cli_ask(c, "dist", json_pack("{s:s, s:s}", "a", c->word[0], "b", c->word[1]), &b, err))
		return -1;
	if (!b)
		return 0;
	mm_term_clean(&c->term, mm_str(b, "a"), x, sizeof x);
	mm_term_clean(&c->term, mm_str(b, "b"), y, sizeof y);
	fprintf(c->out, "%s %s %s: %s%s%s bits per byte, %s nats per text (Kullback-Leibler)\n", x,
		mm_glyph(&c->term, "\xE2\x86\x94", "<->"), y, mm_term_on(&c->term, MM_BOLD),
		with_error(c, b, kl, sizeof kl), mm_term_off(&c->term, MM_BOLD),
		mm_fmt_num(json_object_get(b, "kl_nats_per_text"), nats));
	json_decref(b);
	return 0;
}
