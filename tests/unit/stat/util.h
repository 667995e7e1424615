/* util.h - small matrices and exact comparisons for the unit tests of lib/stat. */
#ifndef TEST_STAT_UTIL_H
#define TEST_STAT_UTIL_H

#include "stat/stat.h"
#include "tensor/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MUST(x)                                                                                                        \
	do {                                                                                                           \
		if (x)                                                                                                 \
			fail_msg("%s: %s", #x, err.text);                                                              \
	} while (0)

struct fake {
	struct mm_mat m;
	float **row;
};

/* k models of n texts: a common difficulty, a cluster effect and noise; like log-likelihoods in size and sign. */
static inline void fake_new(struct fake *f, size_t k, size_t n, size_t clusters, uint64_t seed)
{
	struct mm_rng r;
	mm_rng_init(&r, seed);
	double *hard = malloc(n * sizeof(double)), *eff = malloc((clusters * n + 1) * sizeof(double));
	for (size_t s = 0; s < n; s++)
		hard[s] = -900 + 140 * mm_rng_normal(&r);
	for (size_t i = 0; i < clusters * n; i++)
		eff[i] = 30 * mm_rng_normal(&r);
	f->row = malloc((k + 1) * sizeof(float *));
	for (size_t i = 0; i < k; i++) {
		f->row[i] = malloc((n + 1) * sizeof(float));
		for (size_t s = 0; s < n; s++)
			f->row[i][s] =
				(float)(hard[s] + (clusters ? eff[i % clusters * n + s] : 0) + 15 * mm_rng_normal(&r));
	}
	f->m = (struct mm_mat){ (const float *const *)f->row, k, n };
	free(hard);
	free(eff);
}

static inline void fake_free(struct fake *f)
{
	for (size_t i = 0; i < f->m.k; i++)
		free(f->row[i]);
	free(f->row);
}

static inline void assert_close(double got, double want, double tol)
{
	if (!(fabs(got - want) <= tol))
		fail_msg("got %.15g, expected %.15g (+- %g)", got, want, tol);
}

static inline void assert_all_finite(const double *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isfinite(v[i]))
			fail_msg("value %zu of %zu is not finite", i, n);
}

static inline void tri_same_bits(const struct mm_tri *a, const struct mm_tri *b)
{
	assert_int_equal(a->k, b->k);
	for (size_t i = 1; i < a->k; i++)
		assert_memory_equal(a->row[i], b->row[i], i * sizeof(float));
}

#endif
