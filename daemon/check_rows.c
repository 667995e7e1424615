/* check_rows.c: what is kept of the tests: one row a model, its JSON in the store, and the stream that decides which
 * are discoveries. Loop thread. */
#include "daemon/alerts_priv.h"
#include "daemon/core_priv.h"

#include <stdlib.h>
#include <string.h>

#define FDR_Q 0.05

void mm_check_row_free(struct mm_check_row *r)
{
	if (!r)
		return;
	json_decref(r->more);
	mm_free(r);
}

/* ---- by model ---- */

static int cmp_model(const void *p, const void *q)
{
	uint64_t a = (*(struct mm_check_row *const *)p)->model, b = (*(struct mm_check_row *const *)q)->model;
	return a < b ? -1 : a > b;
}

/* A model has one row at most; without memory for the index everything is slower, not wrong. */
static void index_rows(struct mm_check *c)
{
	struct mm_err ignored;
	c->n_by_model = 0;
	if (!c->n || mm_grow(&c->by_model, &c->cap_by_model, c->n, sizeof(struct mm_check_row *), &ignored))
		return;
	memcpy(c->by_model, c->row, c->n * sizeof(*c->row));
	c->n_by_model = c->n;
	qsort(c->by_model, c->n, sizeof(*c->by_model), cmp_model);
}

struct mm_check_row *mm_check_row_of(struct mm_check *c, uint64_t model)
{
	struct mm_check_row key = { .model = model }, *k = &key, **found;
	if (c->n_by_model) {
		found = bsearch(&k, c->by_model, c->n_by_model, sizeof(*c->by_model), cmp_model);
		return found ? *found : NULL;
	}
	for (size_t i = 0; i < c->n; i++)
		if (c->row[i]->model == model)
			return c->row[i];
	return NULL;
}

const struct mm_check_row *mm_check_of(const struct mm_daemon *d, const struct mm_model_entry *e)
{
	const struct mm_check_row *r =
		d->alerts && d->alerts->check ? mm_check_row_of(d->alerts->check, e->rec.id) : NULL;
	return r && mm_hash_eq(r->full, e->rec.full) ? r : NULL;
}

struct mm_check_row *mm_check_row_add(struct mm_check *c, struct mm_err *err)
{
	if (mm_grow(&c->row, &c->cap, c->n + 1, sizeof(struct mm_check_row *), err))
		return NULL;
	struct mm_check_row *r = mm_calloc(1, sizeof(*r), err);
	if (r)
		c->row[c->n++] = r;
	return r;
}

json_t *mm_check_tests_json(const struct mm_check_row *r)
{
	json_t *a = json_array();
	for (int s = 0; a && s < MM_LEAK_SIDES; s++) {
		const struct mm_leak_mix *m = &r->test.mix[s];
		if (r->test.known[s])
			json_array_append_new(
				a, json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "name",
					   mm_leak_side_name[s], "null", mm_leak_side_null[s], "statistic", m->llr, "p",
					   r->test.p[s], "effect", m->separation, "gain", m->gain, "share", m->share,
					   "width", m->width, "dof", m->dof, "predictors",
					   (json_int_t)r->test.n_predictors[s]));
	}
	for (int s = 0; a && s < MM_LEAK_SIGNS; s++) {
		const struct mm_leak_sign_result *x = &r->test.sign[s];
		if (x->known)
			json_array_append_new(
				a, json_pack("{s:s, s:s, s:f, s:f, s:f, s:I}", "name", mm_leak_sign_name[s], "null",
					   mm_leak_sign_null[s], "statistic", x->statistic, "p", x->p, "effect",
					   x->effect, "n", (json_int_t)x->n));
	}
	return a;
}

static json_t *row_json(const struct mm_check_row *r)
{
	char hex[MM_HASH_HEX];
	mm_hash_hex(r->full, hex);
	json_t *o = json_pack("{s:I, s:s, s:I, s:I, s:f, s:f, s:f, s:b, s:b, s:b, s:o}", "seq", (json_int_t)r->seq,
		"full", hex, "tested_at", (json_int_t)r->tested_at, "models", (json_int_t)r->n_models, "p", r->p,
		"level", r->level, "wealth", r->wealth, "found", r->found, "refuted", r->refuted, "leaked", r->leaked,
		"tests", mm_check_tests_json(r));
	if (o && r->more)
		json_object_set(o, "more", r->more);
	return o;
}

json_t *mm_check_json(const struct mm_daemon *d, const struct mm_model_entry *e)
{
	const struct mm_check_row *r = mm_check_of(d, e);
	if (!r)
		return NULL;
	return json_pack("{s:f, s:f, s:f, s:b, s:b, s:b, s:I, s:I, s:I, s:o, s:b}", "p", r->p, "level", r->level,
		"wealth", r->wealth, "found", r->found, "refuted", r->refuted, "leaked", r->leaked, "number",
		(json_int_t)r->seq, "tested_at", (json_int_t)r->tested_at, "models", (json_int_t)r->n_models, "tests",
		mm_check_tests_json(r), "due", mm_check_due(d));
}

static double num(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static int row_parse(struct mm_check_row *r, const json_t *o, struct mm_err *err)
{
	const char *hex = json_string_value(json_object_get(o, "full"));
	r->seq = (uint64_t)json_integer_value(json_object_get(o, "seq"));
	if (!r->seq || !hex || !mm_hash_parse(hex, &r->full))
		return mm_fail(err, MM_ECORRUPT, "a stored test does not say what it is about");
	r->tested_at = json_integer_value(json_object_get(o, "tested_at"));
	r->n_models = (size_t)json_integer_value(json_object_get(o, "models"));
	r->p = num(o, "p");
	r->level = num(o, "level");
	r->wealth = num(o, "wealth");
	r->found = json_is_true(json_object_get(o, "found"));
	r->leaked = json_is_true(json_object_get(o, "leaked"));
	r->refuted = json_is_true(json_object_get(o, "refuted"));
	r->test.p_all = r->p;
	r->test.gain = num(o, "gain");
	r->more = json_incref(json_object_get(o, "more"));
	const json_t *t;
	size_t at;
	double best = -1;
	json_array_foreach (json_object_get(o, "tests"), at, t) {
		const char *name = json_string_value(json_object_get(t, "name"));
		for (int s = 0; name && s < MM_LEAK_SIGNS; s++)
			if (strcmp(name, mm_leak_sign_name[s]) == 0)
				r->test.sign[s] = (struct mm_leak_sign_result){ .known = true,
					.statistic = num(t, "statistic"),
					.p = num(t, "p"),
					.effect = num(t, "effect"),
					.n = (size_t)num(t, "n") };
		for (int s = 0; s < MM_LEAK_SIDES; s++) {
			if (!name || strcmp(name, mm_leak_side_name[s]) != 0)
				continue;
			r->test.known[s] = true;
			r->test.n_predictors[s] = (size_t)json_integer_value(json_object_get(t, "predictors"));
			r->test.p[s] = num(t, "p");
			r->test.mix[s] = (struct mm_leak_mix){ .llr = num(t, "statistic"),
				.share = num(t, "share"),
				.gain = num(t, "gain"),
				.width = num(t, "width"),
				.separation = num(t, "effect"),
				.dof = num(t, "dof") };
			if (r->test.mix[s].llr > best) {
				best = r->test.mix[s].llr;
				r->test.best = (enum mm_leak_side)s;
			}
		}
	}
	return 0;
}

static int put(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	const struct mm_check *c = ctx;
	for (size_t i = 0; i < c->n; i++) {
		if (!c->row[i]->dirty)
			continue;
		json_t *o = row_json(c->row[i]);
		char *text = o ? mm_json_dump(o, err) : NULL;
		json_decref(o);
		if (!text)
			return -1;
		size_t len = strlen(text);
		struct mm_stored_array a = { .name = "leak", .type = MM_A_U8, .n_dim = 1, .data = text, .n_byte = len };
		a.dim[0] = len;
		int rc = mm_array_put(t, c->row[i]->model, &a, err);
		mm_free(text);
		if (rc)
			return -1;
	}
	return 0;
}

int mm_check_save(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_check *c = d->alerts->check;
	if (mm_store_write(d->store, put, c, err))
		return -1;
	for (size_t i = 0; i < c->n; i++)
		c->row[i]->dirty = false;
	return 0;
}

/* ---- the stream ---- */

static int cmp_seq(const void *p, const void *q)
{
	uint64_t a = (*(struct mm_check_row *const *)p)->seq, b = (*(struct mm_check_row *const *)q)->seq;
	return a < b ? -1 : a > b;
}

int mm_check_replay(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_check *c = d->alerts->check;
	struct mm_fdr_row *f = mm_calloc(c->n + 1, sizeof(*f), err);
	if (!f)
		return -1;
	if (c->n)
		qsort(c->row, c->n, sizeof(*c->row), cmp_seq);
	index_rows(c);
	for (size_t i = 0; i < c->n; i++)
		f[i].p = c->row[i]->p;
	mm_fdr_replay(f, c->n, FDR_Q);
	for (size_t i = 0; i < c->n; i++) {
		struct mm_check_row *r = c->row[i];
		r->dirty = r->dirty || r->level != f[i].level || r->wealth != f[i].wealth || r->found != f[i].found;
		r->level = f[i].level;
		r->wealth = f[i].wealth;
		r->found = f[i].found;
		r->leaked = r->found && !r->refuted &&
			    mm_leak_matters(&r->test, json_array_size(json_object_get(r->more, "suspect_texts")),
				    d->texts.mean_bytes);
	}
	mm_free(f);
	return 0;
}

/* ---- start ---- */

static int load_one(struct mm_daemon *d, struct mm_txn *t, const struct mm_model_entry *e, struct mm_err *err)
{
	struct mm_stored_array a;
	struct mm_err bad;
	if (!e->rec.has_vector || mm_array_get(t, e->rec.id, "leak", &a, &bad))
		return 0; /* never tested */
	json_t *o = mm_json_parse(a.data, a.n_byte, "stored tests", &bad);
	struct mm_check_row *r = o ? mm_check_row_add(d->alerts->check, err) : NULL;
	int rc = 0;
	if (!o)
		mm_log(MM_LOG_WARN, "alerts: %s: %s; it is tested again", e->rec.name, bad.text);
	else if (!r)
		rc = -1;
	else {
		r->model = e->rec.id;
		if (row_parse(r, o, &bad)) {
			mm_log(MM_LOG_WARN, "alerts: %s: %s; it is tested again", e->rec.name, bad.text);
			mm_check_row_free(r);
			d->alerts->check->n--;
		}
	}
	json_decref(o);
	return rc;
}

int mm_check_load(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_check *c = d->alerts->check;
	struct mm_txn *t = mm_txn_begin(d->store, false, err);
	int rc = t ? 0 : -1;
	for (size_t i = 0; rc == 0 && i < mm_reg_n(d); i++)
		rc = load_one(d, t, mm_reg_at(d, i), err);
	mm_txn_abort(t);
	if (c->n)
		qsort(c->row, c->n, sizeof(*c->row), cmp_seq);
	index_rows(c);
	return rc;
}
