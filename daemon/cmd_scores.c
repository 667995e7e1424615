/* cmd_scores.c: benchmark scores from and to clients: scores, scores_import, scores_drop.
 *
 * A table of ten thousand models is larger than a request: it comes in pieces {import, offset, csv, more} that are put
 * together here, and counts when its last piece is there. All of it is stored or, when anything in it is wrong,
 * nothing. */
#include "daemon/core_priv.h"
#include "daemon/scores.h"
#include "daemon/scores_csv.h"

#include <math.h>
#include <string.h>

#define UNKNOWN_SHOWN 20

static int give(struct mm_reply *reply, json_t *body, struct mm_err *err)
{
	reply->body = body;
	return body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory for the answer");
}

/* ---- scores ---- */

static json_t *bench_json(const struct mm_daemon *d, size_t b)
{
	double v, min = INFINITY, max = -INFINITY, sum = 0;
	size_t n = 0;
	for (size_t i = 0; i < mm_reg_n(d); i++) {
		if (!mm_scores_get(d, mm_reg_at(d, i), b, &v))
			continue;
		min = fmin(min, v);
		max = fmax(max, v);
		sum += v;
		n++;
	}
	if (!n)
		return json_pack("{s:s, s:i}", "bench", mm_scores_bench(d, b), "models", 0);
	return json_pack("{s:s, s:I, s:f, s:f, s:f}", "bench", mm_scores_bench(d, b), "models", (json_int_t)n, "min",
		min, "max", max, "mean", sum / (double)n);
}

static json_t *model_json(const struct mm_daemon *d, const struct mm_model_entry *e)
{
	json_t *o = json_object();
	double v;
	for (size_t b = 0; o && b < mm_scores_n_bench(d); b++)
		if (mm_scores_get(d, e, b, &v))
			json_object_set_new(o, mm_scores_bench(d, b), json_real(v));
	return json_pack("{s:s, s:o}", "model", e->rec.name, "scores", o);
}

int mm_cmd_scores(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const char *name = json_string_value(json_object_get(args, "name"));
	if (name) {
		const struct mm_model_entry *e = mm_reg_resolve(d, name, err);
		return e ? give(reply, model_json(d, e), err) : -1;
	}
	json_t *list = json_array();
	for (size_t b = 0; list && b < mm_scores_n_bench(d); b++)
		json_array_append_new(list, bench_json(d, b));
	return give(reply, list ? json_pack("{s:o}", "benchmarks", list) : NULL, err);
}

/* ---- scores_import ---- */

static int take_piece(struct mm_scores_stage *st, const json_t *args, bool *more, struct mm_err *err)
{
	const json_t *csv = json_object_get(args, "csv");
	size_t len = json_string_length(csv);
	int64_t token = 0, offset = 0;
	*more = false;
	if (mm_json_get_i64(args, "import", 1, INT64_MAX, &token, err) ||
		mm_json_get_i64(args, "offset", 0, INT64_MAX, &offset, err) ||
		mm_json_get_bool(args, "more", more, err))
		return -1;
	if (offset == 0 || st->token != token) {
		mm_buf_fini(&st->text);
		*st = (struct mm_scores_stage){ .token = token };
	}
	if ((size_t)offset != st->text.len)
		return mm_fail(err, MM_ECONFLICT,
			"this piece of the table starts at byte %lld, but %zu bytes are here: another import came "
			"between; "
			"import again",
			(long long)offset, st->text.len);
	if (len > MM_CSV_BYTES_MAX - MM_MIN(MM_CSV_BYTES_MAX, st->text.len))
		return mm_fail(err, MM_EINVAL, "a table of more than %zu bytes", MM_CSV_BYTES_MAX);
	mm_buf_put(&st->text, json_string_value(csv), len);
	return mm_buf_check(&st->text, err);
}

struct import {
	struct mm_csv csv;
	struct mm_scores_cell *cell;
	size_t n_cell, n_model, n_unknown;
	json_t *unknown;
};

static void match(const struct mm_daemon *d, struct import *im)
{
	for (size_t i = 0; i < im->csv.n; i++) {
		const struct mm_csv_row *r = &im->csv.row[i];
		const struct mm_model_entry *e = mm_reg_by_name(d, r->model);
		if (!e) {
			if (im->n_unknown++ < UNKNOWN_SHOWN)
				json_array_append_new(im->unknown, json_string(r->model));
			continue;
		}
		im->n_model++;
		for (size_t b = 0; b < im->csv.n_bench; b++)
			if (isfinite(r->v[b]))
				im->cell[im->n_cell++] =
					(struct mm_scores_cell){ e->rec.id, im->csv.bench[b], r->v[b] };
	}
}

/* A column that says nothing about the models that are known: told at once, since a prediction of it would say nothing
 * either. */
static json_t *constant_of(const struct import *im)
{
	json_t *list = json_array();
	for (size_t b = 0; b < im->csv.n_bench; b++) {
		double first = NAN;
		size_t n = 0;
		bool same = true;
		for (size_t i = 0; i < im->n_cell; i++) {
			if (im->cell[i].bench != im->csv.bench[b])
				continue;
			first = n++ ? first : im->cell[i].value;
			same = same && im->cell[i].value == first;
		}
		if (same && n > 1)
			json_array_append_new(list, json_string(im->csv.bench[b]));
	}
	return list;
}

static json_t *benches_of(const struct mm_csv *c)
{
	json_t *list = json_array();
	for (size_t b = 0; b < c->n_bench; b++)
		json_array_append_new(list, json_string(c->bench[b]));
	return list;
}

static int no_model_known(const struct mm_daemon *d, const struct import *im, struct mm_err *err)
{
	const char *first = im->csv.row[0].model;
	struct mm_err why = { 0 };
	const struct mm_model_entry *e = mm_reg_resolve(d, first, &why);
	if (e)
		return mm_fail(err, MM_ENOENT,
			"none of the %zu models of the table is known; names must be those of `modelmap models`: %s "
			"instead of "
			"%s?",
			im->csv.n, e->rec.name, first);
	return mm_fail(err, MM_ENOENT,
		"none of the %zu models of the table is known; names must be those of `modelmap models`: %s", im->csv.n,
		why.text);
}

static int import_text(struct mm_daemon *d, const struct mm_buf *text, struct mm_reply *reply, struct mm_err *err)
{
	struct import im = { 0 };
	int rc = -1;
	if (mm_csv_parse(&im.csv, text->len ? (const char *)text->data : "", text->len, err))
		return -1;
	im.unknown = json_array();
	im.cell = mm_calloc(im.csv.n_value, sizeof(*im.cell), err);
	if (!im.cell)
		goto out;
	match(d, &im);
	if (!im.n_model)
		rc = no_model_known(d, &im, err);
	else if (!im.n_cell)
		rc = mm_fail(err, MM_EINVAL, "the table holds no score of a known model: all its cells are empty");
	else
		rc = mm_scores_put(d, im.cell, im.n_cell, err);
	if (rc == 0)
		rc = give(reply,
			json_pack("{s:I, s:I, s:I, s:o, s:o, s:O, s:I}", "models", (json_int_t)im.n_model, "scores",
				(json_int_t)im.n_cell, "empty", (json_int_t)im.csv.n_empty, "benchmarks",
				benches_of(&im.csv), "constant", constant_of(&im), "unknown", im.unknown, "n_unknown",
				(json_int_t)im.n_unknown),
			err);
out:
	json_decref(im.unknown);
	mm_free(im.cell);
	mm_csv_fini(&im.csv);
	return rc;
}

int mm_cmd_scores_import(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_scores_stage *st = mm_scores_stage(d);
	bool more;
	int rc = take_piece(st, args, &more, err);
	if (rc == 0 && more)
		return give(reply, json_pack("{s:I}", "received", (json_int_t)st->text.len), err);
	struct mm_buf text = st->text; /* whatever comes of it: this import is over */
	*st = (struct mm_scores_stage){ 0 };
	if (rc == 0)
		rc = import_text(d, &text, reply, err);
	mm_buf_fini(&text);
	return rc;
}

/* ---- scores_drop ---- */

int mm_cmd_scores_drop(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const char *bench = json_string_value(json_object_get(args, "bench"));
	size_t b = mm_scores_find_arg(d, bench ? bench : "", err);
	if (b == SIZE_MAX || mm_scores_drop(d, b, err))
		return -1;
	return give(reply, json_pack("{s:s}", "dropped", bench), err);
}
