/* dgemm.c, lapack.c: products against the obvious loops, decompositions against their definition, equal bits for any
 * number of threads. */
#include "tensor/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double *noise(size_t n, uint64_t seed)
{
	struct mm_rng r;
	mm_rng_init(&r, seed);
	double *x = malloc((n + 1) * sizeof(double));
	for (size_t i = 0; i < n; i++)
		x[i] = mm_rng_normal(&r);
	return x;
}

static void test_products(void **state)
{
	(void)state;
	static const size_t sizes[][3] = { { 1, 1, 1 }, { 3, 5, 7 }, { 8, 24, 256 }, { 9, 25, 257 }, { 193, 241, 300 },
		{ 200, 7, 513 }, { 300, 500, 33 }, { 2, 3, 0 } };
	static const double scales[][2] = { { 1, 0 }, { -2, 1 }, { 0.5, -3 } };
	for (size_t z = 0; z < MM_COUNT(sizes); z++)
		for (int tt = 0; tt < 4; tt++)
			for (size_t q = 0; q < MM_COUNT(scales); q++) {
				size_t m = sizes[z][0], n = sizes[z][1], k = sizes[z][2];
				bool ta = tt & 1, tb = tt & 2;
				size_t lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + 1, ldc = n + 2;
				double *a = noise(lda * (ta ? k : m), 1), *b = noise(ldb * (tb ? n : k), 2),
				       *c = noise(ldc * m, 3);
				double *want = malloc((ldc * m + 1) * sizeof(double));
				memcpy(want, c, ldc * m * sizeof(double));
				for (size_t i = 0; i < m; i++)
					for (size_t j = 0; j < n; j++) {
						double sum = 0;
						for (size_t s = 0; s < k; s++)
							sum += a[ta ? s * lda + i : i * lda + s] *
							       b[tb ? j * ldb + s : s * ldb + j];
						want[i * ldc + j] =
							scales[q][0] * sum +
							(scales[q][1] != 0 ? scales[q][1] * want[i * ldc + j] : 0);
					}
				if (scales[q][1] == 0) /* what is overwritten need not be a number */
					for (size_t i = 0; i < m; i++)
						for (size_t j = 0; j < n; j++)
							c[i * ldc + j] = NAN;
				mm_dgemm(ta, tb, m, n, k, scales[q][0], a, lda, b, ldb, scales[q][1], c, ldc);
				for (size_t i = 0; i < m * ldc;
					i++) /* rounding of k terms; nothing beside the matrix is touched */
					if (!(fabs(c[i] - want[i]) <= (i % ldc < n ? 1e-13 * (1 + (double)k) : 0)))
						fail_msg("%zu x %zu x %zu %d: entry %zu is %g, not %g", m, n, k, tt, i,
							c[i], want[i]);
				free(a);
				free(b);
				free(c);
				free(want);
			}
}

static void test_threads_same_bits(void **state)
{
	(void)state;
	size_t m = 700, n = 500, k = 900;
	double *a = noise(m * k, 1), *b = noise(n * k, 2), *c[2];
	for (int i = 0; i < 2; i++) {
		mm_threads_set(i ? 3 : 1);
		c[i] = malloc(m * n * sizeof(double));
		mm_dgemm(false, true, m, n, k, 1, a, k, b, k, 0, c[i], n);
	}
	mm_threads_set(0);
	assert_memory_equal(c[0], c[1], m * n * sizeof(double));
	free(a);
	free(b);
	free(c[0]);
	free(c[1]);
}

static void test_decompositions(void **state)
{
	(void)state;
	struct mm_err err;
	size_t n = 30, p = 12;
	double *x = noise(n * n, 5), *a = malloc(n * n * sizeof(double)), *v = malloc(n * n * sizeof(double)), w[30],
	       b[30], y[30];
	mm_dgemm(false, true, n, n, n, 1, x, n, x, n, 0, a, n); /* positive definite */
	memcpy(v, a, n * n * sizeof(double));
	assert_int_equal(mm_dsyevd(n, v, w, &err), 0);
	for (size_t i = 0; i < n; i++) { /* a v_i = w_i v_i, ascending */
		assert_true(i == 0 || w[i] >= w[i - 1]);
		for (size_t r = 0; r < n; r++) {
			double sum = 0;
			for (size_t s = 0; s < n; s++)
				sum += a[r * n + s] * v[i * n + s];
			assert_true(fabs(sum - w[i] * v[i * n + r]) < 1e-10 * w[n - 1]);
		}
	}
	memcpy(v, a, n * n * sizeof(double));
	for (size_t i = 0; i < n; i++)
		b[i] = y[i] = x[i];
	assert_int_equal(mm_dposv(n, 1, v, y, &err), 0);
	for (size_t r = 0; r < n; r++) {
		double sum = 0;
		for (size_t s = 0; s < n; s++)
			sum += a[r * n + s] * y[s];
		assert_true(fabs(sum - b[r]) < 1e-6);
	}
	for (size_t i = 0; i < n; i++)
		a[i * n + i] -= 2 * w[n - 1]; /* negative now */
	assert_int_equal(mm_dposv(n, 1, a, y, &err), -1);
	assert_int_equal(err.code, MM_EINVAL);
	double s[12], *u = malloc(n * p * sizeof(double)), *vt = malloc(p * p * sizeof(double)), *z = noise(n * p, 9);
	memcpy(x, z, n * p * sizeof(double));
	assert_int_equal(mm_dgesdd(n, p, z, s, u, vt, &err), 0);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < p; j++) {
			double sum = 0;
			for (size_t c = 0; c < p; c++)
				sum += u[i * p + c] * s[c] * vt[c * p + j];
			assert_true(fabs(sum - x[i * p + j]) < 1e-12);
		}
	a[0] = NAN;
	assert_int_equal(mm_dsyevd(n, a, w, &err), -1);
	assert_int_equal(err.code, MM_ENONFINITE);
	assert_int_equal(mm_dsyevd(0, NULL, NULL, &err), 0);
	free(x);
	free(a);
	free(v);
	free(u);
	free(vt);
	free(z);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_products),
		cmocka_unit_test(test_threads_same_bits),
		cmocka_unit_test(test_decompositions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
