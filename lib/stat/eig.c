/* eig.c: leading eigenpairs of the Gram matrix B = -1/2 J D J of a triangle of squared distances.
 *
 * Up to DENSE_MAX models B is written down in f64; above, where it would be larger than the vectors themselves, it is
 * only applied: D is read tile by tile, and the centring becomes corrections of rank one,
 *
 *	v B = -1/2 (v D - (v . m) 1' - (v . 1) (m - g)')	m: row means of D, g: their mean
 *
 * A block of output columns belongs to one thread, which adds up its tiles in order: the same bits for any number of
 * threads. */
#include "stat/stat_eig.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

#define PAR_MIN	  ((size_t)1 << 20)
#define DENSE_MAX 2500
#define TILE	  128
/* Up to here all eigenvalues are computed. */
#define FULL_MAX 400

static void row_means(struct mm_gram *g)
{
	const struct mm_tri *t = g->t;
	double sum = 0;
#pragma omp parallel for schedule(dynamic, 32) if (g->k * g->k >= PAR_MIN) num_threads((int)mm_threads())
	for (size_t i = 0; i < g->k; i++) {
		double row = 0;
		for (size_t j = 0; j < i; j++)
			row += (double)t->row[i][j];
		for (size_t j = i + 1; j < g->k; j++)
			row += (double)t->row[j][i];
		g->mean[i] = row / (double)g->k;
	}
	for (size_t i = 0; i < g->k; i++)
		sum += g->mean[i];
	g->grand = sum / (double)g->k;
}

int mm_gram_init(struct mm_gram *g, const struct mm_tri *t, struct mm_err *err)
{
	size_t k = t->k;
	memset(g, 0, sizeof(*g));
	g->t = t;
	g->k = k;
	g->mean = mm_calloc(k, sizeof(double), err);
	if (!g->mean)
		return -1;
	row_means(g);
	/* the diagonal of B is m_i - g/2, as D has none */
	for (size_t i = 0; i < k; i++)
		g->trace += g->mean[i] - 0.5 * g->grand;
	if (k > DENSE_MAX)
		return 0;
	g->b = mm_calloc(k * k, sizeof(double), err);
	if (!g->b) {
		mm_gram_fini(g);
		return -1;
	}
#pragma omp parallel for schedule(static) if (k * k >= PAR_MIN) num_threads((int)mm_threads())
	for (size_t i = 0; i < k; i++)
		for (size_t j = 0; j < k; j++)
			g->b[i * k + j] = -0.5 * (mm_tri_get(t, i, j) - g->mean[i] - g->mean[j] + g->grand);
	return 0;
}

void mm_gram_fini(struct mm_gram *g)
{
	mm_free(g->mean);
	mm_free(g->b);
	memset(g, 0, sizeof(*g));
}

/* y[r, J] = v D[:, J] for one block of columns; d[TILE, TILE] scratch. */
static void column_block(const struct mm_gram *g, const double *v, size_t r, size_t j0, double *y, double *d)
{
	size_t k = g->k, nj = MM_MIN((size_t)TILE, k - j0);
	for (size_t i0 = 0; i0 < k; i0 += TILE) {
		size_t ni = MM_MIN((size_t)TILE, k - i0);
		for (size_t i = 0; i < ni; i++)
			for (size_t j = 0; j < nj; j++)
				d[i * TILE + j] = mm_tri_get(g->t, i0 + i, j0 + j);
		mm_dgemm(false, false, r, nj, ni, 1, v + i0, k, d, TILE, i0 ? 1 : 0, y + j0, k);
	}
}

/* y = v B, both [r, k] */
static int apply(const struct mm_gram *g, const double *v, size_t r, double *y, struct mm_err *err)
{
	size_t k = g->k;
	int failed = 0;
	if (g->b) {
		mm_dgemm(false, true, r, k, k, 1, v, k, g->b, k, 0, y, k); /* b is symmetric */
		return 0;
	}
#pragma omp parallel num_threads((int)mm_threads())
	{
		struct mm_err mine;
		double *d = mm_calloc(TILE * TILE, sizeof(double), &mine);
		if (!d) {
#pragma omp atomic write
			failed = 1;
		}
#pragma omp for schedule(dynamic, 1)
		for (size_t j0 = 0; j0 < k; j0 += TILE)
			if (d)
				column_block(g, v, r, j0, y, d);
		mm_free(d);
	}
	for (size_t a = 0; a < r; a++) {
		double one = 0, vm = 0;
		for (size_t i = 0; i < k; i++) {
			one += v[a * k + i];
			vm += v[a * k + i] * g->mean[i];
		}
		for (size_t j = 0; j < k; j++)
			y[a * k + j] = -0.5 * (y[a * k + j] - vm - one * (g->mean[j] - g->grand));
	}
	return failed ? mm_fail(err, MM_ENOMEM, "components: no memory for a tile") : 0;
}

/* ---- leading eigenpairs by subspace iteration ---- */

struct space {
	const struct mm_gram *g;
	size_t k, r;   /* r: vectors carried along, more than are wanted */
	double *v, *y; /* [r, k] vectors, their images */
	double *tmp;   /* [r, k] */
	double *h;     /* [r, r] */
	double *val;   /* [r] descending after ritz */
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
	if (apply(s->g, s->v, s->r, s->y, err))
		return -1;
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

/* Rows of v to length 1. A row whose eigenvalue is rounding points nowhere (what it holds is an echo of the large ones,
 * blown up) and would drown the others in the next Gram matrix: it is dropped. */
static void unit_rows(struct space *s)
{
	for (size_t i = 0; i < s->r; i++) {
		double sum = 0, *v = s->v + i * s->k;
		for (size_t j = 0; j < s->k; j++)
			sum += v[j] * v[j];
		double f = sum > 0 && fabs(s->val[i]) > 1e-9 * fabs(s->val[0]) ? 1 / sqrt(sum) : 0;
		for (size_t j = 0; j < s->k; j++)
			v[j] *= f;
	}
}

/* The `want` leading eigenpairs: rows of u, w descending. The first `exact` converge to rounding; the others
 * serve the shares of variance and are good to a few digits. Seeded, so the same bits every time. */
static int leading(const struct mm_gram *g, size_t want, size_t exact, double *u, double *w, struct mm_err *err)
{
	size_t k = g->k;
	struct space s = { .g = g, .k = k, .r = MM_MIN(k, want + 16) };
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
	/* A flat spectrum, which real models do not have, converges slowly: a bound, lower where a round is dear. */
	for (int it = 0; it < (g->b ? 40 : 16); it++) {
		if (g->cancel && *g->cancel) {
			mm_fail(err, MM_ECANCELLED, "components: cancelled");
			goto out;
		}
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
		if (apply(g, s.y, s.r, s.v, err))
			goto out;
		unit_rows(&s);
	}
	memcpy(u, s.v, want * k * sizeof(*u));
	memcpy(w, s.val, want * sizeof(*w));
	rc = 0;
out:
	mm_free(s.v);
	return rc;
}

/* Destroys b. */
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

int mm_gram_leading(struct mm_gram *g, size_t want, size_t exact, double *u, double *w, struct mm_err *err)
{
	if (g->k <= FULL_MAX || (g->b && want * 4 > g->k))
		return full(g->b, g->k, want, u, w, err);
	return leading(g, want, exact, u, w, err);
}
