/* leak_test.c: one model against the others: who predicts it, from two sides; the p-values of many. */
#include "stat/stat_leak.h"
#include "stat/stat_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const mm_leak_side_name[MM_LEAK_SIDES] = { "contrast_relatives", "contrast_strangers" };

/* Share of both variances below which another model is the same one (another dtype, saved again): it would predict the
 * gain too. */
#define COPY	      1e-5
#define STRANGERS_MIN 4
#define SEED	      20230929

/* Of the parts in the combined p-value: what the contrast loses by the others' company is a factor of 1.25. */
#define WEIGHT_SIDE 0.4
static const double sign_weight[MM_LEAK_SIGNS] = {
	[MM_LEAK_MEMORISED] = 0.1, [MM_LEAK_CONTROL] = 0.08, [MM_LEAK_LEVEL] = 0.02
};

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

static int one_side(const struct mm_leak_input *in, size_t self, const struct mm_mat *x, struct mm_leak_mix *mix,
	double *r, double *post, struct mm_err *err)
{
	if (mm_leak_residual(x, in->m->row[self], SEED, r, err))
		return -1;
	if (in->domain && mm_leak_centre(r, in->m->n, in->domain, in->n_domain, err))
		return -1;
	return mm_leak_mixture(r, in->m->n, mix, post, err);
}

int mm_leak_test(const struct mm_leak_input *in, size_t self, struct mm_leak_test *out, double *residual,
	double *posterior, struct mm_err *err)
{
	size_t k = in->m->k, n = in->m->n, n_row;
	int rc = -1;
	memset(out, 0, sizeof(*out));
	memset(residual, 0, n * sizeof(*residual));
	memset(posterior, 0, n * sizeof(*posterior));
	out->p_all = out->p[0] = out->p[1] = 1;
	if (n < MM_LEAK_MIN_TEXTS)
		return 0;
	double *dist = mm_calloc(k + 2 * n, sizeof(*dist), err), *r = dist ? dist + k : NULL;
	struct sorted *s = dist ? mm_calloc(k, sizeof(*s), err) : NULL;
	const float **row = s ? mm_calloc(k, sizeof(*row), err) : NULL;
	if (!row)
		goto out;
	mm_dist_row(in->m, in->m->row[self], MM_NO_CLIP, dist);
	size_t n_cand = candidates(in, self, dist, s);
	double best = -1;
	for (int side = 0; side < MM_LEAK_SIDES; side++) {
		n_row = 0;
		/* more predictors than a tenth of the texts leave too few degrees of freedom */
		size_t most = MM_MIN((size_t)MM_LEAK_PREDICTORS, n / 10);
		for (size_t i = 0; i < n_cand && n_row < most; i++)
			if (side == MM_LEAK_RELATIVES || (in->group && in->group[s[i].i] != in->group[self]))
				row[n_row++] = in->m->row[s[i].i];
		out->n_predictors[side] = n_row;
		/* strangers that are all there is are the first side again */
		if (n_row < (side ? STRANGERS_MIN : MM_LEAK_MIN_PREDICTORS) ||
			(side && n_row == out->n_predictors[MM_LEAK_RELATIVES] && n_row < most))
			continue;
		struct mm_mat x = { row, n_row, n };
		if (one_side(in, self, &x, &out->mix[side], r, r + n, err))
			goto out;
		out->known[side] = true;
		if (out->mix[side].llr <= best)
			continue;
		best = out->mix[side].llr;
		out->best = (enum mm_leak_side)side;
		memcpy(residual, r, n * sizeof(*r));
		memcpy(posterior, r + n, n * sizeof(*r));
	}
	rc = 0;
out:
	mm_free(row);
	mm_free(s);
	mm_free(dist);
	return rc;
}

int mm_leak_memorised(const struct mm_leak_input *in, const float *const *mink, size_t self,
	struct mm_leak_sign_result *out, struct mm_err *err)
{
	size_t k = in->m->k, n = in->m->n, n_row = 0, most = MM_MIN((size_t)MM_LEAK_PREDICTORS, n / 10);
	struct mm_leak_mix mix;
	int rc = -1;
	memset(out, 0, sizeof(*out));
	out->p = 1;
	if (n < MM_LEAK_MIN_TEXTS || !mink[self])
		return 0;
	double *dist = mm_calloc(k + n, sizeof(*dist), err);
	struct sorted *s = dist ? mm_calloc(k, sizeof(*s), err) : NULL;
	const float **row = s ? mm_calloc(k, sizeof(*row), err) : NULL;
	if (!row)
		goto out;
	mm_dist_row(in->m, in->m->row[self], MM_NO_CLIP, dist);
	size_t n_cand = candidates(in, self, dist, s);
	for (size_t i = 0; i < n_cand && n_row < most; i++)
		if (mink[s[i].i])
			row[n_row++] = mink[s[i].i];
	rc = 0;
	if (n_row < MM_LEAK_MIN_PREDICTORS)
		goto out;
	struct mm_mat x = { row, n_row, n };
	double *r = dist + k;
	rc = -1;
	if (mm_leak_residual(&x, mink[self], SEED, r, err) ||
		(in->domain && mm_leak_centre(r, n, in->domain, in->n_domain, err)) ||
		mm_leak_mixture(r, n, &mix, NULL, err))
		goto out;
	*out = (struct mm_leak_sign_result){
		.known = true, .statistic = mix.llr, .p = 1, .effect = mix.separation, .n = n_row
	};
	rc = 0;
out:
	mm_free(row);
	mm_free(s);
	mm_free(dist);
	return rc;
}

/* Factor for model i among the others' statistics at `side` (below MM_LEAK_SIDES) or of the memorised sign. */
static double factor_of(
	const struct mm_leak_test *t, const bool *leaked, size_t k, size_t i, int side, double *v, struct mm_err *err)
{
	size_t n = 0;
	for (size_t j = 0; j < k; j++) {
		const struct mm_leak_sign_result *s = &t[j].sign[MM_LEAK_MEMORISED];
		if (j == i || (leaked && leaked[j]))
			continue;
		if (side < MM_LEAK_SIDES && t[j].known[side])
			v[n++] = t[j].mix[side].llr;
		else if (side == MM_LEAK_SIDES && s->known)
			v[n++] = s->statistic;
	}
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
		w[n++] = WEIGHT_SIDE;
	}
	if (t[i].sign[MM_LEAK_MEMORISED].known) {
		double lambda = factor_of(t, leaked, k, i, MM_LEAK_SIDES, v, err);
		if (lambda < 0)
			return -1;
		t[i].sign[MM_LEAK_MEMORISED].p = mm_leak_p(t[i].sign[MM_LEAK_MEMORISED].statistic, lambda);
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

bool mm_leak_matters(const struct mm_leak_mix *mix, size_t n_suspects, double mean_bytes)
{
	return mix->separation >= MM_LEAK_MIN_SEPARATION && mix->gain >= MM_LEAK_MIN_GAIN * mean_bytes &&
	       n_suspects >= MM_LEAK_MIN_SUSPECTS;
}
