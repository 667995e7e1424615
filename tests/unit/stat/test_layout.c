/* boot.c, quality.c, mds.c, tsne*.c: known answers, slow twins, degenerate inputs, equal bits for any number of
 * threads. */
#include "util.h"

/* ---- bootstrap ---- */

/* Differences that are independent normals: the standard error of their variance is known, sigma^2 sqrt(2 / N). */
static void test_boot_normal(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_rng r;
	struct mm_boot b;
	size_t n = 5000;
	float *x = malloc(n * sizeof(float)), *y = malloc(n * sizeof(float));
	mm_rng_init(&r, 3);
	for (size_t s = 0; s < n; s++) {
		x[s] = (float)(-900 + 100 * mm_rng_normal(&r));
		y[s] = x[s] + (float)(7 + 12 * mm_rng_normal(&r));
	}
	struct mm_interval iv, again;
	MUST(mm_boot_init(&b, n, 400, 1, &err));
	for (size_t d = 0; d < 400; d++) {
		size_t sum = 0;
		for (size_t s = 0; s < n; s++)
			sum += b.count[d * n + s];
		assert_int_equal(sum, n);
	}
	MUST(mm_boot_dist(&b, x, y, MM_NO_CLIP, &iv, &err));
	assert_true(iv.value == mm_dist_pair(x, y, n, MM_NO_CLIP));
	double se = 144 * sqrt(2.0 / (double)n);
	assert_close(iv.stderr_ / se, 1, 0.12); /* 400 resamples: 3.5 %, three of those */
	assert_true(iv.lo < 144 && iv.hi > 144 && iv.lo < iv.value && iv.value < iv.hi);
	assert_close((iv.hi - iv.lo) / se, 3.92, 0.6);
	mm_boot_fini(&b);
	MUST(mm_boot_init(&b, n, 400, 1, &err));
	MUST(mm_boot_dist(&b, x, y, MM_NO_CLIP, &again, &err));
	assert_memory_equal(&iv, &again, sizeof(iv));
	MUST(mm_boot_dist(&b, x, x, -900, &iv, &err));
	assert_true(iv.value == 0 && iv.stderr_ == 0 && iv.lo == 0 && iv.hi == 0);
	mm_boot_fini(&b);
	free(x);
	free(y);
}

static void test_boot_edges(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_boot b;
	struct mm_interval iv;
	float x[2] = { 1, 5 }, y[2] = { 2, 3 };
	assert_int_equal(mm_boot_init(&b, 0, 100, 1, &err), -1);
	assert_int_equal(mm_boot_init(&b, 10, 1, 1, &err), -1);
	assert_int_equal(mm_boot_init(&b, SIZE_MAX / 2, 100, 1, &err), -1);
	MUST(mm_boot_init(&b, 1, 10, 1, &err));
	MUST(mm_boot_dist(&b, x, y, MM_NO_CLIP, &iv, &err));
	assert_true(iv.value == 0 && iv.stderr_ == 0 && iv.lo == 0 && iv.hi == 0);
	mm_boot_fini(&b);
	MUST(mm_boot_init(&b, 2, 10, 1, &err));
	MUST(mm_boot_dist(&b, x, y, MM_NO_CLIP, &iv, &err));
	assert_all_finite(&iv.value, 4);
	mm_boot_fini(&b);
}

/* Parts: each as if its texts were alone, up to the draw; the whole as without parts. */
static void test_boot_parts(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_boot b;
	struct mm_interval iv[4], whole;
	size_t n = 900;
	uint32_t order[900], start[4] = { 0, 500, 899, 900 };
	float px[900], py[900];
	fake_new(&f, 2, n, 2, 4);
	for (uint32_t s = 0; s < n; s++)
		order[s] = (s * 7) % 900;
	MUST(mm_boot_init(&b, n, 200, 5, &err));
	MUST(mm_boot_parts(&b, f.row[0], f.row[1], -950, order, start, 3, iv, &err));
	for (size_t s = 0; s < n; s++) {
		px[s] = f.row[0][order[s]];
		py[s] = f.row[1][order[s]];
	}
	MUST(mm_boot_dist(&b, px, py, -950, &whole, &err));
	assert_close(iv[3].value, whole.value, 1e-9 * whole.value); /* another order of summation */
	assert_close(iv[3].stderr_, whole.stderr_, 1e-9 * whole.value);
	assert_close(iv[0].value, mm_dist_pair(px, py, 500, -950), 1e-9 * whole.value);
	assert_close(iv[1].value, mm_dist_pair(px + 500, py + 500, 399, -950), 1e-9 * whole.value);
	for (size_t p = 0; p < 2; p++)
		assert_true(iv[p].lo < iv[p].value && iv[p].value < iv[p].hi && iv[p].stderr_ > whole.stderr_);
	assert_true(iv[2].value == 0 && iv[2].stderr_ == 0 && iv[2].lo == 0 && iv[2].hi == 0); /* one text */
	mm_boot_fini(&b);
	fake_free(&f);
}

/* ---- quality ---- */

static size_t slow_rank(const double *d, size_t n, size_t i, size_t j)
{
	size_t r = 1;
	for (size_t a = 0; a < n; a++)
		r += a != i && a != j && (d[i * n + a] < d[i * n + j] || (d[i * n + a] == d[i * n + j] && a < j));
	return r;
}

static void test_quality_twin(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	struct mm_quality q;
	struct mm_rng r;
	size_t n = 40, k = 10;
	fake_new(&f, n, 200, 5, 6);
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	double *y = malloc(2 * n * sizeof(double)), *hi = malloc(n * n * sizeof(double)),
	       *lo = malloc(n * n * sizeof(double));
	mm_rng_init(&r, 8);
	for (size_t a = 0; a < 2 * n; a++)
		y[a] = mm_rng_normal(&r);
	double trust = 0, cont = 0, both = 0, num = 0, den = 0, best = 0;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			hi[i * n + j] = sqrt(mm_tri_get(&t, i, j));
			lo[i * n + j] = hypot(y[2 * i] - y[2 * j], y[2 * i + 1] - y[2 * j + 1]);
			num += hi[i * n + j] * lo[i * n + j];
			den += lo[i * n + j] * lo[i * n + j];
		}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			if (i == j)
				continue;
			size_t a = slow_rank(hi, n, i, j), b = slow_rank(lo, n, i, j);
			trust += b <= k && a > k ? (double)(a - k) : 0;
			cont += a <= k && b > k ? (double)(b - k) : 0;
			both += a <= k && b <= k;
		}
	double norm = 2.0 / (double)(n * k * (2 * n - 3 * k - 1)), big = 0;
	for (size_t a = 0; a < n * n; a++) {
		best += (num / den * lo[a] - hi[a]) * (num / den * lo[a] - hi[a]);
		big += hi[a] * hi[a];
	}
	MUST(mm_quality_of(&q, &t, y, 2, 0, &err));
	assert_close(q.trustworthiness, 1 - norm * trust, 1e-14);
	assert_close(q.continuity, 1 - norm * cont, 1e-14);
	assert_close(q.knn_recall, both / (double)(n * k), 1e-14);
	assert_close(q.stress, sqrt(best / big), 1e-9);
	MUST(mm_quality_of(&q, &t, y, 2, 7, &err)); /* a sample: still shares */
	assert_true(q.trustworthiness > 0 && q.trustworthiness < 1 && q.knn_recall <= 1);
	free(y);
	free(hi);
	free(lo);
	mm_tri_fini(&t);
	fake_free(&f);
}

/* ---- distances of points that lie in the plane are kept exactly ---- */

static void plane(struct mm_tri *t, double *y, size_t k, size_t dims, uint64_t seed)
{
	struct mm_err err;
	struct mm_rng r;
	mm_rng_init(&r, seed);
	for (size_t a = 0; a < k * dims; a++)
		y[a] = 5 * mm_rng_normal(&r);
	MUST(mm_tri_init(t, k, &err));
	for (size_t i = 0; i < k; i++)
		for (size_t j = 0; j < i; j++) {
			double s = 0;
			for (size_t c = 0; c < dims; c++)
				s += (y[i * dims + c] - y[j * dims + c]) * (y[i * dims + c] - y[j * dims + c]);
			t->row[i][j] = (float)s;
		}
}

static void test_smacof_recovers(void **state)
{
	(void)state;
	struct mm_err err;
	for (size_t dims = 2; dims <= 3; dims++) {
		struct mm_tri t;
		struct mm_mds md;
		struct mm_rng r;
		double y[150 * 3], x[150 * 3], d[150], p[3];
		mm_rng_init(&r, 9);
		plane(&t, y, 150, dims, 4);
		for (size_t a = 0; a < 150 * dims; a++)
			x[a] = y[a] + mm_rng_normal(&r); /* disturbed, in the right valley */
		MUST(mm_mds_smacof(&t, dims, 2000, 1e-14, NULL, x, &md, &err));
		assert_true(md.stress < 1e-4);
		/* a further point: distances to y[0]'s mirror of two others */
		for (size_t j = 0; j < 149; j++)
			d[j] = mm_tri_get(&t, 149, j);
		mm_mds_place(d, y, 149, dims, p);
		for (size_t c = 0; c < dims; c++)
			assert_close(p[c], y[149 * dims + c], 1e-4);
		mm_tri_fini(&t);
	}
}

static void test_smacof_never_worse(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	struct mm_pca p;
	struct mm_mds one, many;
	fake_new(&f, 200, 400, 6, 2);
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	MUST(mm_pca_fit(&p, &f.m, &t, MM_NO_CLIP, 2, &err));
	MUST(mm_mds_smacof(&t, 2, 1, 0, NULL, p.coord, &one, &err));
	double raw = 0, last = INFINITY;
	for (int i = 0; i < 20; i++) {
		MUST(mm_mds_smacof(&t, 2, 5, 0, NULL, p.coord, &many, &err));
		assert_true(many.raw_stress <= last);
		last = many.raw_stress;
	}
	assert_true(last < one.raw_stress);
	MUST(mm_mds_smacof(&t, 2, 0, 0, NULL, p.coord, &many, &err));
	MUST(mm_mds_smacof(&t, 2, 1, 0, NULL, p.coord, &many, &err));
	for (size_t i = 0; i < 200; i++) /* the raw stress is what it says: of the layout before the last round */
		for (size_t j = 0; j < i; j++) {
			double d = hypot(p.coord[2 * i] - p.coord[2 * j], p.coord[2 * i + 1] - p.coord[2 * j + 1]);
			raw += (d - sqrt(mm_tri_get(&t, i, j))) * (d - sqrt(mm_tri_get(&t, i, j)));
		}
	assert_true(raw <= many.raw_stress && raw > 0.99 * many.raw_stress);
	mm_pca_fini(&p);
	mm_tri_fini(&t);
	fake_free(&f);
}

/* ---- t-SNE ---- */

static void test_perplexity(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	struct mm_affinity a;
	size_t k = 120, w = 91;
	fake_new(&f, k, 300, 4, 5);
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	struct mm_near *near = malloc(k * w * sizeof(*near));
	MUST(mm_knn_all(&t, w, near, &err));
	MUST(mm_tsne_affinity(&a, near, k, w, 30, &err));
	double sum = 0;
	for (size_t i = 0; i < k; i++)
		for (uint64_t e = a.at[i]; e < a.at[i + 1]; e++) {
			size_t j = a.col[e];
			bool back = false;
			for (uint64_t g = a.at[j]; g < a.at[j + 1]; g++)
				back |= a.col[g] == i && a.p[g] == a.p[e];
			assert_true(back && j != i && (e == a.at[i] || a.col[e - 1] < a.col[e]));
			sum += (double)a.p[e];
		}
	assert_close(sum, 1, 1e-6);
	mm_affinity_fini(&a);
	/* the weights' entropy itself, through one model: no other row adds to it when all others are copies of nobody
	 */
	free(near);
	mm_tri_fini(&t);
	fake_free(&f);
}

static double run_tsne(const struct mm_tri *t, double *y, size_t dims, double theta, size_t exact_max)
{
	struct mm_err err;
	struct mm_tsne_opts o = mm_tsne_default;
	double kl;
	struct mm_rng r;
	o.dims = dims;
	o.theta = theta;
	o.exact_max = exact_max;
	o.n_iter = 400;
	mm_rng_init(&r, 1);
	for (size_t a = 0; a < t->k * dims; a++)
		y[a] = mm_rng_normal(&r);
	MUST(mm_tsne_run(t, &o, y, &kl, &err));
	return kl;
}

/* Clusters come apart, exact and through the tree; the same bits for one and three threads. */
static void test_tsne_clusters(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	struct mm_quality q;
	size_t k = 600;
	fake_new(&f, k, 300, 6, 5);
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	double *y = malloc(3 * k * sizeof(double)), *z = malloc(3 * k * sizeof(double));
	for (size_t dims = 2; dims <= 3; dims++)
		for (int tree = 0; tree < 2; tree++) {
			mm_threads_set(1);
			double kl = run_tsne(&t, y, dims, 0.5, tree ? 0 : 100000), kl3;
			mm_threads_set(3);
			kl3 = run_tsne(&t, z, dims, 0.5, tree ? 0 : 100000);
			mm_threads_set(0);
			assert_true(kl == kl3);
			assert_memory_equal(y, z, dims * k * sizeof(double));
			assert_all_finite(y, dims * k);
			MUST(mm_quality_of(&q, &t, y, dims, 0, &err));
			if (!(q.trustworthiness > 0.93))
				fail_msg("%zuD tree %d: trustworthiness %g", dims, tree, q.trustworthiness);
			/* one of them again, as a new point: it comes back beside its copy */
			double d[600], p[3], off = 0;
			struct mm_tsne_opts o = mm_tsne_default;
			o.dims = dims;
			for (size_t j = 0; j < k; j++)
				d[j] = mm_tri_get(&t, 17, j);
			MUST(mm_tsne_place(d, y, k, &o, p, &err));
			size_t near = 0;
			double best = INFINITY;
			for (size_t j = 0; j < k; j++) {
				off = 0;
				for (size_t c = 0; c < dims; c++)
					off += (p[c] - y[j * dims + c]) * (p[c] - y[j * dims + c]);
				if (off < best) {
					best = off;
					near = j;
				}
			}
			assert_int_equal(near % 6, 17 % 6); /* the cluster of the generator */
		}
	free(y);
	free(z);
	mm_tri_fini(&t);
	fake_free(&f);
}

/* The tree's repulsion against the sum over all pairs: one round from the same place, angle 0 is exact, 0.5 is close.
 */
static void test_tree_is_close(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	size_t k = 500;
	fake_new(&f, k, 200, 5, 7);
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	double *y = malloc(2 * k * sizeof(double)), *z = malloc(2 * k * sizeof(double));
	double exact = run_tsne(&t, y, 2, 0.5, 100000), tree = run_tsne(&t, z, 2, 0.5, 0);
	assert_close(tree, exact, 0.05 * exact); /* chaotic in detail, the same objective */
	free(y);
	free(z);
	mm_tri_fini(&t);
	fake_free(&f);
}

static void test_degenerate(void **state)
{
	(void)state;
	struct mm_err err;
	for (size_t k = 1; k < 12; k++)
		for (int same = 0; same < 3; same++) {
			struct fake f;
			struct mm_tri t;
			struct mm_quality q;
			struct mm_mds md;
			struct mm_tsne_opts o = mm_tsne_default;
			double y[12 * 3] = { 0 }, d[12], p[3], kl;
			fake_new(&f, k, same == 2 ? 1 : 30, 0, k);
			for (size_t i = 1; same == 1 && i < k; i++)
				memcpy(f.row[i], f.row[0], 30 * sizeof(float));
			MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
			for (size_t dims = 2; dims <= 3; dims++) {
				o.dims = dims;
				o.n_iter = 50;
				o.exact_max = k % 2 ? 0 : 100;
				MUST(mm_tsne_run(&t, &o, y, &kl, &err));
				assert_all_finite(y, dims * k);
				assert_true(isfinite(kl));
				MUST(mm_quality_of(&q, &t, y, dims, 0, &err));
				assert_all_finite(&q.trustworthiness, 4);
				MUST(mm_mds_smacof(&t, dims, 20, 1e-9, NULL, y, &md, &err));
				assert_all_finite(y, dims * k);
				assert_true(isfinite(md.stress) && isfinite(md.raw_stress));
				for (size_t j = 0; j < k; j++)
					d[j] = mm_tri_get(&t, 0, j);
				mm_mds_place(d, y, k, dims, p);
				assert_all_finite(p, dims);
				MUST(mm_tsne_place(d, y, k, &o, p, &err));
				assert_all_finite(p, dims);
				MUST(mm_tsne_place(d, y, 0, &o, p, &err));
			}
			mm_tri_fini(&t);
			fake_free(&f);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_boot_normal),
		cmocka_unit_test(test_boot_edges),
		cmocka_unit_test(test_boot_parts),
		cmocka_unit_test(test_quality_twin),
		cmocka_unit_test(test_smacof_recovers),
		cmocka_unit_test(test_smacof_never_worse),
		cmocka_unit_test(test_perplexity),
		cmocka_unit_test(test_tsne_clusters),
		cmocka_unit_test(test_tree_is_close),
		cmocka_unit_test(test_degenerate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
