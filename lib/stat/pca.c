/* pca.c: principal components from the Gram matrix.
 *
 * With K models and N texts, K << N, the K x K matrix B = Q Q^T / N has the same spectrum as the N x N covariance, and
 * double centring of the squared distances gives it without touching the vectors again: B = -1/2 J D J. Then
 *
 *	B u_d = w_d u_d		coord[i, d] = u_d[i] sqrt(w_d)		axis_d = Q^T u_d / |Q^T u_d|
 *	place(x)[d] = axis_d . q(x) / sqrt(N)			q(x) = clip(x) - its mean - (column means - their mean)
 *
 * so coordinates are in sqrt(nats per text) and squared distances on the map tend to two_kl. Small K: all eigenvalues
 *by LAPACK. Large K: the leading ones by block subspace iteration, since a full decomposition grows with K^3. */
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

#define PAR_MIN ((size_t)1 << 20)
/* Eigenvalues below this share of the largest are rounding: their axes are 0. D is stored in f32, hence not smaller. */
#define RANK_EPS 1e-9
/* Up to here all eigenvalues are computed. */
#define FULL_MAX 400

/* B = -1/2 J D J, [k, k]. */
static void gram_of(const struct mm_tri *t, double *b)
{
	size_t k = t->k;
	double grand = 0;
	double *mean = b + k * k; /* [k] behind the matrix */
#pragma omp parallel for schedule(static) if (k * k >= PAR_MIN) num_threads((int)mm_threads())
	for (size_t i = 0; i < k; i++) {
		double sum = 0;
		for (size_t j = 0; j < i; j++)
			sum += b[i * k + j] = (double)t->row[i][j];
		b[i * k + i] = 0;
		for (size_t j = i + 1; j < k; j++)
			sum += b[i * k + j] = (double)t->row[j][i];
		mean[i] = sum / (double)k;
	}
	for (size_t i = 0; i < k; i++)
		grand += mean[i];
	grand /= (double)k;
#pragma omp parallel for schedule(static) if (k * k >= PAR_MIN) num_threads((int)mm_threads())
	for (size_t i = 0; i < k; i++)
		for (size_t j = 0; j < k; j++)
			b[i * k + j] = -0.5 * (b[i * k + j] - mean[i] - mean[j] + grand);
}

/* ---- leading eigenpairs by subspace iteration ---- */

/* Orthonormal rows of v[r, k] by Gram-Schmidt, twice (once loses digits); a row that vanishes becomes 0. */
static void orthonormalise(double *v, size_t r, size_t k)
{
	for (size_t i = 0; i < r; i++) {
		double before = 0, after = 0;
		for (size_t s = 0; s < k; s++)
			before += v[i * k + s] * v[i * k + s];
		for (int pass = 0; pass < 2; pass++) {
			for (size_t j = 0; j < i; j++) {
				double dot = 0;
				for (size_t s = 0; s < k; s++)
					dot += v[i * k + s] * v[j * k + s];
				for (size_t s = 0; s < k; s++)
					v[i * k + s] -= dot * v[j * k + s];
			}
		}
		for (size_t s = 0; s < k; s++)
			after += v[i * k + s] * v[i * k + s];
		double f = after > 1e-28 * before && after > 0 ? 1 / sqrt(after) : 0;
		for (size_t s = 0; s < k; s++)
			v[i * k + s] *= f;
	}
}

/* Rayleigh-Ritz: v[r, k] orthonormal, y = v B; turns v into the Ritz vectors, w descending. */
static int ritz(const double *b, double *v, double *y, double *h, double *w, size_t r, size_t k, struct mm_err *err)
{
	mm_dgemm(false, false, r, k, k, 1, v, k, b, k, 0, y, k);
	mm_dgemm(false, true, r, r, k, 1, v, k, y, k, 0, h, r);
	if (mm_dsyevd(r, h, w, err))
		return -1;
	mm_dgemm(false, false, r, k, r, 1, h, r, v, k, 0, y, k); /* ascending order */
	for (size_t i = 0; i < r; i++)
		memcpy(v + i * k, y + (r - 1 - i) * k, k * sizeof(*v));
	for (size_t i = 0; i < r / 2; i++) {
		double tmp = w[i];
		w[i] = w[r - 1 - i];
		w[r - 1 - i] = tmp;
	}
	return 0;
}

/* The `want` leading eigenpairs of b[k, k]: rows of u, w descending. Seeded, so the same bits every time. */
static int leading(const double *b, size_t k, size_t want, double *u, double *w, struct mm_err *err)
{
	size_t r = MM_MIN(k, want + want / 2 + 16);
	double *v = mm_calloc(2 * r * k + r * r + 2 * r, sizeof(*v), err);
	if (!v)
		return -1;
	double *y = v + r * k, *h = y + r * k, *val = h + r * r, *old = val + r;
	struct mm_rng rng;
	int rc = 0;
	mm_rng_init(&rng, 0x70ca);
	for (size_t i = 0; i < r * k; i++)
		v[i] = mm_rng_normal(&rng);
	for (int it = 0; it < 60 && rc == 0; it++) {
		orthonormalise(v, r, k);
		if (ritz(b, v, y, h, val, r, k, err)) {
			rc = -1;
			break;
		}
		double worst = 0;
		for (size_t i = 0; i < want; i++)
			worst = fmax(worst, fabs(val[i] - old[i]) / (fabs(val[0]) + 1e-300));
		memcpy(old, val, r * sizeof(*old));
		if (it > 0 && worst < 1e-12)
			break;
		/* two multiplications a round: one orthonormalisation pays for both */
		mm_dgemm(false, false, r, k, k, 1, v, k, b, k, 0, y, k);
		mm_dgemm(false, false, r, k, k, 1, y, k, b, k, 0, v, k);
		for (size_t i = 0; i < r; i++) { /* no overflow in the norms */
			double f = fabs(val[i]) > 0 ? 1 / (val[i] * val[i]) : 1;
			for (size_t s = 0; s < k; s++)
				v[i * k + s] *= f;
		}
	}
	memcpy(u, v, want * k * sizeof(*u));
	memcpy(w, val, want * sizeof(*w));
	mm_free(v);
	return rc;
}

static int full(double *b, size_t k, size_t want, double *u, double *w, struct mm_err *err)
{
	double *val = mm_calloc(k, sizeof(*val), err);
	if (!val)
		return -1;
	int rc = mm_dsyevd(k, b, val, err);
	for (size_t i = 0; i < want && rc == 0; i++) {
		w[i] = val[k - 1 - i];
		memcpy(u + i * k, b + (k - 1 - i) * k, k * sizeof(*u));
	}
	mm_free(val);
	return rc;
}

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

static int fit(struct mm_pca *p, const struct mm_mat *m, const struct mm_tri *dist, struct mm_err *err)
{
	size_t k = m->k, have = MM_MIN(k, (size_t)MM_PCA_VAR_MAX), rc = 0;
	have = MM_MAX(have, MM_MIN(k, p->dims));
	double *b = mm_calloc(k * k + k, sizeof(*b), err), *u = b ? mm_calloc(have * k + have, sizeof(*u), err) : NULL;
	double *sum = u ? mm_calloc(p->dims * m->n, sizeof(*sum), err) : NULL;
	if (!sum) {
		mm_free(u);
		mm_free(b);
		return -1;
	}
	double *w = u + have * k, *uu = u;
	gram_of(dist, b);
	for (size_t i = 0; i < k; i++)
		p->total_var += b[i * k + i];
	p->total_var /= (double)k;
	if (k <= FULL_MAX || have * 4 > k ? full(b, k, have, u, w, err) : leading(b, k, have, u, w, err)) {
		rc = 1;
		goto out;
	}
	shares(p, w, have);
	mm_free(b);
	b = NULL;
	for (size_t d = have; d < p->dims; d++) /* asked for more than there can be: no vector, no axis */
		uu = NULL;
	for (size_t d = 0; d < MM_MIN(have, p->dims); d++) {
		bool none = !(w[d] > RANK_EPS * w[0]) || !(p->total_var > 0);
		fix_sign(u + d * k, k);
		for (size_t i = 0; i < k; i++) {
			if (none)
				u[d * k + i] = 0;
			p->coord[i * p->dims + d] = none ? 0 : u[d * k + i] * sqrt(w[d]);
		}
	}
	if (!uu) {
		double *wide = mm_calloc(p->dims * k, sizeof(*wide), err);
		if (!wide) {
			rc = 1;
			goto out;
		}
		memcpy(wide, u, have * k * sizeof(*u));
		mm_free(u);
		u = wide;
	}
	make_axes(p, m, u, sum);
out:
	mm_free(sum);
	mm_free(u);
	mm_free(b);
	return rc ? -1 : 0;
}

int mm_pca_fit(struct mm_pca *p, const struct mm_mat *m, const struct mm_tri *dist, double clip, size_t dims,
	struct mm_err *err)
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
	if (!p->coord || fit(p, m, dist, err)) {
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
