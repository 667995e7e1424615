/* fisher_pairs.c: distances of all pairs of models.
 *
 * For fisher and hellinger, |sqrt p - sqrt q|^2 = |a|^2 + |b|^2 - 2 a b, and the products of a tile of models with
 * another, probe by probe, are one matrix product each, in double. That leaves nothing of a pair that nearly agrees;
 * such pairs, and all pairs of the other metrics, are taken from their rows. Tiles are shared out among threads; a
 * pair's value depends on the two models alone, except for which of the two ways it is taken, and that on the pair too.
 */
#include "stat/stat_fisher.h"
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

#define TILE 64
/* Mean |sqrt p - sqrt q|^2 below which a pair is taken from its rows: products are good to 1e-15. */
#define DIRECT_BELOW 1e-6

struct tiles {
	enum mm_metric which;
	const struct mm_byte_rows *r;
	struct mm_tri *out;
	size_t n_blk, n_tile;
	const _Atomic bool *cancel;
};

struct scratch {
	float *rows, *one; /* [2 TILE, stride], a probe of each model; [2, m, stride], two models */
	double *a, *b, *g, *sum, *root, *v;
};

static size_t tile_at(size_t t, size_t *bj)
{
	size_t bi = (size_t)((sqrt(8.0 * (double)t + 1) - 1) / 2);
	while (bi * (bi + 1) / 2 > t)
		bi--;
	while ((bi + 1) * (bi + 2) / 2 <= t)
		bi++;
	*bj = t - bi * (bi + 1) / 2;
	return bi;
}

/* One probe of n models from `first`, as doubles [n, stride], with their squared lengths. */
static int probe_rows(
	const struct tiles *x, size_t first, size_t n, size_t probe, float *row, double *out, double *length)
{
	struct mm_err err;
	for (size_t i = 0; i < n; i++) {
		double sum = 0;
		if (mm_bytes_unpack(x->r->row[first + i] + probe * MM_BYTES, 1, row, &err))
			return -1;
		for (size_t c = 0; c < MM_BYTE_STRIDE; c++) {
			double v = (double)row[c];
			out[i * MM_BYTE_STRIDE + c] = v;
			sum += v * v;
		}
		length[i] = sum;
	}
	return 0;
}

static int direct(const struct tiles *x, struct scratch *s, size_t i, size_t j, bool have_i)
{
	const struct mm_byte_rows *r = x->r;
	float *second = s->one + r->m * MM_BYTE_STRIDE;
	struct mm_err err;
	if ((!have_i && mm_bytes_unpack(r->row[i], r->m, s->one, &err)) ||
		mm_bytes_unpack(r->row[j], r->m, second, &err))
		return -1;
	mm_byte_terms(x->which, s->one, second, r->m, s->v);
	double value = mm_byte_distance_of(x->which, s->v, r->sel, r->n);
	x->out->row[i][j] = (float)mm_metric_tri(x->which, value);
	return 0;
}

static int products(const struct tiles *x, struct scratch *s, size_t i0, size_t ni, size_t j0, size_t nj)
{
	const struct mm_byte_rows *r = x->r;
	double la[TILE], lb[TILE], t[TILE];
	bool fisher = x->which == MM_METRIC_FISHER;
	memset(s->sum, 0, 2 * TILE * TILE * sizeof(double)); /* sum and root */
	for (size_t p = 0; p < r->n; p++) {
		size_t probe = r->sel ? r->sel[p] : p;
		if (probe_rows(x, i0, ni, probe, s->rows, s->a, la) || probe_rows(x, j0, nj, probe, s->rows, s->b, lb))
			return -1;
		mm_dgemm(false, true, ni, nj, MM_BYTE_STRIDE, 1, s->a, MM_BYTE_STRIDE, s->b, MM_BYTE_STRIDE, 0, s->g,
			TILE);
		for (size_t i = 0; i < ni; i++) {
			for (size_t j = 0; j < nj; j++) {
				double d = la[i] + lb[j] - 2 * s->g[i * TILE + j];
				t[j] = d < 0 ? 0 : d > 2 ? 2 : d;
				s->root[i * TILE + j] += t[j];
			}
			if (fisher)
				mm_geodesic(t, nj);
			for (size_t j = 0; j < nj; j++)
				s->sum[i * TILE + j] += fisher ? t[j] : 0.5 * t[j];
		}
	}
	return 0;
}

static int one_tile(const struct tiles *x, struct scratch *s, size_t i0, size_t ni, size_t j0, size_t nj)
{
	const struct mm_byte_rows *r = x->r;
	bool fast = x->which == MM_METRIC_FISHER || x->which == MM_METRIC_HELLINGER;
	if (fast && products(x, s, i0, ni, j0, nj))
		return -1;
	for (size_t i = i0; i < i0 + ni; i++) {
		bool have = false;
		if (x->cancel && *x->cancel)
			return 0;
		for (size_t j = j0; j < j0 + nj && j < i; j++) {
			size_t at = (i - i0) * TILE + (j - j0);
			if (fast && s->root[at] > DIRECT_BELOW * (double)r->n) {
				double value = mm_metric_value(x->which, s->sum[at] / (double)r->n, r->n);
				x->out->row[i][j] = (float)mm_metric_tri(x->which, value);
			} else {
				if (direct(x, s, i, j, have))
					return -1;
				have = true;
			}
		}
	}
	return 0;
}

static void scratch_free(struct scratch *s)
{
	mm_free(s->rows);
	mm_free(s->one);
	mm_free(s->a);
}

static int scratch_new(struct scratch *s, size_t m, struct mm_err *err)
{
	size_t tile = (size_t)TILE * MM_BYTE_STRIDE;
	*s = (struct scratch){ 0 };
	if (!(s->rows = mm_calloc(MM_BYTE_STRIDE, sizeof(float), err)) ||
		!(s->one = mm_calloc(2 * m * MM_BYTE_STRIDE, sizeof(float), err)) ||
		!(s->a = mm_calloc(2 * tile + 3 * TILE * TILE + m, sizeof(double), err)))
		return -1;
	s->b = s->a + tile;
	s->sum = s->b + tile;
	s->root = s->sum + TILE * TILE;
	s->g = s->root + TILE * TILE;
	s->v = s->g + TILE * TILE;
	return 0;
}

static void some_tiles(const struct tiles *x, struct scratch *s, size_t t, int *failed)
{
	size_t bj, bi = tile_at(t, &bj), i0 = bi * TILE, j0 = bj * TILE;
	size_t ni = MM_MIN((size_t)TILE, x->r->k - i0), nj = MM_MIN((size_t)TILE, x->r->k - j0);
	if (one_tile(x, s, i0, ni, j0, nj)) {
#pragma omp atomic write
		*failed = 2;
	}
}

int mm_byte_matrix(enum mm_metric which, const struct mm_byte_rows *r, const _Atomic bool *cancel, struct mm_tri *out,
	struct mm_err *err)
{
	struct tiles x = { which, r, out, (r->k + TILE - 1) / TILE, 0, cancel };
	int failed = 0; /* 1: memory, 2: rows; whichever, the answer is an error */
	x.n_tile = x.n_blk * (x.n_blk + 1) / 2;
	if (which == MM_METRIC_KL || which >= MM_METRIC_COUNT || !r->k || !r->n)
		return mm_fail(err, MM_EINVAL, "no models, no probes or no metric of next-byte distributions");
	if (mm_tri_init(out, r->k, err))
		return -1;
#pragma omp parallel num_threads((int)mm_threads()) if (r->k > 8)
	{
		struct mm_err mine;
		struct scratch s;
		bool ok = scratch_new(&s, r->m, &mine) == 0;
		if (!ok) {
#pragma omp atomic write
			failed = 1;
		}
#pragma omp for schedule(dynamic, 1)
		for (size_t t = 0; t < x.n_tile; t++)
			if (ok && !(cancel && *cancel))
				some_tiles(&x, &s, t, &failed);
		scratch_free(&s);
	}
	if (!failed && !(cancel && *cancel))
		return 0;
	mm_tri_fini(out);
	return failed == 1   ? mm_fail(err, MM_ENOMEM, "distances: no memory for a tile")
	       : failed == 2 ? mm_fail(err, MM_ENONFINITE, "features: a probe without a distribution of the next byte")
			     : mm_fail(err, MM_ECANCELLED, "distances: cancelled");
}
