/* leak_resid.c: what the other models predict for each text, and what is left.
 *
 * The texts are laid out fold after fold, so that the Gram matrix of a fold is one product and that of its training
 * part a difference. The rows are centred over all texts first: the differences lose no digits. */
#include "stat/stat_leak.h"
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_PENALTY 21 /* half decades below the largest eigenvalue */

struct ridge {
	size_t k, n;	  /* predictors, texts */
	double *z;	  /* [k + 1, n] centred rows, the target last, columns fold after fold */
	uint32_t *text;	  /* [n] column -> text */
	double *gram;	  /* [k + 1, k + 1] over all texts */
	double *fold;	  /* [k + 1, k + 1] over the fold held out; then the training part */
	double *mean;	  /* [k + 1] of the training part */
	double *a, *w;	  /* [k, k] eigenvectors, [k] eigenvalues */
	double *c, *beta; /* [k] */
};

static void ridge_fini(struct ridge *f)
{
	mm_free(f->z);
	mm_free(f->text);
	mm_free(f->gram);
}

static int ridge_init(struct ridge *f, const struct mm_mat *x, const float *y, uint64_t seed, struct mm_err *err)
{
	size_t k = x->k, n = x->n, k1 = k + 1;
	struct mm_rng rng;
	memset(f, 0, sizeof(*f));
	f->k = k;
	f->n = n;
	f->text = mm_calloc(n, sizeof(*f->text), err);
	f->z = f->text ? mm_calloc(k1 * n, sizeof(*f->z), err) : NULL;
	f->gram = f->z ? mm_calloc(2 * k1 * k1 + k * k + k1 + 3 * k, sizeof(*f->gram), err) : NULL;
	if (!f->gram) {
		ridge_fini(f);
		return -1;
	}
	f->fold = f->gram + k1 * k1;
	f->a = f->fold + k1 * k1;
	f->mean = f->a + k * k;
	f->w = f->mean + k1;
	f->c = f->w + k;
	f->beta = f->c + k;
	for (size_t s = 0; s < n; s++)
		f->text[s] = (uint32_t)s;
	mm_rng_init(&rng, seed);
	for (size_t s = n; s > 1; s--) {
		size_t o = mm_rng_below(&rng, s);
		uint32_t t = f->text[s - 1];
		f->text[s - 1] = f->text[o];
		f->text[o] = t;
	}
	for (size_t i = 0; i < k1; i++) {
		const float *row = i < k ? x->row[i] : y;
		double sum = 0, *z = f->z + i * n;
		for (size_t s = 0; s < n; s++)
			sum += z[s] = (double)row[f->text[s]];
		for (size_t s = 0; s < n; s++)
			z[s] -= sum / (double)n;
	}
	mm_dgemm(false, true, k1, k1, n, 1, f->z, n, f->z, n, 0, f->gram, k1);
	return 0;
}

/* Coefficients of the training part with the penalty of the least generalised cross-validation error. */
static int solve(struct ridge *f, size_t n_train, struct mm_err *err)
{
	size_t k = f->k, k1 = k + 1;
	double best = INFINITY, at = 0, yy = f->fold[k1 * k1 - 1];
	for (size_t i = 0; i < k; i++)
		memcpy(f->a + i * k, f->fold + i * k1, k * sizeof(double));
	if (mm_dsyevd(k, f->a, f->w, err))
		return -1;
	for (size_t e = 0; e < k; e++) {
		f->w[e] = fmax(f->w[e], 0);
		f->c[e] = 0;
		for (size_t i = 0; i < k; i++)
			f->c[e] += f->a[e * k + i] * f->fold[k * k1 + i];
	}
	double top = fmax(f->w[k - 1], 1e-300);
	for (size_t l = 0; l < N_PENALTY; l++) {
		double pen = top * pow(10, -0.5 * (double)l), rss = yy, df = 1;
		for (size_t e = 0; e < k; e++) {
			double g = 1 / (f->w[e] + pen);
			rss -= (2 * g - f->w[e] * g * g) * f->c[e] * f->c[e];
			df += f->w[e] * g;
		}
		double free = (double)n_train - df;
		double gcv = free > 0.5 ? fmax(rss, 0) / (free * free) : INFINITY;
		if (gcv < best) {
			best = gcv;
			at = pen;
		}
	}
	at = at > 0 ? at : top;
	memset(f->beta, 0, k * sizeof(*f->beta));
	for (size_t e = 0; e < k; e++)
		for (size_t i = 0; i < k; i++)
			f->beta[i] += f->a[e * k + i] * f->c[e] / (f->w[e] + at);
	return 0;
}

static int one_fold(struct ridge *f, size_t from, size_t to, double *r, struct mm_err *err)
{
	size_t k = f->k, k1 = k + 1, n = f->n, n_train = n - (to - from);
	mm_dgemm(false, true, k1, k1, to - from, 1, f->z + from, n, f->z + from, n, 0, f->fold, k1);
	for (size_t i = 0; i < k1; i++) {
		double sum = 0;
		for (size_t s = from; s < to; s++)
			sum += f->z[i * n + s];
		f->mean[i] = -sum / (double)n_train; /* all of them sum to 0 */
	}
	for (size_t i = 0; i < k1; i++)
		for (size_t j = 0; j < k1; j++)
			f->fold[i * k1 + j] =
				f->gram[i * k1 + j] - f->fold[i * k1 + j] - (double)n_train * f->mean[i] * f->mean[j];
	if (solve(f, n_train, err))
		return -1;
	for (size_t s = from; s < to; s++) {
		double e = f->z[k * n + s] - f->mean[k];
		for (size_t i = 0; i < k; i++)
			e -= f->beta[i] * (f->z[i * n + s] - f->mean[i]);
		r[f->text[s]] = e;
	}
	return 0;
}

int mm_leak_residual(const struct mm_mat *x, const float *y, uint64_t seed, double *r, struct mm_err *err)
{
	struct ridge f;
	if (x->k < 1 || x->n < 2 * MM_LEAK_FOLDS)
		return mm_fail(err, MM_EINVAL, "residuals need a predictor and %d texts", 2 * MM_LEAK_FOLDS);
	if (ridge_init(&f, x, y, seed, err))
		return -1;
	int rc = 0;
	for (size_t i = 0; i < MM_LEAK_FOLDS && rc == 0; i++)
		rc = one_fold(&f, i * x->n / MM_LEAK_FOLDS, (i + 1) * x->n / MM_LEAK_FOLDS, r, err);
	ridge_fini(&f);
	return rc;
}

#define DOMAIN_MIN 10

int mm_leak_centre(double *r, size_t n, const uint32_t *domain, size_t n_domain, struct mm_err *err)
{
	double *v = mm_calloc(n + 1, sizeof(*v), err);
	if (!v)
		return -1;
	memcpy(v, r, n * sizeof(*v));
	qsort(v, n, sizeof(*v), mm_cmp_double);
	double all = n ? mm_sorted_quantile(v, n, 0.5) : 0;
	for (size_t c = 0; c < n_domain; c++) {
		size_t m = 0;
		for (size_t s = 0; s < n; s++)
			if (domain[s] == c)
				v[m++] = r[s];
		qsort(v, m, sizeof(*v), mm_cmp_double);
		double mid = m >= DOMAIN_MIN ? mm_sorted_quantile(v, m, 0.5) : all;
		for (size_t s = 0; s < n; s++)
			if (domain[s] == c)
				r[s] -= mid;
	}
	mm_free(v);
	return 0;
}
