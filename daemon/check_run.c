/* check_run.c: the part of the tests that takes time, on the worker, over a snapshot. */
#include "daemon/check_priv.h"

#include <math.h>
#include <string.h>

#define TELL_LLR  6.0 /* below, nobody will ask which texts */
#define SUSPECT	  0.5
#define HIST_SPAN 6.0 /* of the picture, in widths of the lower mode, around the middle of both */

static json_t *suspects_json(const double *post, size_t n)
{
	json_t *a = json_array();
	for (size_t s = 0; a && s < n; s++)
		if (post[s] > SUSPECT)
			json_array_append_new(a, json_pack("{s:I, s:f}", "index", (json_int_t)s, "posterior",
							 round(post[s] * 1e4) / 1e4));
	return a;
}

static json_t *domains_json(const struct mm_texts *t, const double *post)
{
	json_t *a = json_array();
	for (size_t c = 0; a && c < t->n_domain; c++) {
		json_int_t all = 0, hit = 0;
		for (size_t s = 0; s < t->n; s++)
			if (t->domain[s] == c) {
				all++;
				hit += post[s] > SUSPECT;
			}
		json_array_append_new(
			a, json_pack("{s:s, s:I, s:I}", "domain", t->domain_name[c], "texts", all, "suspect", hit));
	}
	return a;
}

/* Residuals in equal bins; what lies outside is counted at the ends. */
static json_t *histogram_json(const struct mm_leak_mix *m, const double *r, const double *post, size_t n)
{
	json_int_t all[MM_CHECK_BINS] = { 0 }, hit[MM_CHECK_BINS] = { 0 };
	double half = HIST_SPAN * m->width + m->gain / 2, mid = (0.5 - m->share) * m->gain;
	for (size_t s = 0; s < n; s++) {
		double at = half > 0 ? floor((r[s] - mid + half) / (2 * half) * MM_CHECK_BINS) : 0;
		size_t b = (size_t)fmin(fmax(at, 0), MM_CHECK_BINS - 1);
		all[b]++;
		hit[b] += post[s] > SUSPECT;
	}
	json_t *ja = json_array(), *jh = json_array();
	for (size_t b = 0; b < MM_CHECK_BINS; b++) {
		json_array_append_new(ja, json_integer(all[b]));
		json_array_append_new(jh, json_integer(hit[b]));
	}
	return json_pack("{s:f, s:f, s:s, s:o, s:o}", "from", mid - half, "to", mid + half, "unit", "nats per text",
		"texts", ja, "suspect", jh);
}

static int test_one(struct mm_sweep *w, const struct mm_leak_input *in, size_t i, double *buf)
{
	struct mm_check_model *m = &w->m[i];
	double *r = buf, *post = buf + w->n;
	if (mm_leak_test(in, i, &m->t, r, post, &w->err))
		return -1;
	const struct mm_leak_mix *mix = &m->t.mix[m->t.best];
	if (mix->llr < TELL_LLR)
		return 0;
	json_decref(m->more);
	m->more = json_pack("{s:o, s:o, s:o}", "suspect_texts", suspects_json(post, w->n), "domains",
		domains_json(w->texts, post), "histogram", histogram_json(mix, r, post, w->n));
	return m->more ? 0 : mm_fail(&w->err, MM_ENOMEM, "out of memory");
}

static int run(struct mm_sweep *w, const _Atomic bool *cancel)
{
	const float **row = mm_calloc(w->k, sizeof(*row), &w->err);
	uint64_t *group = row ? mm_calloc(w->k, sizeof(*group), &w->err) : NULL;
	bool *usable = group ? mm_calloc(w->k, sizeof(*usable), &w->err) : NULL;
	double *buf = usable ? mm_calloc(2 * w->n, sizeof(*buf), &w->err) : NULL;
	int rc = buf ? 0 : -1;
	struct mm_mat mat = { row, w->k, w->n };
	struct mm_leak_input in = { &mat, usable, group, w->texts->domain, w->texts->n_domain };
	for (size_t i = 0; buf && i < w->k; i++) {
		row[i] = w->m[i].vec;
		group[i] = w->m[i].group;
		usable[i] = w->m[i].usable && !mm_odd_broken(&w->m[i]);
	}
	for (size_t i = 0; i < w->k && rc == 0 && !*cancel && w->leaks; i++)
		if (w->m[i].test && w->m[i].healthy && !mm_odd_broken(&w->m[i]))
			rc = test_one(w, &in, i, buf);
	mm_free(buf);
	mm_free(usable);
	mm_free(group);
	mm_free(row);
	return rc;
}

void mm_sweep_run(void *ctx, const _Atomic bool *cancel)
{
	struct mm_sweep *w = ctx;
	w->failed = mm_sweep_odd(w, cancel) || mm_sweep_runs(w, cancel) || run(w, cancel);
}
