/* test_lin.c: packed linear maps against a naive product; a row's bits do not depend on its place in the tile. */
#include "tensor/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const size_t shapes[][2] = { /* n_out, n_in: odd ones too */
	{ 48, 48 }, { 144, 48 }, { 1, 7 }, { 5, 3 }, { 33, 100 }, { 384, 96 }, { 768, 256 }, { 130, 1 }, { 2048, 128 }
};

static float *filled(size_t n, uint64_t seed)
{
	struct mm_err err;
	float *p = mm_calloc(MM_MAX(n, 1024), sizeof(float), &err);
	assert_non_null(p);
	struct mm_rng rng;
	mm_rng_init(&rng, seed);
	for (size_t i = 0; i < n; i++)
		p[i] = (float)mm_rng_normal(&rng);
	return p;
}

static void check_shape(size_t n_out, size_t n_in, bool with_bias, enum mm_dtype compute)
{
	struct mm_err err;
	float *w = filled(n_out * n_in, 1), *b = filled(n_out, 2), *x = filled(MM_TILE * n_in, 3);
	float *y = filled(MM_TILE * n_out, 4), *x2 = filled(MM_TILE * n_in, 5), *y2 = filled(MM_TILE * n_out, 6);
	struct mm_lin *lin = mm_lin_new(n_out, n_in, w, with_bias ? b : NULL, compute, &err);
	assert_non_null(lin);
	mm_lin_tile(lin, x, y);
	/* Every product and every sum is rounded: at most n_in + 1 roundings of the sum of magnitudes; bf16 rounds its
	 * inputs to 8 bits (2^-8 each) besides. */
	double unit = compute == MM_F32 ? ldexp(1, -24) * (double)(n_in + 1) : 1.01 * ldexp(1, -7);
	for (size_t r = 0; r < MM_TILE; r++)
		for (size_t o = 0; o < n_out; o++) {
			double s = with_bias ? (double)b[o] : 0, mag = fabs(s);
			for (size_t i = 0; i < n_in; i++) {
				double p = (double)x[r * n_in + i] * (double)w[o * n_in + i];
				s += p;
				mag += fabs(p);
			}
			assert_true(fabs(s - (double)y[r * n_out + o]) <= unit * mag);
		}
	/* the same rows elsewhere in the tile, other neighbours */
	for (size_t shift = 1; shift < MM_TILE; shift += 37) {
		for (size_t r = 0; r < MM_TILE; r += 2)
			memcpy(x2 + (r + shift) % MM_TILE * n_in, x + r * n_in, n_in * sizeof(float));
		mm_lin_tile(lin, x2, y2);
		for (size_t r = 0; r < MM_TILE; r += 2)
			assert_memory_equal(y + r * n_out, y2 + (r + shift) % MM_TILE * n_out, n_out * sizeof(float));
	}
	mm_lin_free(lin);
	mm_free(w), mm_free(b), mm_free(x), mm_free(y), mm_free(x2), mm_free(y2);
}

static void test_f32(void **state)
{
	(void)state;
	for (size_t i = 0; i < MM_COUNT(shapes); i++)
		for (int bias = 0; bias < 2; bias++)
			check_shape(shapes[i][0], shapes[i][1], bias, MM_F32);
	print_message("f32: %s\n", mm_lin_kernel(MM_F32));
}

static void test_bf16(void **state)
{
	(void)state;
	if (!mm_lin_can(MM_BF16))
		skip();
	for (size_t i = 0; i < MM_COUNT(shapes); i++)
		check_shape(shapes[i][0], shapes[i][1], i % 2, MM_BF16);
	print_message("bf16: %s\n", mm_lin_kernel(MM_BF16));
}

static void test_rows_threads(void **state)
{
	(void)state;
	struct mm_err err;
	size_t n = 7 * MM_TILE, n_in = 96, n_out = 130;
	float *w = filled(n_out * n_in, 1), *x = filled(n * n_in, 2), *y = filled(n * n_out, 3),
	      *y2 = filled(n * n_out, 4);
	struct mm_lin *lin = mm_lin_new(n_out, n_in, w, NULL, MM_F32, &err);
	assert_non_null(lin);
	mm_threads_set(1);
	mm_lin_rows(lin, n, x, y);
	mm_threads_set(3);
	mm_lin_rows(lin, n, x, y2);
	assert_memory_equal(y, y2, n * n_out * sizeof(float));
	mm_threads_set(0);
	mm_lin_free(lin);
	mm_free(w), mm_free(x), mm_free(y), mm_free(y2);
}

/* Weights given as bf16 are the same matrix as their widened copy, also in a used buffer: what pads a packed layout
 * must not be what was there before. */
static void check_half(size_t n_out, size_t n_in, enum mm_dtype compute)
{
	struct mm_err err;
	float *w = filled(n_out * n_in, 1), *x = filled(MM_TILE * n_in, 3);
	float *y = filled(MM_TILE * n_out, 4), *y2 = filled(MM_TILE * n_out, 6);
	uint16_t *h = mm_calloc(n_out * n_in, sizeof(*h), &err);
	assert_non_null(h);
	mm_bf16_row(w, h, n_out * n_in);
	mm_dequant(MM_BF16, h, w, n_out * n_in);
	mm_big_keep(1 << 20);
	for (size_t n = 4096; n <= 1 << 17; n += n / 8) { /* every size that comes into question */
		float *dirt = mm_big_alloc(n, &err);
		assert_non_null(dirt);
		memset(dirt, 0xff, n);
		mm_big_free(dirt);
	}
	struct mm_lin *wide = mm_lin_new(n_out, n_in, w, NULL, compute, &err);
	struct mm_lin *half = mm_lin_new_of(n_out, n_in, MM_BF16, h, NULL, compute, &err);
	assert_true(wide && half);
	mm_lin_tile(wide, x, y);
	mm_lin_tile(half, x, y2);
	assert_memory_equal(y, y2, MM_TILE * n_out * sizeof(float));
	mm_lin_free(wide);
	mm_lin_free(half);
	mm_big_keep(0);
	mm_free(w), mm_free(x), mm_free(y), mm_free(y2), mm_free(h);
}

static void test_half(void **state)
{
	(void)state;
	for (size_t i = 0; i < MM_COUNT(shapes); i++)
		for (int c = 0; c < (mm_lin_can(MM_BF16) ? 2 : 1); c++)
			check_half(shapes[i][0], shapes[i][1], c ? MM_BF16 : MM_F32);
}

static void test_big(void **state)
{
	(void)state;
	struct mm_err err;
	mm_big_keep(100 << 20);
	char *a = mm_big_alloc(9 << 20, &err), *b = mm_big_alloc(9 << 20, &err);
	assert_true(a && b && a != b);
	assert_int_equal((uintptr_t)a % 4096, 0);
	memset(a, 1, 9 << 20);
	mm_big_free(a);
	assert_ptr_equal(mm_big_alloc((9 << 20) - 5000, &err), a); /* a little smaller: the kept one */
	char *c = mm_big_alloc(4 << 20, &err);
	assert_ptr_not_equal(c, a);
	mm_big_free(a), mm_big_free(b), mm_big_free(c);
	mm_big_keep(0);
	assert_null(mm_big_alloc(SIZE_MAX - 100, &err));
	mm_big_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_f32),
		cmocka_unit_test(test_bf16),
		cmocka_unit_test(test_rows_threads),
		cmocka_unit_test(test_half),
		cmocka_unit_test(test_big),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
