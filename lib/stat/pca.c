/* pca.c: principal components from the Gram matrix.
 *
 * With K models and N texts, K << N, the K x K matrix B = Q Q^T / N has the same spectrum as the N x N covariance, and
 * double centring of the squared distances gives it without touching the vectors again: B = -1/2 J D J. Then
 *
 *	B u_d = w_d u_d		coord[i, d] = u_d[i] sqrt(w_d)		axis_d = Q^T u_d / |Q^T u_d|
 *	place(x)[d] = axis_d . q(x) / sqrt(N)			q(x) = clip(x) - its mean - (column means - their mean)
 *
 * so coordinates are in sqrt(nats per text) and squared distances on the map tend to two_kl. */
#include "stat/stat_eig.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

#define PAR_MIN ((size_t)1 << 20)
/* Eigenvalues below this share of the largest are rounding: their axes are 0. D is stored in f32, hence not smaller. */
#define RANK_EPS 1e-9

/* ---- the basis ---- */

/* Signs are arbitrary: the coordinate of largest size is made positive, so that equal inputs look equal. */
static void fix_sign(double *u, size_t k)
{
	size_t at = 0;
	for (size_t i = 1; i < k; i++)
		if (fabs(u[i]) > fabs(u[at]) * (1 + 1e-12))
			at = i;
	if (u[at] >= 0)
		return;
	for (size_t i = 0; i < k; i++)
		u[i] = -u[i];
}

/* axis[d, n]: sums over the models in their order, one thread for a block of texts. */
static void make_axes(struct mm_pca *p, const struct mm_mat *m, const double *u, double *sum)
{
	size_t n = m->n, block = 512, n_block = (n + block - 1) / block;
#pragma omp parallel for schedule(static) if (m->k * n >= PAR_MIN) num_threads((int)mm_threads())
	for (size_t b = 0; b < n_block; b++) {
		size_t at = b * block, end = MM_MIN(n, at + block);
		for (size_t d = 0; d < p->dims; d++)
			for (size_t i = 0; i < m->k; i++) {
				double f = u[d * m->k + i];
				for (size_t s = at; s < end; s++) {
					double v = m->row[i][s];
					sum[d * n + s] += f * ((v > p->clip ? v : p->clip) - p->col_mean[s]);
				}
			}
	}
	for (size_t d = 0; d < p->dims; d++) {
		double mean = 0, norm = 0, *a = sum + d * n;
		for (size_t s = 0; s < n; s++)
			mean += a[s];
		mean /= (double)n;
		for (size_t s = 0; s < n; s++) {
			a[s] -= mean; /* the row means of q: constants drop out of every projection */
			norm += a[s] * a[s];
		}
		double f = norm > 0 ? 1 / sqrt(norm) : 0;
		for (size_t s = 0; s < n; s++)
			p->axis[d * n + s] = (float)(a[s] * f);
	}
}

static void shares(struct mm_pca *p, const double *w, size_t have)
{
	double cum = 0;
	for (size_t d = 0; d < have && p->total_var > 0; d++) {
		double share = fmax(w[d], 0) / (p->total_var * (double)p->k);
		if (p->n_ratio < MM_PCA_VAR_MAX && share > RANK_EPS)
			p->ratio[p->n_ratio++] = share;
		cum += share;
		if (!p->dims90 && cum >= 0.90)
			p->dims90 = d + 1;
		if (!p->dims95 && cum >= 0.95)
			p->dims95 = d + 1;
	}
}

/* Coordinates from the eigenpairs; an axis beyond the rank is 0. */
static void coordinates(struct mm_pca *p, double *u, const double *w, size_t have)
{
	size_t k = p->k;
	for (size_t d = 0; d < MM_MIN(have, p->dims); d++) {
		bool none = !(w[d] > RANK_EPS * w[0]) || !(p->total_var > 0);
		fix_sign(u + d * k, k);
		for (size_t i = 0; i < k; i++) {
			if (none)
				u[d * k + i] = 0;
			p->coord[i * p->dims + d] = none ? 0 : u[d * k + i] * sqrt(w[d]);
		}
	}
}

static int fit(struct mm_pca *p, const struct mm_mat *m, const struct mm_tri *dist, const _Atomic bool *cancel,
	struct mm_err *err)
{
	size_t k = m->k, have = MM_MAX(MM_MIN(k, (size_t)MM_PCA_VAR_MAX), MM_MIN(k, p->dims)),
	       rows = MM_MAX(have, p->dims);
	struct mm_gram g;
	int rc = -1;
	if (mm_gram_init(&g, dist, err))
		return -1;
	/* rows beyond `have` stay 0: asked for more than there can be */
	double *u = mm_calloc(rows * k + have, sizeof(*u), err), *w = u + rows * k;
	double *sum = u ? mm_calloc(p->dims * m->n, sizeof(*sum), err) : NULL;
	if (!sum)
		goto out;
	g.cancel = cancel;
	p->total_var = fmax(g.trace, 0) / (double)k;
	if (mm_gram_leading(&g, have, MM_MIN(have, p->dims), u, w, err))
		goto out;
	mm_gram_fini(&g);
	shares(p, w, have);
	coordinates(p, u, w, have);
	make_axes(p, m, u, sum);
	rc = 0;
out:
	mm_gram_fini(&g);
	mm_free(sum);
	mm_free(u);
	return rc;
}

int mm_pca_fit(struct mm_pca *p, const struct mm_mat *m, const struct mm_tri *dist, double clip, size_t dims,
	struct mm_err *err)
{
	return mm_pca_fit_until(p, m, dist, clip, dims, NULL, err);
}

int mm_pca_fit_until(struct mm_pca *p, const struct mm_mat *m, const struct mm_tri *dist, double clip, size_t dims,
	const _Atomic bool *cancel, struct mm_err *err)
{
	memset(p, 0, sizeof(*p));
	if (dims == 0 || dims > 1000)
		return mm_fail(err, MM_EINVAL, "%zu dimensions asked for", dims);
	if (dist->k != m->k)
		return mm_fail(err, MM_EINVAL, "distances of %zu models for %zu rows", dist->k, m->k);
	if (mm_mat_check(m, err))
		return -1;
	p->k = m->k;
	p->n = m->n;
	p->dims = dims;
	p->clip = clip;
	p->col_mean = mm_calloc(m->n, sizeof(*p->col_mean), err);
	p->axis = p->col_mean ? mm_calloc(dims * m->n, sizeof(*p->axis), err) : NULL;
	p->coord = p->axis ? mm_calloc(m->k * dims, sizeof(*p->coord), err) : NULL;
	if (p->coord)
		mm_col_means(m, clip, p->col_mean);
	if (!p->coord || fit(p, m, dist, cancel, err)) {
		mm_pca_fini(p);
		return -1;
	}
	return 0;
}

void mm_pca_fini(struct mm_pca *p)
{
	mm_free(p->col_mean);
	mm_free(p->axis);
	mm_free(p->coord);
	memset(p, 0, sizeof(*p));
}

void mm_pca_place(const struct mm_pca *p, const float *x, double *coord)
{
	/* The axes sum to 0, so the means of x and of the column means need not be taken off. */
	for (size_t d = 0; d < p->dims; d++) {
		const float *a = p->axis + d * p->n;
		double part[LANES] = { 0 };
		for (size_t s = 0; s < p->n; s++) {
			double v = x[s];
			part[s % LANES] += (double)a[s] * ((v > p->clip ? v : p->clip) - p->col_mean[s]);
		}
		coord[d] = p->n ? lanes_sum(part) / sqrt((double)p->n) : 0;
	}
}
