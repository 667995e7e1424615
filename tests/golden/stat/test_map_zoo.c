/* The map of the zoo against analysis.json, which NumPy and scikit-learn made from the same log-likelihoods.
 * Relative tolerance 1e-6 (analysis.json carries 8 digits), floor 1e-6 nat (input rounded to f32 moves small
 * distances). */
#include "zoo.h"

#define REL   1e-6
#define FLOOR 1e-6

static void check_matrix(const struct zoo *z, const struct mm_tri *t, double clip, const char *which)
{
	json_t *want = zoo_at(z, which, "two_kl_matrix", NULL);
	for (size_t i = 0; i < z->m.k; i++) {
		double row[64];
		mm_dist_row(&z->m, z->m.row[i], clip, row);
		for (size_t j = 0; j < z->m.k; j++) {
			char what[256];
			double w = json_number_value(json_array_get(json_array_get(want, i), j));
			snprintf(what, sizeof(what), "%s %s - %s", which, z->name[i], z->name[j]);
			near_rel(mm_tri_get(t, i, j), w, REL, FLOOR, what);
			near_rel(row[j], w, REL, FLOOR, what);
		}
	}
}

static void check_nearest(const struct zoo *z, const struct mm_tri *t, const char *which)
{
	struct mm_err err;
	struct mm_near near[64 * 2];
	MUST(mm_knn_all(t, 2, near, &err));
	for (size_t i = 0; i < z->m.k; i++) {
		json_t *want = zoo_at(z, which, "nearest", z->name[i], NULL);
		double wd = json_number_value(json_array_get(want, 1));
		assert_string_equal(z->name[near[2 * i].i], json_string_value(json_array_get(want, 0)));
		near_rel((double)near[2 * i].d, wd, REL, FLOOR, z->name[i]);
	}
}

static void check_pca(const struct zoo *z, const struct mm_tri *t, double clip, const char *which)
{
	struct mm_err err;
	struct mm_pca p;
	MUST(mm_pca_fit(&p, &z->m, t, clip, 3, &err));
	json_t *cum = zoo_at(z, which, "pca", "cumulative", NULL);
	double sum = 0;
	for (size_t d = 0; d < json_array_size(cum); d++) {
		sum += p.ratio[d];
		near_rel(sum, json_number_value(json_array_get(cum, d)), REL, 0, "cumulative variance");
	}
	assert_int_equal(p.dims90, json_integer_value(zoo_at(z, which, "pca", "dims90", NULL)));
	assert_int_equal(p.dims95, json_integer_value(zoo_at(z, which, "pca", "dims95", NULL)));
	for (size_t i = 0; i < z->m.k; i++) {
		double c[3];
		mm_pca_place(&p, z->m.row[i], c);
		for (size_t d = 0; d < 3; d++) /* axes are stored in f32 */
			near_rel(c[d], p.coord[i * 3 + d], 1e-5, 1e-5, "placed again");
	}
	mm_pca_fini(&p);
}

static void check(const char *which, double clip, const struct zoo *z)
{
	struct mm_err err;
	struct mm_tri t;
	MUST(mm_dist_matrix(&z->m, clip, &t, &err));
	check_matrix(z, &t, clip, which);
	check_nearest(z, &t, which);
	check_pca(z, &t, clip, which);
	mm_tri_fini(&t);
}

static void test_clipped(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_err err;
	double clip;
	zoo_open(&z);
	MUST(mm_quantile(&z.m, 0.02, &clip, &err));
	near_rel(clip, json_number_value(zoo_at(&z, "clip_threshold", NULL)), REL, 0, "clip threshold");
	check("clipped", clip, &z);
	zoo_close(&z);
}

static void test_raw(void **state)
{
	(void)state;
	struct zoo z;
	zoo_open(&z);
	check("raw", MM_NO_CLIP, &z);
	zoo_close(&z);
}

/* Levels of the models; bits per byte is the mean over the mean length of a text. */
static void test_levels(void **state)
{
	(void)state;
	struct zoo z;
	zoo_open(&z);
	for (size_t i = 0; i < z.m.k; i++) {
		double mean, var;
		mm_row_moments(z.m.row[i], z.m.n, MM_NO_CLIP, &mean, &var);
		near_rel(mean, json_number_value(zoo_at(&z, "mean_loglik", z.name[i], NULL)), REL, 0, z.name[i]);
		near_rel(-mean / (z.texts.mean_bytes * M_LN2),
			json_number_value(zoo_at(&z, "bits_per_byte", z.name[i], NULL)), REL, 0, z.name[i]);
	}
	zoo_close(&z);
}

/* No healthy model is isolated, whatever the order of arrival: 200 orders, every prefix. */
static void test_isolated_never_healthy(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_err err;
	struct mm_rng rng;
	zoo_open(&z);
	zoo_append(&z, "loglik_anomaly.npy", "models_anomaly.txt");
	double clip, var[64], vp[64];
	struct mm_tri t, sub;
	struct mm_isolation iso[64];
	MUST(mm_quantile(&z.m, 0.02, &clip, &err));
	MUST(mm_dist_matrix(&z.m, clip, &t, &err));
	MUST(mm_tri_init(&sub, z.m.k, &err));
	for (size_t i = 0; i < z.m.k; i++) {
		double mean;
		mm_row_moments(z.m.row[i], z.m.n, clip, &mean, &var[i]);
	}
	mm_rng_init(&rng, 7);
	for (int round = 0; round < 200; round++) {
		size_t order[64];
		for (size_t i = 0; i < z.m.k; i++)
			order[i] = i;
		for (size_t i = z.m.k; i-- > 1;) {
			size_t j = mm_rng_below(&rng, i + 1), tmp = order[i];
			order[i] = order[j];
			order[j] = tmp;
		}
		for (size_t i = 0; i < z.m.k; i++) {
			vp[i] = var[order[i]];
			for (size_t j = 0; j < i; j++)
				sub.row[i][j] = (float)mm_tri_get(&t, order[i], order[j]);
		}
		for (size_t k = 1; k <= z.m.k; k++) {
			struct mm_tri head = { sub.row, k };
			MUST(mm_isolate(&head, vp, &mm_isolate_default, iso, &err));
			for (size_t i = 0; i < k; i++)
				if (iso[i].isolated)
					fail_msg("%s isolated among %zu: z %g, unexplained %g", z.name[order[i]], k,
						iso[i].z, iso[i].unexplained);
		}
	}
	mm_tri_fini(&sub);
	mm_tri_fini(&t);
	zoo_close(&z);
}

/* A model whose vector belongs to other texts (entries shuffled) is isolated from eight models on, not before. */
static void test_isolated_garbage(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_err err;
	struct mm_rng rng;
	zoo_open(&z);
	size_t n = z.m.n, k = z.m.k;
	float *bad = malloc(n * sizeof(float));
	memcpy(bad, z.m.row[4], n * sizeof(float));
	mm_rng_init(&rng, 3);
	for (size_t i = n; i-- > 1;) {
		size_t j = mm_rng_below(&rng, i + 1);
		float tmp = bad[i];
		bad[i] = bad[j];
		bad[j] = tmp;
	}
	for (size_t have = 5; have <= k; have += 3) {
		const float *rows[64] = { bad };
		double clip, mean, var[64];
		struct mm_tri t;
		struct mm_isolation iso[64];
		for (size_t i = 0; i < have; i++)
			rows[i + 1] = z.m.row[i];
		struct mm_mat m = { rows, have + 1, n };
		MUST(mm_quantile(&m, 0.02, &clip, &err));
		MUST(mm_dist_matrix(&m, clip, &t, &err));
		for (size_t i = 0; i < m.k; i++)
			mm_row_moments(rows[i], n, clip, &mean, &var[i]);
		MUST(mm_isolate(&t, var, &mm_isolate_default, iso, &err));
		if (iso[0].isolated != (have + 1 >= MM_ISOLATE_MIN_MODELS))
			fail_msg("%zu models: z %g, unexplained %g", have, iso[0].z, iso[0].unexplained);
		assert_int_equal(iso[0].isolated, have + 1 >= MM_ISOLATE_MIN_MODELS);
		for (size_t i = 1; i < m.k; i++)
			assert_false(iso[i].isolated);
		mm_tri_fini(&t);
	}
	free(bad);
	zoo_close(&z);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clipped),
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_isolated_never_healthy),
		cmocka_unit_test(test_isolated_garbage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
