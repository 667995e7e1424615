/* tsne_near.c: from nearest neighbours to affinities.
 *
 * p_j|i = exp(-b_i d_ij) / sum, with b_i such that the entropy is log(perplexity): Newton's method on log b inside a
 * bracket that bisection keeps; then symmetric, p_ij = (p_j|i + p_i|j) / 2K, as sparse rows. */
#include "stat/stat_tsne.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

/* Entropy at b over distances d - d_min; p unnormalised on the way, *var the variance of d under p. */
static double entropy(const float *d, size_t w, double dmin, double b, double *p, double *var)
{
	double sum = 0, m1 = 0, m2 = 0;
	for (size_t a = 0; a < w; a++) {
		double x = (double)d[a] - dmin;
		p[a] = exp(-b * x);
		sum += p[a];
		m1 += p[a] * x;
		m2 += p[a] * x * x;
	}
	m1 /= sum;
	*var = fmax(m2 / sum - m1 * m1, 0);
	for (size_t a = 0; a < w; a++)
		p[a] /= sum;
	return log(sum) + b * m1;
}

void mm_tsne_weights(const float *d, size_t w, double perplexity, double *p)
{
	double dmin = INFINITY, mean = 0, target = log(fmin(perplexity, (double)w)), var;
	for (size_t a = 0; a < w; a++)
		dmin = fmin(dmin, (double)d[a]);
	for (size_t a = 0; a < w; a++)
		mean += ((double)d[a] - dmin) / (double)w;
	if (!(mean > 0)) { /* all equally far */
		for (size_t a = 0; a < w; a++)
			p[a] = 1 / (double)w;
		return;
	}
	double lo = -60 - log(mean), hi = 60 - log(mean), x = -log(mean); /* log b; outside nothing changes any more */
	for (int it = 0; it < 200; it++) {
		double b = exp(x), h = entropy(d, w, dmin, b, p, &var), off = h - target;
		if (fabs(off) < 1e-12 || hi - lo < 1e-13)
			break;
		if (off > 0)
			lo = x;
		else
			hi = x;
		double slope = -b * b * var, next = slope < 0 ? x - off / slope : x; /* dH / dlog b */
		x = next > lo && next < hi ? next : 0.5 * (lo + hi);
	}
}

struct entry {
	uint32_t col;
	float p;
};

static int cmp_entry(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	return (x->col > y->col) - (x->col < y->col);
}

static int conditional(
	const struct mm_near *near, size_t k, size_t w, double perplexity, float *cond, struct mm_err *err)
{
	int failed = 0;
#pragma omp parallel num_threads((int)mm_threads()) if (k >= 256)
	{
		struct mm_err mine;
		float *d = mm_calloc(w, sizeof(*d), &mine);
		double *p = d ? mm_calloc(w, sizeof(*p), &mine) : NULL;
		if (!p) {
#pragma omp atomic write
			failed = 1;
		}
#pragma omp for schedule(static)
		for (size_t i = 0; i < k; i++) {
			for (size_t a = 0; p && a < w; a++)
				d[a] = near[i * w + a].d;
			if (p)
				mm_tsne_weights(d, w, perplexity, p);
			for (size_t a = 0; p && a < w; a++)
				cond[i * w + a] = (float)(p[a] / (2 * (double)k));
		}
		mm_free(p);
		mm_free(d);
	}
	return failed ? mm_fail(err, MM_ENOMEM, "affinities: out of memory") : 0;
}

/* Rows of own and incoming entries, sorted, equal columns added up. */
static void merge_rows(struct mm_affinity *a, struct entry *e, const uint64_t *start)
{
	uint64_t out = 0;
	for (size_t i = 0; i < a->k; i++) {
		uint64_t from = start[i], to = start[i + 1], row = out;
		qsort(e + from, to - from, sizeof(*e), cmp_entry);
		for (uint64_t x = from; x < to; x++) {
			if (out > row && a->col[out - 1] == e[x].col) {
				a->p[out - 1] += e[x].p;
				continue;
			}
			a->col[out] = e[x].col;
			a->p[out++] = e[x].p;
		}
		a->at[i + 1] = out;
	}
}

int mm_tsne_affinity(
	struct mm_affinity *a, const struct mm_near *near, size_t k, size_t w, double perplexity, struct mm_err *err)
{
	size_t n;
	memset(a, 0, sizeof(*a));
	if (k < 2 || w == 0 || !(perplexity > 0) || !mm_mul(k, 2 * w, &n) || k > UINT32_MAX)
		return mm_fail(err, MM_EINVAL, "affinities of %zu models with %zu neighbours", k, w);
	a->k = k;
	float *cond = mm_calloc(k * w, sizeof(*cond), err);
	uint64_t *start = cond ? mm_calloc(2 * (k + 1), sizeof(*start), err) : NULL, *fill = start + k + 1;
	struct entry *e = start ? mm_calloc(n, sizeof(*e), err) : NULL;
	a->at = e ? mm_calloc(k + 1, sizeof(*a->at), err) : NULL;
	a->col = a->at ? mm_calloc(n, sizeof(*a->col), err) : NULL;
	a->p = a->col ? mm_calloc(n, sizeof(*a->p), err) : NULL;
	int rc = a->p ? conditional(near, k, w, perplexity, cond, err) : -1;
	if (rc == 0) {
		for (size_t x = 0; x < k * w; x++)
			start[near[x].i + 1]++;
		for (size_t i = 0; i < k; i++) {
			start[i + 1] += start[i] + w;
			fill[i] = start[i];
		}
		for (size_t x = 0; x < k * w; x++) {
			uint32_t i = (uint32_t)(x / w), j = near[x].i;
			e[fill[i]++] = (struct entry){ j, cond[x] };
			e[fill[j]++] = (struct entry){ i, cond[x] };
		}
		merge_rows(a, e, start);
	}
	mm_free(e);
	mm_free(start);
	mm_free(cond);
	if (rc)
		mm_affinity_fini(a);
	return rc;
}

void mm_affinity_fini(struct mm_affinity *a)
{
	mm_free(a->at);
	mm_free(a->col);
	mm_free(a->p);
	memset(a, 0, sizeof(*a));
}
