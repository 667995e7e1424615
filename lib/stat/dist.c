/* dist.c: distances between rows.
 *
 * A single pair is the variance of the clipped differences, taken directly: exact 0 for equal rows. All pairs go
 * through products: q_i = clip(l_i) - row mean - column means (the column means do not change a distance but keep the
 * numbers small), |q_i - q_j|^2 = |q_i|^2 + |q_j|^2 - 2 q_i q_j in double. Cancellation makes that useless for rows
 * that nearly agree, so those are taken again directly.
 *
 *	          J0   J1   J2		a tile: TILE x TILE distances, computed by one thread, its inner dimension
 *	    I0  [ x ]			walked in panels of PANEL texts, widened to double as they are needed:
 *	    I1  [ x    x ]		nothing of the size of the vectors is ever held twice
 *	    I2  [ x    x    x ]
 */
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

#define TILE	128
#define PANEL	1024
#define PAR_MIN ((size_t)1 << 20)
/* Share of |q_i|^2 + |q_j|^2 below which a distance is taken directly: products are good to about 1e-15 of that sum, so
 * 1e-5 leaves ten digits. */
#define DIRECT_BELOW 1e-5

double mm_kl_bits_per_byte(double two_kl, double mean_bytes)
{
	return mean_bytes > 0 ? two_kl / (2 * mean_bytes * M_LN2) : 0;
}

struct sums {
	double s1, s2;
};

MM_BODY struct sums pair_sums_body(const float *a, const float *b, size_t n, double clip)
{
	double a1[LANES] = { 0 }, a2[LANES] = { 0 };
	double x0 = (double)a[0] > clip ? (double)a[0] : clip, y0 = (double)b[0] > clip ? (double)b[0] : clip;
	double shift = x0 - y0; /* a constant offset costs no digits */
	size_t s = 0;
	for (; s + LANES <= n; s += LANES) {
		for (int l = 0; l < LANES; l++) {
			double x = a[s + (size_t)l], y = b[s + (size_t)l];
			double d = (x > clip ? x : clip) - (y > clip ? y : clip) - shift;
			a1[l] += d;
			a2[l] += d * d;
		}
	}
	for (int l = 0; s < n; s++, l++) {
		double x = a[s], y = b[s];
		double d = (x > clip ? x : clip) - (y > clip ? y : clip) - shift;
		a1[l] += d;
		a2[l] += d * d;
	}
	return (struct sums){ lanes_sum(a1), lanes_sum(a2) };
}
MM_TARGETS(struct sums, pair_sums, (const float *a, const float *b, size_t n, double clip), (a, b, n, clip))

double mm_dist_pair(const float *a, const float *b, size_t n, double clip)
{
	if (n == 0)
		return 0;
	struct sums s = pair_sums(a, b, n, clip);
	double d = s.s1 / (double)n, v = s.s2 / (double)n - d * d;
	return v > 0 ? v : 0;
}

void mm_dist_row(const struct mm_mat *m, const float *x, double clip, double *out)
{
#pragma omp parallel for schedule(static) if (m->k * m->n >= PAR_MIN) num_threads((int)mm_threads())
	for (size_t i = 0; i < m->k; i++)
		out[i] = mm_dist_pair(m->row[i], x, m->n, clip);
}

/* ---- the triangle ---- */

int mm_tri_init(struct mm_tri *t, size_t k, struct mm_err *err)
{
	memset(t, 0, sizeof(*t));
	t->row = mm_calloc(k ? k : 1, sizeof(*t->row), err);
	if (!t->row)
		return -1;
	t->k = k;
	for (size_t i = 1; i < k; i++) {
		t->row[i] = mm_calloc(i, sizeof(float), err);
		if (!t->row[i]) {
			mm_tri_fini(t);
			return -1;
		}
	}
	return 0;
}

void mm_tri_fini(struct mm_tri *t)
{
	for (size_t i = 0; t->row && i < t->k; i++)
		mm_free(t->row[i]);
	mm_free(t->row);
	memset(t, 0, sizeof(*t));
}

/* ---- all pairs ---- */

struct centred { /* everything that turns an entry into q */
	const struct mm_mat *m;
	double clip;
	const double *col;  /* [n] column means of the clipped rows, minus their mean */
	const double *mean; /* [k] row means */
	const double *norm; /* [k] |q_i|^2 */
	const _Atomic bool *cancel;
};

MM_BODY int widen_body(const float *x, const double *col, double mean, double clip, size_t n, double *out)
{
	for (size_t s = 0; s < n; s++) {
		double v = x[s];
		out[s] = (v > clip ? v : clip) - mean - col[s];
	}
	return 0;
}
MM_TARGETS(int, widen, (const float *x, const double *col, double mean, double clip, size_t n, double *out),
	(x, col, mean, clip, n, out))

MM_BODY double square_sum_body(const double *x, size_t n)
{
	double a[LANES] = { 0 };
	size_t s = 0;
	for (; s + LANES <= n; s += LANES)
		for (int l = 0; l < LANES; l++)
			a[l] += x[s + (size_t)l] * x[s + (size_t)l];
	for (int l = 0; s < n; s++, l++)
		a[l] += x[s] * x[s];
	return lanes_sum(a);
}
MM_TARGETS(double, square_sum, (const double *x, size_t n), (x, n))

static void panel(const struct centred *c, size_t first, size_t rows, size_t at, size_t len, double *out)
{
	for (size_t i = 0; i < rows; i++)
		widen(c->m->row[first + i] + at, c->col + at, c->mean[first + i], c->clip, len, out + i * PANEL);
}

/* Products of rows I.. with rows J.. into g[TILE, TILE]; a, b: [TILE, PANEL] scratch. */
static void tile_products(
	const struct centred *c, size_t i0, size_t ni, size_t j0, size_t nj, double *a, double *b, double *g)
{
	for (size_t at = 0; at < c->m->n; at += PANEL) {
		size_t len = MM_MIN((size_t)PANEL, c->m->n - at);
		panel(c, i0, ni, at, len, a);
		if (i0 != j0)
			panel(c, j0, nj, at, len, b);
		mm_dgemm(false, true, ni, nj, len, 1, a, PANEL, i0 == j0 ? a : b, PANEL, at ? 1 : 0, g, TILE);
	}
}

static void tile_distances(
	const struct centred *c, size_t i0, size_t ni, size_t j0, size_t nj, const double *g, struct mm_tri *out)
{
	double n = (double)c->m->n;
	for (size_t i = i0; i < i0 + ni; i++) {
		for (size_t j = j0; j < j0 + nj && j < i; j++) {
			double sum = c->norm[i] + c->norm[j], d = sum - 2 * g[(i - i0) * TILE + (j - j0)];
			out->row[i][j] = (float)(d > DIRECT_BELOW * sum
							 ? d / n
							 : mm_dist_pair(c->m->row[i], c->m->row[j], c->m->n, c->clip));
		}
	}
}

static int all_tiles(const struct centred *c, struct mm_tri *out, struct mm_err *err)
{
	size_t n_blk = (c->m->k + TILE - 1) / TILE, n_tile = n_blk * (n_blk + 1) / 2;
	int failed = 0; /* only ever set to 1, so that the order does not matter */
#pragma omp parallel num_threads((int)mm_threads()) if (c->m->k * c->m->n >= PAR_MIN)
	{
		struct mm_err mine;
		double *scratch = mm_calloc(2 * TILE * PANEL + TILE * TILE, sizeof(double), &mine);
		if (!scratch) {
#pragma omp atomic write
			failed = 1;
		}
#pragma omp for schedule(dynamic, 1)
		for (size_t t = 0; t < n_tile; t++) {
			if (!scratch || (c->cancel && *c->cancel))
				continue;
			size_t bi = (size_t)((sqrt(8.0 * (double)t + 1) - 1) / 2);
			while (bi * (bi + 1) / 2 > t)
				bi--;
			while ((bi + 1) * (bi + 2) / 2 <= t)
				bi++;
			size_t i0 = bi * TILE, j0 = (t - bi * (bi + 1) / 2) * TILE;
			size_t ni = MM_MIN((size_t)TILE, c->m->k - i0), nj = MM_MIN((size_t)TILE, c->m->k - j0);
			double *g = scratch + 2 * TILE * PANEL;
			tile_products(c, i0, ni, j0, nj, scratch, scratch + TILE * PANEL, g);
			tile_distances(c, i0, ni, j0, nj, g, out);
		}
		mm_free(scratch);
	}
	if (c->cancel && *c->cancel)
		return mm_fail(err, MM_ECANCELLED, "distances: cancelled");
	return failed ? mm_fail(err, MM_ENOMEM, "distances: no memory for a tile") : 0;
}

int mm_dist_matrix(const struct mm_mat *m, double clip, struct mm_tri *out, struct mm_err *err)
{
	return mm_dist_matrix_until(m, clip, NULL, out, err);
}

int mm_dist_matrix_until(
	const struct mm_mat *m, double clip, const _Atomic bool *cancel, struct mm_tri *out, struct mm_err *err)
{
	memset(out, 0, sizeof(*out));
	if (mm_mat_check(m, err))
		return -1;
	double *col = mm_calloc(m->n + 2 * m->k, sizeof(*col), err);
	if (!col)
		return -1;
	double *mean = col + m->n, *norm = mean + m->k, grand = 0;
	mm_col_means(m, clip, col);
	for (size_t s = 0; s < m->n; s++)
		grand += col[s];
	grand /= (double)m->n;
	for (size_t s = 0; s < m->n; s++)
		col[s] -= grand;
	struct centred c = { m, clip, col, mean, norm, cancel };
#pragma omp parallel for schedule(static) if (m->k * m->n >= PAR_MIN) num_threads((int)mm_threads())
	for (size_t i = 0; i < m->k; i++) {
		double var, q[PANEL];
		mm_row_moments(m->row[i], m->n, clip, &mean[i], &var);
		for (size_t at = 0; at < m->n; at += PANEL) {
			size_t len = MM_MIN((size_t)PANEL, m->n - at);
			widen(m->row[i] + at, col + at, mean[i], clip, len, q);
			norm[i] += square_sum(q, len);
		}
	}
	int rc = mm_tri_init(out, m->k, err);
	if (rc == 0 && all_tiles(&c, out, err)) {
		mm_tri_fini(out);
		rc = -1;
	}
	mm_free(col);
	return rc;
}
