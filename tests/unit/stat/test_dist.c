/* mat.c, dist.c, knn.c: against the obvious loops in long double, at edges, and across threads and instruction sets. */
#include "util.h"

#include <sys/wait.h>
#include <unistd.h>

static double slow_pair(const float *a, const float *b, size_t n, double clip)
{
	long double s1 = 0, s2 = 0;
	for (size_t s = 0; s < n; s++)
		s1 += (long double)fmax((double)a[s], clip) - (long double)fmax((double)b[s], clip);
	for (size_t s = 0; s < n; s++) {
		long double d = (long double)fmax((double)a[s], clip) - (long double)fmax((double)b[s], clip) - s1 / n;
		s2 += d * d;
	}
	return (double)(s2 / n);
}

static int cmp_float(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

static void test_pairs(void **state)
{
	(void)state;
	struct mm_err err;
	static const size_t ks[] = { 2, 3, 130, 257 }, ns[] = { 1, 2, 15, 17, 1000, 2500 };
	for (size_t a = 0; a < MM_COUNT(ks); a++)
		for (size_t b = 0; b < MM_COUNT(ns); b++) {
			struct fake f;
			struct mm_tri t;
			double clip = -1000, *row = malloc(ks[a] * sizeof(double));
			fake_new(&f, ks[a], ns[b], 4, 1 + a * 10 + b);
			MUST(mm_dist_matrix(&f.m, clip, &t, &err));
			mm_dist_row(&f.m, f.row[1], clip, row);
			for (size_t i = 0; i < ks[a]; i += 7) {
				double want = slow_pair(f.row[i], f.row[1], ns[b], clip);
				/* f32 storage of the triangle: half an ulp; direct sums: rounding of doubles */
				assert_close(mm_tri_get(&t, i, 1), want, 1e-7 * want + 1e-9);
				assert_close(row[i], want, 1e-11 * want + 1e-9);
			}
			free(row);
			mm_tri_fini(&t);
			fake_free(&f);
		}
}

static void test_quantile(void **state)
{
	(void)state;
	struct mm_err err;
	static const double qs[] = { 0, 0.01, 0.02, 0.5, 0.98, 1 };
	for (size_t n = 1; n < 40; n += 6) {
		struct fake f;
		fake_new(&f, 5, n, 2, n);
		f.row[0][0] = 3.5F;
		f.row[1][n - 1] = -0.0F;
		float *all = malloc(5 * n * sizeof(float));
		for (size_t i = 0; i < 5; i++)
			memcpy(all + i * n, f.row[i], n * sizeof(float));
		qsort(all, 5 * n, sizeof(float), cmp_float);
		for (size_t i = 0; i < MM_COUNT(qs); i++) {
			double got, at = qs[i] * (double)(5 * n - 1), lo = floor(at);
			size_t l = (size_t)lo, h = MM_MIN(l + 1, 5 * n - 1);
			double want = (double)all[l] + (at - lo) * ((double)all[h] - (double)all[l]);
			MUST(mm_quantile(&f.m, qs[i], &got, &err));
			assert_true(got == want);
		}
		assert_int_equal(mm_quantile(&f.m, -0.1, all ? &(double){ 0 } : NULL, &err), -1);
		assert_int_equal(mm_quantile(&f.m, NAN, &(double){ 0 }, &err), -1);
		free(all);
		fake_free(&f);
	}
}

/* Equal rows: exactly 0, also through the products; rows that differ by a constant: 0 within rounding of f32 input. */
static void test_near_copies(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	fake_new(&f, 140, 3000, 3, 5);
	memcpy(f.row[139], f.row[2], 3000 * sizeof(float));
	for (size_t s = 0; s < 3000; s++)
		f.row[138][s] = f.row[3][s] + 1e-3F * (float)(s % 2);
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	assert_true(mm_tri_get(&t, 139, 2) == 0);
	assert_true(mm_dist_pair(f.row[2], f.row[139], 3000, -900) == 0);
	double want = slow_pair(f.row[138], f.row[3], 3000, MM_NO_CLIP);
	assert_close(mm_tri_get(&t, 138, 3), want, 1e-7 * want);
	mm_tri_fini(&t);
	fake_free(&f);
}

static void test_bad_input(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	double q;
	fake_new(&f, 3, 20, 1, 9);
	struct mm_mat none = { NULL, 0, 20 }, narrow = { f.m.row, 3, 0 };
	assert_int_equal(mm_dist_matrix(&none, 0, &t, &err), -1);
	assert_string_equal(err.text, "no models");
	assert_int_equal(mm_dist_matrix(&narrow, 0, &t, &err), -1);
	assert_string_equal(err.text, "no texts");
	f.row[1][7] = NAN;
	assert_int_equal(mm_dist_matrix(&f.m, 0, &t, &err), -1);
	assert_int_equal(err.code, MM_ENONFINITE);
	assert_string_equal(err.text, "row 1, text 7 is not finite");
	f.row[1][7] = -INFINITY;
	assert_int_equal(mm_quantile(&f.m, 0.02, &q, &err), -1);
	assert_int_equal(err.code, MM_ENONFINITE);
	fake_free(&f);
}

static void test_one_model_one_text(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	double mean, var, q;
	fake_new(&f, 1, 50, 0, 2);
	MUST(mm_dist_matrix(&f.m, -900, &t, &err));
	assert_int_equal(t.k, 1);
	assert_true(mm_tri_get(&t, 0, 0) == 0);
	mm_tri_fini(&t);
	fake_free(&f);
	fake_new(&f, 4, 1, 0, 2);
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	assert_true(mm_tri_get(&t, 3, 1) == 0); /* one text: nothing is left after centring */
	mm_row_moments(f.row[0], 1, MM_NO_CLIP, &mean, &var);
	assert_true(mean == (double)f.row[0][0] && var == 0);
	MUST(mm_quantile(&f.m, 0.02, &q, &err));
	mm_tri_fini(&t);
	fake_free(&f);
}

static void test_knn(void **state)
{
	(void)state;
	struct mm_err err;
	double d[] = { 3, 1, 0, 1, 5, 1 };
	struct mm_near n[6];
	assert_int_equal(mm_knn_row(d, 6, 2, 3, n), 3);
	assert_int_equal(n[0].i, 1);
	assert_int_equal(n[1].i, 3);
	assert_int_equal(n[2].i, 5);
	assert_int_equal(mm_knn_row(d, 6, 2, 100, n), 5);
	assert_int_equal(n[4].i, 4);
	assert_int_equal(mm_knn_row(d, 0, SIZE_MAX, 3, n), 0);
	struct fake f;
	struct mm_tri t;
	fake_new(&f, 60, 100, 5, 77);
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	struct mm_near *all = malloc(60 * 59 * sizeof(*all));
	MUST(mm_knn_all(&t, 59, all, &err));
	for (size_t i = 0; i < 60; i++)
		for (size_t a = 1; a < 59; a++)
			assert_true(all[i * 59 + a - 1].d <= all[i * 59 + a].d);
	assert_int_equal(mm_knn_all(&t, 60, all, &err), -1);
	free(all);
	mm_tri_fini(&t);
	fake_free(&f);
}

static void test_threads_same_bits(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri a, b;
	double ma[1500], mb[1500];
	fake_new(&f, 900, 1500, 9, 4);
	mm_threads_set(1);
	MUST(mm_dist_matrix(&f.m, -1100, &a, &err));
	mm_col_means(&f.m, -1100, ma);
	mm_threads_set(3);
	MUST(mm_dist_matrix(&f.m, -1100, &b, &err));
	mm_col_means(&f.m, -1100, mb);
	mm_threads_set(0);
	tri_same_bits(&a, &b);
	assert_memory_equal(ma, mb, sizeof(ma));
	mm_tri_fini(&a);
	mm_tri_fini(&b);
	fake_free(&f);
}

/* Runs in a child whose instruction set is capped: the cap is read once. */
static void child_distances(const char *isa, double out[8])
{
	int p[2];
	assert_int_equal(pipe(p), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		double d[8];
		struct fake f;
		if (isa)
			setenv("ONEDNN_MAX_CPU_ISA", isa, 1);
		fake_new(&f, 8, 333, 2, 8);
		mm_dist_row(&f.m, f.row[0], -1000, d);
		_exit(write(p[1], d, sizeof(d)) == (ssize_t)sizeof(d) ? 0 : 1);
	}
	close(p[1]);
	assert_int_equal(read(p[0], out, 8 * sizeof(double)), 8 * sizeof(double));
	close(p[0]);
	int st;
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_int_equal(st, 0);
}

static void test_isa_same_bits(void **state)
{
	(void)state;
	double all[8], avx2[8], sse[8];
	child_distances(NULL, all);
	child_distances("AVX2", avx2);
	child_distances("SSE41", sse);
	assert_memory_equal(all, avx2, sizeof(all));
	assert_memory_equal(all, sse, sizeof(all));
	assert_true(all[1] > 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_isa_same_bits), /* first: before this process has chosen its own */
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_quantile),
		cmocka_unit_test(test_near_copies),
		cmocka_unit_test(test_bad_input),
		cmocka_unit_test(test_one_model_one_text),
		cmocka_unit_test(test_knn),
		cmocka_unit_test(test_threads_same_bits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
