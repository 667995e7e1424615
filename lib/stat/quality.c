/* quality.c: how well a layout keeps neighbourhoods and distances.
 *
 * With r(i, j) the rank of j among the neighbours of i in truth and s(i, j) its rank on the map, k neighbours, n models
 * (Venna and Kaski):
 *
 *	trustworthiness = 1 - 2 / (n k (2n - 3k - 1)) * sum over i, over j with s(i, j) <= k < r(i, j), of r(i, j) - k
 *	continuity      = the same with r and s exchanged
 *
 * Ties in a distance go to the smaller index. Sums over ranks are integers, so that threads cannot change them. */
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

struct ranked {
	double d;
	uint32_t i;
};

static int cmp_ranked(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	if (x->d != y->d)
		return x->d < y->d ? -1 : 1;
	return (x->i > y->i) - (x->i < y->i);
}

struct row_sums { /* of one model */
	uint64_t trust, cont, both;
	double dd, dD, DD; /* sums over the others of d^2, d D, D^2 */
};

/* list[n - 1] scratch; rank[n]: rank from 1 of every other model. */
static void rank_of(size_t n, size_t self, const double *d, struct ranked *list, uint32_t *rank)
{
	size_t m = 0;
	for (size_t j = 0; j < n; j++)
		if (j != self)
			list[m++] = (struct ranked){ d[j], (uint32_t)j };
	qsort(list, m, sizeof(*list), cmp_ranked);
	for (size_t a = 0; a < m; a++)
		rank[list[a].i] = (uint32_t)a + 1;
}

static void look_at(size_t i, size_t n, size_t k, const double *truth, const double *map, struct ranked *list,
	uint32_t *r, uint32_t *s, struct row_sums *out)
{
	rank_of(n, i, truth, list, r);
	rank_of(n, i, map, list, s);
	memset(out, 0, sizeof(*out));
	for (size_t j = 0; j < n; j++) {
		if (j == i)
			continue;
		if (s[j] <= k && r[j] > k)
			out->trust += r[j] - k;
		if (r[j] <= k && s[j] > k)
			out->cont += s[j] - k;
		out->both += r[j] <= k && s[j] <= k;
		double big = sqrt(truth[j]);
		out->dd += map[j] * map[j];
		out->dD += map[j] * big;
		out->DD += big * big;
	}
}

static int all_rows(const struct mm_tri *t, const double *coord, size_t dims, size_t k, size_t rows,
	struct row_sums *sums, struct mm_err *err)
{
	size_t n = t->k;
	int failed = 0;
#pragma omp parallel num_threads((int)mm_threads()) if (n >= 200)
	{
		struct mm_err mine;
		double *d = mm_calloc(2 * n, sizeof(*d), &mine);
		struct ranked *list = mm_calloc(n, sizeof(*list), &mine);
		uint32_t *rank = mm_calloc(2 * n, sizeof(*rank), &mine);
		bool ok = d && list && rank;
		if (!ok) {
#pragma omp atomic write
			failed = 1;
		}
#pragma omp for schedule(dynamic, 4)
		for (size_t a = 0; a < rows; a++) {
			size_t i = a * n / rows;
			for (size_t j = 0; j < n && ok; j++) {
				double sum = 0;
				for (size_t c = 0; c < dims; c++) {
					double diff = coord[i * dims + c] - coord[j * dims + c];
					sum += diff * diff;
				}
				d[j] = mm_tri_get(t, i, j);
				d[n + j] = sqrt(sum);
			}
			if (ok)
				look_at(i, n, k, d, d + n, list, rank, rank + n, &sums[a]);
		}
		mm_free(rank);
		mm_free(list);
		mm_free(d);
	}
	return failed ? mm_fail(err, MM_ENOMEM, "quality: out of memory") : 0;
}

int mm_quality_of(struct mm_quality *q, const struct mm_tri *t, const double *coord, size_t dims, size_t max_rows,
	struct mm_err *err)
{
	size_t n = t->k, rows = max_rows && max_rows < n ? max_rows : n;
	size_t k = MM_MIN((size_t)10, n > 3 ? (n - 2) / 2 : 0); /* ranks beyond n / 2 would make the norm negative */
	*q = (struct mm_quality){ 1, 1, 1, 0 };
	if (k == 0)
		return 0;
	struct row_sums *sums = mm_calloc(rows, sizeof(*sums), err), all = { 0 };
	if (!sums || all_rows(t, coord, dims, k, rows, sums, err)) {
		mm_free(sums);
		return -1;
	}
	for (size_t a = 0; a < rows; a++) {
		all.trust += sums[a].trust;
		all.cont += sums[a].cont;
		all.both += sums[a].both;
		all.dd += sums[a].dd;
		all.dD += sums[a].dD;
		all.DD += sums[a].DD;
	}
	mm_free(sums);
	double norm = 2.0 / ((double)rows * (double)k * (2.0 * (double)n - 3.0 * (double)k - 1));
	q->trustworthiness = 1 - norm * (double)all.trust;
	q->continuity = 1 - norm * (double)all.cont;
	q->knn_recall = (double)all.both / ((double)rows * (double)k);
	/* the map in its best scale s: min over s of sum (s d - D)^2 = sum D^2 - (sum d D)^2 / sum d^2 */
	double left = all.dd > 0 ? all.DD - all.dD * all.dD / all.dd : all.DD;
	q->stress = all.DD > 0 ? sqrt(fmax(left, 0) / all.DD) : 0;
	return 0;
}
