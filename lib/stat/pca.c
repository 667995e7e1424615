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

struct space {
	const double *b; /* [k, k] */
	size_t k, r;	 /* r: vectors carried along, more than are wanted */
	double *v, *y;	 /* [r, k] vectors, their images */
	double *tmp;	 /* [r, k] */
	double *h;	 /* [r, r] */
	double *val;	 /* [r] descending after ritz */
};

/* Rows i of h are eigenvectors in ascending order: out = the same combinations of the rows of x, largest first. */
static void combine(const struct space *s, const double *x, double *out)
{
	mm_dgemm(false, false, s->r, s->k, s->r, 1, s->h, s->r, x, s->k, 0, out, s->k);
	for (size_t i = 0; i < s->r / 2; i++)
		for (size_t j = 0; j < s->k; j++) {
			double t = out[i * s->k + j];
			out[i * s->k + j] = out[(s->r - 1 - i) * s->k + j];
			out[(s->r - 1 - i) * s->k + j] = t;
		}
}

/* v = (v v^T)^-1/2 v up to a rotation; what vanishes becomes 0. */
static int orthonormalise(struct space *s, struct mm_err *err)
{
	mm_dgemm(false, true, s->r, s->r, s->k, 1, s->v, s->k, s->v, s->k, 0, s->h, s->r);
	if (mm_dsyevd(s->r, s->h, s->val, err))
		return -1;
	double top = s->val[s->r - 1];
	for (size_t i = 0; i < s->r; i++) {
		double f = s->val[i] > 1e-14 * top && top > 0 ? 1 / sqrt(s->val[i]) : 0;
		for (size_t j = 0; j < s->r; j++)
			s->h[i * s->r + j] *= f;
	}
	combine(s, s->v, s->tmp);
	memcpy(s->v, s->tmp, s->r * s->k * sizeof(double));
	return 0;
}

/* v becomes the Ritz vectors of its span, y their images, val their values. */
static int ritz(struct space *s, struct mm_err *err)
{
	mm_dgemm(false, true, s->r, s->k, s->k, 1, s->v, s->k, s->b, s->k, 0, s->y, s->k); /* b is symmetric */
	mm_dgemm(false, true, s->r, s->r, s->k, 1, s->v, s->k, s->y, s->k, 0, s->h, s->r);
	if (mm_dsyevd(s->r, s->h, s->val, err))
		return -1;
	for (size_t i = 0; i < s->r / 2; i++) {
		double t = s->val[i];
		s->val[i] = s->val[s->r - 1 - i];
		s->val[s->r - 1 - i] = t;
	}
	combine(s, s->v, s->tmp);
	memcpy(s->v, s->tmp, s->r * s->k * sizeof(double));
	combine(s, s->y, s->tmp);
	memcpy(s->y, s->tmp, s->r * s->k * sizeof(double));
	return 0;
}

/* The `want` leading eigenpairs of b[k, k]: rows of u, w descending. The first `exact` converge to rounding; the others
 * serve the shares of variance and are good to a few digits. Seeded, so the same bits every time. */
static int leading(const double *b, size_t k, size_t want, size_t exact, double *u, double *w, struct mm_err *err)
{
	struct space s = { .b = b, .k = k, .r = MM_MIN(k, want + 16) };
	struct mm_rng rng;
	double old[MM_PCA_VAR_MAX] = { 0 };
	int rc = -1;
	s.v = mm_calloc(3 * s.r * k + s.r * s.r + s.r, sizeof(double), err);
	if (!s.v)
		return -1;
	s.y = s.v + s.r * k;
	s.tmp = s.y + s.r * k;
	s.h = s.tmp + s.r * k;
	s.val = s.h + s.r * s.r;
	mm_rng_init(&rng, 0x70ca);
	for (size_t i = 0; i < s.r * k; i++)
		s.v[i] = mm_rng_normal(&rng);
	for (int it = 0; it < 40; it++) {
		if (orthonormalise(&s, err) || ritz(&s, err))
			goto out;
		double worst = 0;
		for (size_t i = 0; i < MM_MIN(want, (size_t)MM_PCA_VAR_MAX); i++) {
			double change = fabs(s.val[i] - old[i]) / (fabs(s.val[0]) + 1e-300);
			worst = fmax(worst, i < exact ? change : change * 1e-8);
			old[i] = s.val[i];
		}
		if (it > 0 && worst < 1e-13)
			break;
		/* once more: the images of the images */
		mm_dgemm(false, true, s.r, k, k, 1, s.y, k, b, k, 0, s.v, k);
		for (size_t i = 0; i < s.r; i++) { /* no overflow in the norms */
			double f = s.val[i] != 0 ? 1 / (s.val[i] * s.val[i]) : 1;
			for (size_t j = 0; j < k; j++)
				s.v[i * k + j] *= f;
		}
	}
	memcpy(u, s.v, want * k * sizeof(*u));
	memcpy(w, s.val, want * sizeof(*w));
	rc = 0;
out:
	mm_free(s.v);
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
	if (k <= FULL_MAX || have * 4 > k ? full(b, k, have, u, w, err)
					  : leading(b, k, have, MM_MIN(have, p->dims), u, w, err)) {
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
