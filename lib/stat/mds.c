/* mds.c: metric multidimensional scaling by majorisation (SMACOF).
 *
 * With D_ij = sqrt(two_kl) and d_ij the distances of the layout, the Guttman transform
 *
 *	x_i <- 1/K sum_j r_ij (x_i - x_j)	r_ij = D_ij / d_ij (0 where d is 0)
 *
 * never raises sum (d - D)^2. Pairs are walked in tiles of the triangle, each pair once; a tile keeps what it gives to
 * its rows and to its columns apart, and these parts are added in the order of the tiles: bits do not depend on
 * threads.
 */
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

#define TILE 128
#define DMAX 3

struct smacof {
	const struct mm_tri *t;
	size_t k, kp, dims, n_blk; /* kp: k padded to whole tiles */
	const double *x;	   /* [dims, kp] one coordinate after the other, padding 0 */
	double *part;		   /* [n_blk (to), n_blk (from), dims, TILE] */
	double *loss;		   /* [n_blk * (n_blk + 1) / 2] sum (d - D)^2 of a tile */
};

/* One row i against the columns of its tile, padded to whole lanes (weight 0): adds to acc[dims, TILE] of the columns,
 * gives sum[dims] of the row. */
MM_BODY double row_body(const float *t, const float *weight, const double *xi, const double *x, size_t kp, size_t dims,
	double *acc, double *sum)
{
	double loss[LANES] = { 0 }, part[DMAX][LANES] = { { 0 } };
	for (size_t j = 0; j < TILE; j += LANES) {
		for (size_t l = 0; l < LANES; l++) {
			double dx = xi[0] - x[j + l], dy = xi[1] - x[kp + j + l];
			double dz = dims > 2 ? xi[2] - x[2 * kp + j + l] : 0;
			double d2 = dx * dx + dy * dy + dz * dz, big = (double)t[j + l];
			/* equal points: any small number under the root gives r * 0 = 0 */
			double r = sqrt(big / (d2 > 1e-300 ? d2 : 1e-300));
			r = d2 > 1e-300 ? r : 0;
			loss[l] += (double)weight[j + l] * (d2 + big - 2 * r * d2);
			part[0][l] += r * dx;
			part[1][l] += r * dy;
			acc[j + l] -= r * dx;
			acc[TILE + j + l] -= r * dy;
			if (dims > 2) {
				part[2][l] += r * dz;
				acc[2 * TILE + j + l] -= r * dz;
			}
		}
	}
	for (size_t c = 0; c < dims; c++)
		sum[c] = lanes_sum(part[c]);
	return lanes_sum(loss);
}
#define ROW_PARAMS                                                                                                     \
	(const float *t, const float *w, const double *xi, const double *x, size_t kp, double *acc, double *sum)
#define ROW_ARGS (t, w, xi, x, kp, acc, sum)
MM_BODY double row2_body ROW_PARAMS
{
	return row_body(t, w, xi, x, kp, 2, acc, sum);
}
MM_BODY double row3_body ROW_PARAMS
{
	return row_body(t, w, xi, x, kp, 3, acc, sum);
}
MM_TARGETS(double, row2, ROW_PARAMS, ROW_ARGS)
MM_TARGETS(double, row3, ROW_PARAMS, ROW_ARGS)

static void tile(const struct smacof *s, size_t bi, size_t bj)
{
	size_t i0 = bi * TILE, ni = MM_MIN((size_t)TILE, s->k - i0), j0 = bj * TILE,
	       nj = MM_MIN((size_t)TILE, s->k - j0);
	size_t len = s->dims * TILE;
	double *to_i = s->part + (bi * s->n_blk + bj) * len, *to_j = s->part + (bj * s->n_blk + bi) * len;
	double own[DMAX * TILE] = { 0 }, loss = 0; /* what the columns get; in a diagonal tile columns are rows too */
	float t[TILE] = { 0 }, w[TILE] = { 0 };
	memset(to_i, 0, len * sizeof(double));
	for (size_t i = 0; i < ni; i++) {
		size_t n = bi == bj ? i : nj;
		double xi[DMAX] = { 0 }, sum[DMAX] = { 0 };
		for (size_t c = 0; c < s->dims; c++)
			xi[c] = s->x[c * s->kp + i0 + i];
		if (n == 0)
			continue;
		memcpy(t, s->t->row[i0 + i] + j0, n * sizeof(*t));
		for (size_t j = 0; j < n; j++)
			w[j] = 1;
		loss += s->dims == 3 ? row3(t, w, xi, s->x + j0, s->kp, own, sum)
				     : row2(t, w, xi, s->x + j0, s->kp, own, sum);
		for (size_t c = 0; c < s->dims; c++)
			to_i[c * TILE + i] += sum[c];
	}
	if (bi == bj)
		for (size_t a = 0; a < len; a++)
			to_i[a] += own[a];
	else
		memcpy(to_j, own, len * sizeof(double));
	s->loss[bi * (bi + 1) / 2 + bj] = loss;
}

/* next[dims, kp] = Guttman transform of x; returns the raw stress of x. */
static double guttman(const struct smacof *s, double *next)
{
	size_t n_tile = s->n_blk * (s->n_blk + 1) / 2;
	double loss = 0;
#pragma omp parallel for schedule(dynamic, 1) if (s->k > 2 * TILE) num_threads((int)mm_threads())
	for (size_t a = 0; a < n_tile; a++) {
		size_t bi = (size_t)((sqrt(8.0 * (double)a + 1) - 1) / 2);
		while (bi * (bi + 1) / 2 > a)
			bi--;
		while ((bi + 1) * (bi + 2) / 2 <= a)
			bi++;
		tile(s, bi, a - bi * (bi + 1) / 2);
	}
	for (size_t a = 0; a < n_tile; a++)
		loss += s->loss[a];
	for (size_t c = 0; c < s->dims; c++)
		for (size_t i = 0; i < s->k; i++) {
			double sum = 0;
			for (size_t b = 0; b < s->n_blk; b++)
				sum += s->part[((i / TILE * s->n_blk + b) * s->dims + c) * TILE + i % TILE];
			next[c * s->kp + i] = sum / (double)s->k;
		}
	return loss;
}

int mm_mds_smacof(const struct mm_tri *t, size_t dims, size_t max_iter, double eps, const _Atomic bool *cancel,
	double *coord, struct mm_mds *out, struct mm_err *err)
{
	size_t k = t->k;
	memset(out, 0, sizeof(*out));
	if (dims != 2 && dims != 3)
		return mm_fail(err, MM_EINVAL, "scaling to %zu dimensions", dims);
	if (k < 2)
		return 0;
	struct smacof s = { .t = t, .k = k, .dims = dims, .n_blk = (k + TILE - 1) / TILE };
	s.kp = s.n_blk * TILE;
	size_t n_part = s.n_blk * s.n_blk * dims * TILE, n_loss = s.n_blk * (s.n_blk + 1) / 2;
	double *mem = mm_calloc(n_part + n_loss + 2 * dims * s.kp, sizeof(*mem), err);
	if (!mem)
		return -1;
	double *x = mem + n_part + n_loss, *next = x + dims * s.kp, DD = 0, last = INFINITY;
	s.part = mem;
	s.loss = mem + n_part;
	s.x = x;
	for (size_t i = 0; i < k; i++) {
		double row = 0;
		for (size_t c = 0; c < dims; c++)
			x[c * s.kp + i] = coord[i * dims + c];
		for (size_t j = 0; j < i; j++)
			row += (double)t->row[i][j];
		DD += row;
	}
	for (; out->n_iter < max_iter && !(cancel && *cancel); out->n_iter++) {
		double loss = guttman(&s, next);
		out->raw_stress = loss;
		if (!(loss < last * (1 - eps)))
			break;
		last = loss;
		memcpy(x, next, dims * s.kp * sizeof(*x));
	}
	for (size_t i = 0; i < k; i++)
		for (size_t c = 0; c < dims; c++)
			coord[i * dims + c] = x[c * s.kp + i];
	out->stress = DD > 0 ? sqrt(fmax(out->raw_stress, 0) / DD) : 0;
	mm_free(mem);
	return 0;
}

/* ---- one more point ---- */

static double loss_at(const double *d, const double *coord, size_t k, size_t dims, const double *x)
{
	double loss = 0;
	for (size_t j = 0; j < k; j++) {
		double d2 = 0, big = d[j] > 0 ? sqrt(d[j]) : 0;
		for (size_t c = 0; c < dims; c++)
			d2 += (x[c] - coord[j * dims + c]) * (x[c] - coord[j * dims + c]);
		loss += (sqrt(d2) - big) * (sqrt(d2) - big);
	}
	return loss;
}

/* Until a step is a millionth of the size of the map: far below what a picture shows. */
static double settle(const double *d, const double *coord, size_t k, size_t dims, double *x)
{
	for (int it = 0; it < 500; it++) {
		double next[DMAX] = { 0 }, moved = 0, size = 0;
		for (size_t j = 0; j < k; j++) {
			double diff[DMAX] = { 0 },
			       d2 = 1e-200; /* where both points are one, diff is 0 and r only finite */
			for (size_t c = 0; c < dims; c++) {
				diff[c] = x[c] - coord[j * dims + c];
				d2 += diff[c] * diff[c];
			}
			double r = sqrt((d[j] > 0 ? d[j] : 0) / d2);
			for (size_t c = 0; c < dims; c++)
				next[c] += coord[j * dims + c] + r * diff[c];
		}
		for (size_t c = 0; c < dims; c++) {
			next[c] /= (double)k;
			moved += (next[c] - x[c]) * (next[c] - x[c]);
			size += next[c] * next[c];
			x[c] = next[c];
		}
		if (moved <= 1e-12 * (size + 1e-300))
			break;
	}
	return loss_at(d, coord, k, dims, x);
}

void mm_mds_place(const double *d, const double *coord, size_t k, size_t dims, double *out)
{
	size_t near = 0;
	double best = INFINITY;
	for (size_t c = 0; c < dims; c++)
		out[c] = 0;
	if (k == 0 || dims > DMAX)
		return;
	for (size_t j = 1; j < k; j++)
		if (d[j] < d[near])
			near = j;
	/* Two starts, beside the nearest point and in the middle of all: the loss has more than one valley. */
	for (int start = 0; start < 2; start++) {
		double x[DMAX] = { 0 };
		for (size_t c = 0; c < dims; c++) {
			for (size_t j = 0; j < k; j++)
				x[c] += coord[j * dims + c] / (double)k;
			if (start == 0) /* not on top of it: there the direction would be unknown */
				x[c] = 0.99 * coord[near * dims + c] + 0.01 * x[c] + 1e-6 * sqrt(fmax(d[near], 0));
		}
		double loss = settle(d, coord, k, dims, x);
		if (loss < best) {
			best = loss;
			memcpy(out, x, dims * sizeof(*x));
		}
	}
}
