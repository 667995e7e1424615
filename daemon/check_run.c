/* check_run.c: the part of the tests that takes time, on the worker, over a snapshot. */
#include "daemon/check_priv.h"

#include <math.h>
#include <string.h>

#define TELL_LLR  6.0 /* below, nobody will ask which texts */
#define HIST_SPAN 6.0 /* of the picture, in widths of the lower mode, around the middle of both */

/* Texts declared to be unseen are nobody's suspects. */
static json_t *suspects_json(const struct mm_texts *t, const double *post, size_t n)
{
	json_t *a = json_array();
	for (size_t s = 0; a && s < n; s++)
		if (post[s] > MM_LEAK_SUSPECT && !(t->control && t->control[s]))
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
				hit += post[s] > MM_LEAK_SUSPECT;
			}
		json_array_append_new(
			a, json_pack("{s:s, s:I, s:I}", "domain", t->domain_name[c], "texts", all, "suspect", hit));
	}
	return a;
}

/* Residuals in equal bins; what lies outside is counted at the ends. */
static json_t *histogram_json(
	const struct mm_leak_mix *m, const char *unit, const double *r, const double *post, size_t n)
{
	json_int_t all[MM_CHECK_BINS] = { 0 }, hit[MM_CHECK_BINS] = { 0 };
	double half = HIST_SPAN * m->width + m->gain / 2, mid = (0.5 - m->share) * m->gain;
	for (size_t s = 0; s < n; s++) {
		double at = half > 0 ? floor((r[s] - mid + half) / (2 * half) * MM_CHECK_BINS) : 0;
		size_t b = (size_t)fmin(fmax(at, 0), MM_CHECK_BINS - 1);
		all[b]++;
		hit[b] += post[s] > MM_LEAK_SUSPECT;
	}
	json_t *ja = json_array(), *jh = json_array();
	for (size_t b = 0; b < MM_CHECK_BINS; b++) {
		json_array_append_new(ja, json_integer(all[b]));
		json_array_append_new(jh, json_integer(hit[b]));
	}
	return json_pack("{s:f, s:f, s:s, s:o, s:o}", "from", mid - half, "to", mid + half, "unit", unit, "texts", ja,
		"suspect", jh);
}

struct test { /* what all models share */
	struct mm_leak_input in;
	const float **row, **mink, **mink_pp;
	uint64_t *group;
	bool *usable;
	double *mean, *score, *buf;
};

static void level_of(const struct mm_sweep *w, const struct test *t, size_t i, struct mm_leak_sign_result *out)
{
	struct mm_leak_level l;
	if (mm_leak_level(t->mean, t->score, w->k, i, &l))
		*out = (struct mm_leak_sign_result){
			.known = true, .statistic = l.statistic, .p = l.p, .effect = l.effect, .n = l.n
		};
}

static int test_one(struct mm_sweep *w, const struct test *t, size_t i)
{
	struct mm_check_model *m = &w->m[i];
	const struct mm_texts *x = w->texts;
	double *r = t->buf, *post = t->buf + w->n;
	if (mm_leak_test(&t->in, i, &m->t, r, post, &w->err))
		return -1;
	const struct mm_leak_mix *mix = &m->t.mix[m->t.best];
	bool contrast = m->t.known[m->t.best];
	if (contrast && x->n_control &&
		mm_leak_control(r, x->control, x->domain, w->n, x->n_domain, &m->t.sign[MM_LEAK_CONTROL], &w->err))
		return -1;
	level_of(w, t, i, &m->t.sign[MM_LEAK_LEVEL]);
	m->refuted = contrast && x->n_control && mm_leak_refuted(post, x->control, w->n);
	if (mix->llr < TELL_LLR)
		return 0;
	json_decref(m->more);
	m->more = json_pack("{s:o, s:o, s:o}", "suspect_texts", suspects_json(x, post, w->n), "domains",
		domains_json(x, post), "histogram", histogram_json(mix, mm_leak_side_unit[m->t.best], r, post, w->n));
	return m->more ? 0 : mm_fail(&w->err, MM_ENOMEM, "out of memory");
}

#define PREDICT_MAX 1000 /* models: all pairs of more take too long for what a guessed score is worth */

/* Scores that nobody imported are predicted from the other models', where there are enough of these. */
static int guess_scores(struct mm_sweep *w, const struct test *t)
{
	size_t known = 0;
	for (size_t i = 0; i < w->k; i++)
		known += isfinite(t->score[i]);
	if (known < MM_LEAK_MIN_MODELS || known == w->k || w->k > PREDICT_MAX)
		return 0;
	struct mm_tri tri = { 0 };
	struct mm_ridge fit;
	double *out = mm_calloc(2 * w->k, sizeof(*out), &w->err), *sd = out ? out + w->k : NULL;
	bool *outside = out ? mm_calloc(w->k, sizeof(*outside), &w->err) : NULL;
	const double *score = t->score;
	int rc = outside && mm_dist_matrix(t->in.m, MM_NO_CLIP, &tri, &w->err) == 0 &&
				 mm_ridge_fit(&tri, w->n, &score, 1, SIZE_MAX, &out, &sd, &outside, &fit, &w->err) == 0
			 ? 0
			 : -1;
	for (size_t i = 0; rc == 0 && i < w->k; i++)
		if (!isfinite(t->score[i]) && !outside[i])
			t->score[i] = out[i];
	mm_tri_fini(&tri);
	mm_free(outside);
	mm_free(out);
	return rc;
}

static int sizes(struct mm_sweep *w)
{
	if (w->size)
		return 0;
	double *size = mm_calloc(w->n, sizeof(*size), &w->err);
	for (size_t s = 0; size && s < w->n; s++) {
		size[s] = mm_leak_size(w->texts->text[s], w->texts->len[s], &w->err);
		if (size[s] < 0) {
			mm_free(size);
			return -1;
		}
	}
	w->size = size;
	return size ? 0 : -1;
}

static int prepare(struct mm_sweep *w, struct test *t, struct mm_mat *mat)
{
	double var;
	if (sizes(w))
		return -1;
	t->row = mm_calloc(3 * w->k, sizeof(*t->row), &w->err);
	t->group = t->row ? mm_calloc(w->k, sizeof(*t->group), &w->err) : NULL;
	t->usable = t->group ? mm_calloc(w->k, sizeof(*t->usable), &w->err) : NULL;
	t->buf = t->usable ? mm_calloc(2 * w->n + 2 * w->k, sizeof(*t->buf), &w->err) : NULL;
	if (!t->buf)
		return -1;
	t->mink = t->row + w->k;
	t->mink_pp = t->mink + w->k;
	t->mean = t->buf + 2 * w->n;
	t->score = t->mean + w->k;
	*mat = (struct mm_mat){ t->row, w->k, w->n };
	t->in = (struct mm_leak_input){ mat, t->usable, t->group, w->texts->domain, w->texts->n_domain, t->mink,
		t->mink_pp, w->size };
	for (size_t i = 0; i < w->k; i++) {
		t->row[i] = w->m[i].vec;
		t->mink[i] = w->m[i].facts->mink;
		t->mink_pp[i] = w->m[i].facts->mink_pp;
		t->group[i] = w->m[i].group;
		t->usable[i] = w->m[i].usable && !mm_odd_broken(&w->m[i]);
		t->score[i] = w->m[i].score;
		mm_row_moments(w->m[i].vec, w->n, MM_NO_CLIP, &t->mean[i], &var);
	}
	return 0;
}

static int run(struct mm_sweep *w, const _Atomic bool *cancel)
{
	struct test t = { 0 };
	struct mm_mat mat;
	int rc = 0;
	if (!w->leaks)
		return 0;
	rc = prepare(w, &t, &mat) || guess_scores(w, &t) ? -1 : 0;
	for (size_t i = 0; i < w->k && rc == 0 && !*cancel; i++)
		if (w->m[i].test && w->m[i].healthy && !mm_odd_broken(&w->m[i]))
			rc = test_one(w, &t, i);
	mm_free(t.buf);
	mm_free(t.usable);
	mm_free(t.group);
	mm_free(t.row);
	return rc;
}

void mm_sweep_run(void *ctx, const _Atomic bool *cancel)
{
	struct mm_sweep *w = ctx;
	w->failed = mm_sweep_odd(w, cancel) || mm_sweep_runs(w, cancel) || run(w, cancel);
}
