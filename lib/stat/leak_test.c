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

int mm_leak_decide(struct mm_leak_test *t, const bool *leaked, size_t k, struct mm_err *err)
{
	double *v = mm_calloc(k + 1, sizeof(*v), err);
	if (!v)
		return -1;
	for (size_t i = 0; i < k; i++) {
		double p[MM_LEAK_SIDES];
		size_t n_p = 0;
		for (int side = 0; side < MM_LEAK_SIDES; side++) {
			size_t n = 0;
			t[i].p[side] = 1;
			if (!t[i].known[side])
				continue;
			for (size_t j = 0; j < k; j++)
				if (j != i && t[j].known[side] && !(leaked && leaked[j]))
					v[n++] = t[j].mix[side].llr;
			double lambda = mm_leak_inflation(v, n, err);
			if (lambda < 0) {
				mm_free(v);
				return -1;
			}
			p[n_p++] = t[i].p[side] = mm_leak_p(t[i].mix[side].llr, lambda);
		}
		t[i].p_all = n_p ? mm_leak_combine(p, n_p) : 1;
	}
	mm_free(v);
	return 0;
}

bool mm_leak_matters(const struct mm_leak_mix *mix, size_t n_suspects, double mean_bytes)
{
	return mix->separation >= MM_LEAK_MIN_SEPARATION && mix->gain >= MM_LEAK_MIN_GAIN * mean_bytes &&
	       n_suspects >= MM_LEAK_MIN_SUSPECTS;
}
