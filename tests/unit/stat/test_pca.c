/* pca.c, align.c, isolate.c: identities that hold for any data, degenerate inputs, repeatability. */
#include "util.h"

static double dist2(const double *a, const double *b, size_t n)
{
	double s = 0;
	for (size_t d = 0; d < n; d++)
		s += (a[d] - b[d]) * (a[d] - b[d]);
	return s;
}

/* With all dimensions kept, squared distances of the coordinates are two_kl. */
static void test_full_rank_keeps_distances(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	struct mm_pca p;
	fake_new(&f, 12, 300, 3, 1);
	MUST(mm_dist_matrix(&f.m, -1000, &t, &err));
	MUST(mm_pca_fit(&p, &f.m, &t, -1000, 11, &err));
	for (size_t i = 0; i < 12; i++)
		for (size_t j = 0; j < i; j++) {
			double d = mm_tri_get(&t, i, j);
			assert_close(dist2(p.coord + i * 11, p.coord + j * 11, 11), d, 1e-5 * d);
		}
	double sum = 0;
	for (size_t d = 0; d < p.n_ratio; d++)
		sum += p.ratio[d];
	assert_close(sum, 1, 1e-6);
	mm_pca_fini(&p);
	mm_tri_fini(&t);
	fake_free(&f);
}

/* A new row is placed where a fit that already had it would put it: rows of the fit come back, the mean row lies at 0.
 */
static void test_place(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	struct mm_pca p;
	double c[3];
	fake_new(&f, 40, 700, 4, 2);
	MUST(mm_dist_matrix(&f.m, -1100, &t, &err));
	MUST(mm_pca_fit(&p, &f.m, &t, -1100, 3, &err));
	for (size_t i = 0; i < 40; i++) {
		mm_pca_place(&p, f.row[i], c);
		assert_true(dist2(c, p.coord + 3 * i, 3) < 1e-8 * p.total_var);
	}
	float *mean = malloc(700 * sizeof(float));
	for (size_t s = 0; s < 700; s++)
		mean[s] = (float)p.col_mean[s] + 5; /* a level shift is no direction */
	mm_pca_place(&p, mean, c);
	assert_true(sqrt(dist2(c, (double[3]){ 0 }, 3)) < 1e-3);
	free(mean);
	mm_pca_fini(&p);
	mm_tri_fini(&t);
	fake_free(&f);
}

/* Subspace iteration (large K; from 2,500 on without the matrix) against LAPACK: the N x N covariance has the same
 * spectrum. */
static void spectrum(size_t k, size_t n)
{
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	struct mm_pca p;
	fake_new(&f, k, n, 7, 3);
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	MUST(mm_pca_fit(&p, &f.m, &t, MM_NO_CLIP, 6, &err));
	double *cov = calloc(n * n, sizeof(double)), *w = calloc(n, sizeof(double)), *q = calloc(k * n, sizeof(double));
	double total = 0;
	for (size_t i = 0; i < k; i++) {
		double mean, var, cm = 0;
		mm_row_moments(f.row[i], n, MM_NO_CLIP, &mean, &var);
		for (size_t s = 0; s < n; s++)
			cm += p.col_mean[s] / (double)n;
		for (size_t s = 0; s < n; s++)
			q[i * n + s] = (double)f.row[i][s] - mean - p.col_mean[s] + cm;
	}
	mm_dgemm(true, false, n, n, k, 1.0 / (double)n, q, n, q, n, 0, cov, n);
	MUST(mm_dsyevd(n, cov, w, &err));
	for (size_t s = 0; s < n; s++)
		total += w[s];
	for (size_t d = 0; d < 20; d++)
		assert_close(p.ratio[d], w[n - 1 - d] / total, d < 6 ? 1e-7 : 1e-5); /* beyond the axes: a few digits */
	for (size_t d = 0; d < 6; d++) {
		double norm = 0;
		for (size_t i = 0; i < k; i++)
			norm += p.coord[i * 6 + d] * p.coord[i * 6 + d];
		assert_close(norm / w[n - 1 - d], 1, 1e-6);
	}
	free(cov);
	free(w);
	free(q);
	mm_pca_fini(&p);
	mm_tri_fini(&t);
	fake_free(&f);
}

static void test_large(void **state)
{
	(void)state;
	spectrum(500, 200);
	spectrum(2600, 60);
}

static void test_degenerate(void **state)
{
	(void)state;
	struct mm_err err;
	static const size_t ks[] = { 1, 2, 3, 9 }, ns[] = { 1, 2, 40 };
	for (size_t a = 0; a < MM_COUNT(ks); a++)
		for (size_t b = 0; b < MM_COUNT(ns); b++)
			for (int same = 0; same < 2; same++) {
				struct fake f;
				struct mm_tri t;
				struct mm_pca p;
				double c[3], var[16] = { 0 }, mean;
				struct mm_isolation iso[16];
				fake_new(&f, ks[a], ns[b], 0, 5);
				for (size_t i = 1; same && i < ks[a]; i++)
					memcpy(f.row[i], f.row[0], ns[b] * sizeof(float));
				MUST(mm_dist_matrix(&f.m, -900, &t, &err));
				MUST(mm_pca_fit(&p, &f.m, &t, -900, 3, &err));
				assert_all_finite(p.coord, ks[a] * 3);
				assert_all_finite(p.ratio, MM_PCA_VAR_MAX);
				for (size_t s = 0; s < 3 * ns[b]; s++)
					assert_true(isfinite(p.axis[s]));
				mm_pca_place(&p, f.row[0], c);
				assert_all_finite(c, 3);
				if (same || ks[a] == 1) {
					assert_true(p.total_var == 0 && p.dims90 == 0 && p.n_ratio == 0);
					assert_true(c[0] == 0 && c[2] == 0);
				}
				for (size_t i = 0; i < ks[a]; i++)
					mm_row_moments(f.row[i], ns[b], -900, &mean, &var[i]);
				MUST(mm_isolate(&t, var, &mm_isolate_default, iso, &err));
				for (size_t i = 0; i < ks[a]; i++) {
					assert_false(iso[i].isolated);
					assert_true(isfinite(iso[i].z) && isfinite(iso[i].lof) &&
						    isfinite(iso[i].unexplained));
				}
				mm_pca_fini(&p);
				mm_tri_fini(&t);
				fake_free(&f);
			}
}

static void test_threads_same_bits(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	struct mm_pca p[2];
	size_t k = 700, n = 1600;
	fake_new(&f, k, n, 6, 8);
	MUST(mm_dist_matrix(&f.m, -1000, &t, &err));
	for (int i = 0; i < 2; i++) {
		mm_threads_set(i ? 3 : 1);
		MUST(mm_pca_fit(&p[i], &f.m, &t, -1000, 3, &err));
	}
	mm_threads_set(0);
	assert_memory_equal(p[0].coord, p[1].coord, k * 3 * sizeof(double));
	assert_memory_equal(p[0].axis, p[1].axis, n * 3 * sizeof(float));
	assert_memory_equal(p[0].ratio, p[1].ratio, sizeof(p[0].ratio));
	for (int i = 0; i < 2; i++)
		mm_pca_fini(&p[i]);
	mm_tri_fini(&t);
	fake_free(&f);
}

/* ---- alignment ---- */

static void test_align_recovers(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_rng r;
	mm_rng_init(&r, 6);
	for (size_t dims = 1; dims <= 3; dims++)
		for (int mirror = 0; mirror < 2; mirror++) {
			double x[50 * 3], y[50 * 3], c = cos(0.7), s = sin(0.7), got;
			for (size_t i = 0; i < 50 * dims; i++)
				x[i] = mm_rng_normal(&r);
			for (size_t i = 0; i < 50; i++) {
				const double *a = x + i * dims;
				double *b = y + i * dims;
				b[0] = dims > 1 ? c * a[0] - s * a[1] : a[0];
				if (dims > 1)
					b[1] = s * a[0] + c * a[1];
				if (dims > 2)
					b[2] = a[2];
				for (size_t d = 0; d < dims; d++)
					b[d] = 2.5 * b[d] * (mirror && d == 0 ? -1 : 1) + 10 * (double)(d + 1);
			}
			struct mm_motion mo;
			MUST(mm_align_fit(&mo, 50, dims, x, y, true, &err));
			assert_close(mo.scale, 2.5, 1e-12);
			mm_align_apply(&mo, 50, x);
			MUST(mm_displacement(50, dims, x, y, 1, &got, &err));
			assert_true(got < 1e-11);
		}
}

static void test_align_edges(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_motion mo;
	double x[4] = { 1, 2, 1, 2 }, y[4] = { 3, 4, 3, 4 }, p[2] = { 7, 8 }, got;
	MUST(mm_align_fit(&mo, 0, 2, NULL, NULL, false, &err));
	mm_align_apply(&mo, 1, p);
	assert_true(p[0] == 7 && p[1] == 8);
	MUST(mm_align_fit(&mo, 2, 2, x, y, true, &err)); /* one point twice: a shift, scale 1 */
	mm_align_apply(&mo, 2, x);
	MUST(mm_displacement(2, 2, x, y, 0.95, &got, &err));
	assert_close(got, 0, 1e-12);
	assert_int_equal(mm_align_fit(&mo, 2, 4, x, y, false, &err), -1);
	MUST(mm_displacement(0, 2, x, y, 0.5, &got, &err));
	assert_true(got == 0);
	double a[4] = { 0, 0, 0, 0 }, b[4] = { 3, 4, 0, 1 };
	MUST(mm_displacement(2, 2, a, b, 0.5, &got, &err));
	assert_close(got, 3, 1e-15);
}

/* Given up when asked to, with nothing left behind; the same result when nobody asks. */
static void test_cancel(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri t, u;
	struct mm_pca p;
	_Atomic bool cancel = true;
	fake_new(&f, 700, 40, 4, 3); /* more than are decomposed whole */
	assert_int_equal(mm_dist_matrix_until(&f.m, MM_NO_CLIP, &cancel, &t, &err), -1);
	assert_int_equal(err.code, MM_ECANCELLED);
	assert_true(t.k == 0 && t.row == NULL);
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	assert_int_equal(mm_pca_fit_until(&p, &f.m, &t, MM_NO_CLIP, 3, &cancel, &err), -1);
	assert_int_equal(err.code, MM_ECANCELLED);
	cancel = false;
	MUST(mm_dist_matrix_until(&f.m, MM_NO_CLIP, &cancel, &u, &err));
	for (size_t i = 1; i < 700; i++)
		assert_memory_equal(t.row[i], u.row[i], i * sizeof(float));
	MUST(mm_pca_fit_until(&p, &f.m, &t, MM_NO_CLIP, 3, &cancel, &err));
	mm_pca_fini(&p);
	mm_tri_fini(&u);
	mm_tri_fini(&t);
	fake_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_full_rank_keeps_distances),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_degenerate),
		cmocka_unit_test(test_threads_same_bits),
		cmocka_unit_test(test_align_recovers),
		cmocka_unit_test(test_align_edges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
