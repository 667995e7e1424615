/* leak_test.c: one model against the others: who predicts it, from two sides; the p-values of many. */
#include "stat/stat_leak.h"
#include "stat/stat_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const mm_leak_side_name[MM_LEAK_SIDES] = { "contrast_relatives", "contrast_strangers", "memorised",
	"memorised_pp", "memorised_compressed" };
const char *const mm_leak_side_null[MM_LEAK_SIDES] = {
	"the residuals of the texts have one mode within each domain",
	"the residuals of the texts have one mode within each domain",
	"the residuals of the texts' least likely tokens have one mode within each domain",
	("the residuals of the texts' least likely tokens, against what the model expected, have one mode within each "
	 "domain"),
	"the residuals of the texts by their compressed size have one mode within each domain",
};
const char *const mm_leak_side_unit[MM_LEAK_SIDES] = { "nats per text", "nats per text",
	"nats per token, of the 20 % least likely", "standard deviations, of the 20 % least likely tokens",
	"nats per byte of the compressed text" };

/* Share of both variances below which another model is the same one (another dtype, saved again): it would predict the
 * gain too. */
#define COPY	      1e-5
#define STRANGERS_MIN 4
#define SEED	      20230929

/* Shares of the parts in the combined p-value. */
static const double side_weight[MM_LEAK_SIDES] = { 0.2, 0.2, 0.2, 0.2, 0.1 };
static const double sign_weight[MM_LEAK_SIGNS] = { [MM_LEAK_CONTROL] = 0.08, [MM_LEAK_LEVEL] = 0.02 };

struct sorted {
	double d;
	size_t i;
};

static int cmp_sorted(const void *p, const void *q)
{
	const struct sorted *a = p, *b = q;
	return a->d < b->d ? -1 : a->d > b->d ? 1 : a->i < b->i ? -1 : a->i > b->i;
}

/* The usable models by distance, copies left out. */
static size_t candidates(const struct mm_leak_input *in, size_t self, const double *dist, struct sorted *s)
{
	double mean, var, own;
	size_t n = 0;
	mm_row_moments(in->m->row[self], in->m->n, MM_NO_CLIP, &mean, &own);
	for (size_t i = 0; i < in->m->k; i++) {
		if (i == self || (in->usable && !in->usable[i]))
			continue;
		mm_row_moments(in->m->row[i], in->m->n, MM_NO_CLIP, &mean, &var);
		if (dist[i] > COPY * (own + var))
			s[n++] = (struct sorted){ dist[i], i };
	}
	qsort(s, n, sizeof(*s), cmp_sorted);
	return n;
}

/* The same rows for each byte of the compressed texts; the last one is y. Caller frees. */
static float *by_size(const struct mm_mat *x, const float *y, const double *size, const float **row, struct mm_err *err)
{
	float *v = mm_calloc((x->k + 1) * x->n, sizeof(*v), err);
	for (size_t i = 0; v && i <= x->k; i++) {
		const float *from = i < x->k ? x->row[i] : y;
		for (size_t s = 0; s < x->n; s++)
			v[i * x->n + s] = (float)((double)from[s] / size[s]);
		row[i] = v + i * x->n;
	}
	return v;
}

static int one_side(const struct mm_leak_input *in, int side, const float *y, struct mm_mat *x, const float **row,
	struct mm_leak_mix *mix, double *r, double *post, struct mm_err *err)
{
	float *scaled = NULL;
	if (side == MM_LEAK_COMPRESSED) {
		if (!(scaled = by_size(x, y, in->size, row, err)))
			return -1;
		y = row[x->k];
	}
	int rc = mm_leak_residual(x, y, SEED, r, err);
	mm_free(scaled);
	if (rc)
		return -1;
	if (in->domain && mm_leak_centre(r, in->m->n, in->domain, in->n_domain, err))
		return -1;
	return mm_leak_mixture(r, in->m->n, mix, post, err);
}

/* What a side looks at in each model. */
static const float *const *rows_of(const struct mm_leak_input *in, int side)
{
	return side == MM_LEAK_MEMORISED ? in->mink : side == MM_LEAK_MEMORISED_PP ? in->mink_pp : in->m->row;
}

/* The predictors of a side, nearest first; 0: too few, or the same as another side's. */
static size_t predictors(const struct mm_leak_input *in, size_t self, int side, const struct sorted *s, size_t n_cand,
	size_t n_relatives, const float **row)
{
	/* more predictors than a tenth of the texts leave too few degrees of freedom */
	size_t most = MM_MIN((size_t)MM_LEAK_PREDICTORS, in->m->n / 10), n = 0;
	const float *const *of = rows_of(in, side);
	if (!of || !of[self] || (side == MM_LEAK_COMPRESSED && !in->size))
		return 0;
	for (size_t i = 0; i < n_cand && n < most; i++) {
		size_t j = s[i].i;
		if (!of[j] || (side == MM_LEAK_STRANGERS && (!in->group || in->group[j] == in->group[self])))
			continue;
		row[n++] = of[j];
	}
	if (side == MM_LEAK_STRANGERS)
		return n < STRANGERS_MIN || (n == n_relatives && n < most) ? 0 : n;
	return n < MM_LEAK_MIN_PREDICTORS ? 0 : n;
}

/* How much more the suspects gained than the others, by the residuals of the log-likelihoods. */
static double gain_of(const double *r, const double *post, size_t n)
{
	double in = 0, in_w = 0, out = 0, out_w = 0;
	for (size_t s = 0; s < n; s++) {
		in += post[s] * r[s];
		in_w += post[s];
		out += (1 - post[s]) * r[s];
		out_w += 1 - post[s];
	}
	return in_w > 0 && out_w > 0 ? in / in_w - out / out_w : 0;
}

int mm_leak_test(const struct mm_leak_input *in, size_t self, struct mm_leak_test *out, double *residual,
	double *posterior, struct mm_err *err)
{
	size_t k = in->m->k, n = in->m->n;
	int rc = -1;
	memset(out, 0, sizeof(*out));
	memset(residual, 0, n * sizeof(*residual));
	memset(posterior, 0, n * sizeof(*posterior));
	out->p_all = 1;
	for (int side = 0; side < MM_LEAK_SIDES; side++)
		out->p[side] = 1;
	if (n < MM_LEAK_MIN_TEXTS)
		return 0;
	double *dist = mm_calloc(k + 3 * n, sizeof(*dist), err), *r = dist ? dist + k : NULL;
	double *contrast = dist ? r + 2 * n : NULL; /* residuals of the first side: the unit of the gain */
	struct sorted *s = dist ? mm_calloc(k, sizeof(*s), err) : NULL;
	const float **row = s ? mm_calloc(k + 1, sizeof(*row), err) : NULL;
	if (!row)
		goto out;
	mm_dist_row(in->m, in->m->row[self], MM_NO_CLIP, dist);
	size_t n_cand = candidates(in, self, dist, s);
	double best = -1;
	for (int side = 0; side < MM_LEAK_SIDES; side++) {
		size_t n_row = predictors(in, self, side, s, n_cand, out->n_predictors[MM_LEAK_RELATIVES], row);
		struct mm_mat x = { row, n_row, n };
		if (!n_row)
			continue;
		if (one_side(in, side, rows_of(in, side)[self], &x, row, &out->mix[side], r, r + n, err))
			goto out;
		out->known[side] = true;
		out->n_predictors[side] = n_row;
		if (side == MM_LEAK_RELATIVES)
			memcpy(contrast, r, n * sizeof(*r));
		if (out->mix[side].llr <= best)
			continue;
		best = out->mix[side].llr;
		out->best = (enum mm_leak_side)side;
		memcpy(residual, r, n * sizeof(*r));
		memcpy(posterior, r + n, n * sizeof(*r));
	}
	out->gain = gain_of(out->best == MM_LEAK_STRANGERS ? residual : contrast, posterior, n);
	rc = 0;
out:
	mm_free(row);
	mm_free(s);
	mm_free(dist);
	return rc;
}

/* Factor for model i: among the others' statistics of the same side. */
static double factor_of(
	const struct mm_leak_test *t, const bool *leaked, size_t k, size_t i, int side, double *v, struct mm_err *err)
{
	size_t n = 0;
	for (size_t j = 0; j < k; j++)
		if (j != i && t[j].known[side] && !(leaked && leaked[j]))
			v[n++] = t[j].mix[side].llr;
	return mm_leak_inflation(v, n, err);
}

static int decide_one(struct mm_leak_test *t, const bool *leaked, size_t k, size_t i, double *v, struct mm_err *err)
{
	double p[MM_LEAK_SIDES + MM_LEAK_SIGNS], w[MM_LEAK_SIDES + MM_LEAK_SIGNS];
	size_t n = 0;
	for (int side = 0; side < MM_LEAK_SIDES; side++) {
		t[i].p[side] = 1;
		if (!t[i].known[side])
			continue;
		double lambda = factor_of(t, leaked, k, i, side, v, err);
		if (lambda < 0)
			return -1;
		p[n] = t[i].p[side] = mm_leak_p(t[i].mix[side].llr, lambda);
		w[n++] = side_weight[side];
	}
	for (int s = 0; s < MM_LEAK_SIGNS; s++)
		if (t[i].sign[s].known) {
			p[n] = t[i].sign[s].p;
			w[n++] = sign_weight[s];
		}
	t[i].p_all = mm_leak_combine(p, w, n);
	return 0;
}

int mm_leak_decide(struct mm_leak_test *t, const bool *leaked, size_t k, struct mm_err *err)
{
	double *v = mm_calloc(k + 1, sizeof(*v), err);
	int rc = v ? 0 : -1;
	for (size_t i = 0; i < k && rc == 0; i++)
		rc = decide_one(t, leaked, k, i, v, err);
	mm_free(v);
	return rc;
}

bool mm_leak_matters(const struct mm_leak_test *t, size_t n_suspects, double mean_bytes)
{
	return t->mix[t->best].separation >= MM_LEAK_MIN_SEPARATION && t->gain >= MM_LEAK_MIN_GAIN * mean_bytes &&
	       n_suspects >= MM_LEAK_MIN_SUSPECTS;
}
