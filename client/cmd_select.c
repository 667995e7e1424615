/* cmd_select.c - `texts select` fetches a smaller text set that keeps the distances, `place` asks where a model belongs
 * that was scored on such a set only. */
#include "client/client.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX   ((size_t)1 << 30)
#define VALUES_MAX 60000u /* bytes of a request's list */

/* ---- texts select ---- */

static int collect(void *ctx, const void *data, size_t n, struct mm_err *err)
{
	struct mm_buf *b = ctx;
	mm_buf_put(b, data, n);
	return mm_buf_check(b, err);
}

static int put_out(const struct mm_cli *c, const struct mm_buf *b, struct mm_err *err)
{
	const char *path = c->o.output;
	if (path && strcmp(path, "-") != 0)
		return mm_file_write(path, b->data, b->len, err);
	return fwrite(b->data, 1, b->len, c->out) == b->len ? 0 : mm_fail(err, MM_EIO, "cannot write the output");
}

int mm_texts_select(struct mm_cli *c, struct mm_err *err)
{
	struct mm_buf text = { 0 };
	json_t *b, *args = json_object();
	if (c->n_word > 1 || !c->o.n) {
		c->usage = true;
		json_decref(args);
		return mm_fail(err, MM_EINVAL, "texts select -n N -o FILE: how many texts to choose");
	}
	json_object_set_new(args, "n", json_integer(c->o.n));
	if (c->o.by)
		json_object_set_new(args, "by", json_string(c->o.by));
	if (c->o.seed)
		json_object_set_new(args, "seed", json_integer(c->o.seed));
	if (mm_cli_call(c, "texts_select", args, &b, err))
		return -1;
	int rc = mm_conn_fetch(c->conn, b, collect, &text, NULL, err);
	if (!rc)
		rc = put_out(c, &text, err);
	json_object_del(b, "bulk");
	if (!rc && c->o.json && c->o.output && strcmp(c->o.output, "-") != 0)
		rc = mm_json_print(b, &c->term, c->out, err);
	else if (!rc)
		mm_say(c,
			"%lld of %lld texts, by %s, from %lld models; distances on them are expected to be off by %.1f "
			"%%",
			(long long)mm_int(b, "n", 0), (long long)mm_int(b, "of", 0), mm_str(b, "by"),
			(long long)mm_int(b, "models", 0), 100 * mm_num(b, "expected_error", 0));
	mm_buf_fini(&text);
	json_decref(b);
	return rc;
}

/* ---- place ---- */

struct texts {
	size_t n, cap;
	struct one {
		int64_t index;
		double weight;
	} * one;
	char set[MM_HASH_HEX];
};

static int text_line(struct texts *t, const char *line, size_t len, size_t number, struct mm_err *err)
{
	char what[40];
	const char *set = NULL;
	struct one x = { .index = -1 };
	snprintf(what, sizeof what, "line %zu", number);
	json_t *o = mm_json_parse(line, len, what, err);
	if (!o)
		return -1;
	int rc = mm_json_get_i64(o, "index", 0, UINT32_MAX, &x.index, err) ||
				 mm_json_get_double(o, "weight", &x.weight, err) || mm_json_get_str(o, "set", &set, err)
			 ? -1
			 : 0;
	if (rc == 0 && (x.index < 0 || !(x.weight > 0)))
		rc = mm_fail(err, MM_EFORMAT,
			"line %zu: no \"index\" and \"weight\": not a file that texts select made", number);
	if (rc == 0 && set)
		snprintf(t->set, sizeof t->set, "%s", set);
	json_decref(o);
	if (rc || mm_grow(&t->one, &t->cap, t->n + 1, sizeof *t->one, err))
		return -1;
	t->one[t->n++] = x;
	return 0;
}

static int read_texts(struct texts *t, const char *path, struct mm_err *err)
{
	size_t len, number = 0;
	char *text = mm_file_read(path, FILE_MAX, &len, err);
	int rc = text ? 0 : -1;
	for (char *p = text, *end = text + (text ? len : 0); rc == 0 && p < end;) {
		char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((nl ? nl : end) - p);
		number++;
		if (n)
			rc = text_line(t, p, n, number, err);
		p += n + 1;
	}
	mm_free(text);
	return rc ? mm_wrap(err, "%s", path) : 0;
}

/* "12:-803.25:1.5 ..." from the two files. */
static char *values_of(const struct texts *t, const char *path, struct mm_err *err)
{
	size_t len;
	struct mm_npy a;
	struct mm_buf b = { 0 };
	char *raw = mm_file_read(path, FILE_MAX, &len, err), *out = NULL;
	if (!raw || mm_npy_parse(&a, raw, len, err))
		goto out;
	bool wide = strcmp(a.descr, "<f8") == 0;
	size_t n = a.ndim == 1 ? a.shape[0] : a.ndim == 2 && a.shape[0] == 1 ? a.shape[1] : 0;
	if ((!wide && strcmp(a.descr, "<f4") != 0) || n != t->n) {
		mm_fail(err, MM_EFORMAT, "%s holds %zu numbers (%s), the text set has %zu texts", path, n, a.descr,
			t->n);
		goto out;
	}
	for (size_t i = 0; i < n; i++) {
		double v8;
		float v4;
		memcpy(&v8, a.data + 8 * (wide ? i : 0), 8 * wide);
		memcpy(&v4, a.data + 4 * i, 4);
		double v = wide ? v8 : (double)v4;
		if (!isfinite(v)) {
			mm_fail(err, MM_ENONFINITE, "%s: number %zu is not finite", path, i);
			goto out;
		}
		mm_buf_printf(&b, "%s%lld:%.8g:%.6g", i ? " " : "", (long long)t->one[i].index, v, t->one[i].weight);
	}
	if (mm_buf_check(&b, err))
		goto out;
	if (b.len > VALUES_MAX) {
		mm_fail(err, MM_EINVAL, "%zu texts are too many for a question: select at most 2,000", n);
		goto out;
	}
	out = mm_strdup(b.data ? (const char *)b.data : "", err);
out:
	mm_buf_fini(&b);
	mm_free(raw);
	return out;
}

static int print_place(struct mm_cli *c, const json_t *b, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "MODEL", false, 0, 16 }, { "KL BITS/BYTE", true, 0, 0 },
		{ "95 %", false, 1, 0 } };
	const char *name;
	json_t *o;
	size_t i;
	char x[MM_CELL], lo[MM_CELL], hi[MM_CELL];
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t)
		return -1;
	fprintf(c->out,
		"Scored on %lld of %lld texts: a place with a wider interval, not a model of the map.\nNearest:\n",
		(long long)mm_int(b, "n", 0), (long long)mm_int(b, "of", 0));
	json_array_foreach (json_object_get(b, "neighbours"), i, o) {
		const json_t *v = json_object_get(o, "interval_bits_per_byte");
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, "name"));
		mm_table_put(t, MM_BOLD, "%s %s%.2g", mm_fmt_bits(json_object_get(o, "kl_bits_per_byte"), x),
			mm_glyph(&c->term, "\xC2\xB1", "+-"), mm_num(o, "stderr_bits_per_byte", 0));
		mm_table_put(t, MM_DIM, "%s .. %s", mm_fmt_bits(json_array_get(v, 0), lo),
			mm_fmt_bits(json_array_get(v, 1), hi));
	}
	int rc = mm_table_print(t, &c->term, c->out, err);
	mm_table_free(t);
	json_object_foreach (json_object_get(b, "places"), name, o) {
		fprintf(c->out, "%-6s", name);
		for (i = 0; i < json_array_size(o); i++)
			fprintf(c->out, " %10.4g", json_number_value(json_array_get(o, i)));
		fputc('\n', c->out);
	}
	return rc;
}

int mm_run_place(struct mm_cli *c, struct mm_err *err)
{
	struct texts t = { 0 };
	json_t *b = NULL;
	if (!c->o.texts) {
		c->usage = true;
		return mm_fail(
			err, MM_EINVAL, "place FILE.npy --texts FILE.jsonl: the text set that the model was scored on");
	}
	int rc = read_texts(&t, c->o.texts, err);
	char *values = rc ? NULL : values_of(&t, c->word[0], err);
	if (values) {
		json_t *args = json_pack("{s:s}", "values", values);
		if (*t.set)
			json_object_set_new(args, "texts", json_string(t.set));
		rc = mm_cli_ask(c, "place", args, &b, err);
	}
	rc = values && !rc ? 0 : -1;
	if (!rc && b)
		rc = print_place(c, b, err);
	json_decref(b);
	mm_free(values);
	mm_free(t.one);
	return rc;
}
