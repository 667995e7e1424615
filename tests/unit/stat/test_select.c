/* select.c: unbiased, better than uniform where texts differ, everything selected gives back the distances. */
#include "util.h"

/* Few texts carry most of the differences. */
static void heavy(struct fake *f, size_t k, size_t n)
{
	struct mm_rng r;
	fake_new(f, k, n, 3, 2);
	mm_rng_init(&r, 9);
	for (size_t i = 0; i < k; i++)
		for (size_t s = 0; s < n; s += 20)
			f->row[i][s] += (float)(200 * mm_rng_normal(&r));
}

static double mean_error(const struct mm_mat *m, enum mm_select how, size_t want)
{
	struct mm_err err;
	double *p = malloc(m->n * sizeof(double)), *w = malloc(m->n * sizeof(double)), sum = 0, e;
	uint32_t *index = malloc(m->n * sizeof(uint32_t));
	size_t got;
	MUST(mm_select_weights(m, MM_NO_CLIP, how, p, &err));
	for (uint64_t seed = 0; seed < 10; seed++) {
		MUST(mm_select_draw(p, m->n, want, seed, index, w, &got, &err));
		assert_int_equal(got, want);
		for (size_t a = 1; a < got; a++)
			assert_true(index[a] > index[a - 1]);
		MUST(mm_select_error(m, MM_NO_CLIP, index, w, got, 0, &e, &err));
		sum += e / 10;
	}
	free(p);
	free(w);
	free(index);
	return sum;
}

static void test_better_than_uniform(void **state)
{
	(void)state;
	struct fake f;
	heavy(&f, 30, 2000);
	double uniform = mean_error(&f.m, MM_SELECT_UNIFORM, 200), length = mean_error(&f.m, MM_SELECT_LENGTH, 200),
	       kl = mean_error(&f.m, MM_SELECT_KL, 200);
	assert_true(kl < 0.7 * uniform && length < 0.8 * uniform && kl < 0.3);
	assert_true(mean_error(&f.m, MM_SELECT_KL, 800) < kl); /* more texts, less error */
	fake_free(&f);
}

static void test_all_selected(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	uint32_t index[60];
	double p[60], w[60];
	size_t got;
	fake_new(&f, 5, 60, 2, 3);
	MUST(mm_select_weights(&f.m, -900, MM_SELECT_KL, p, &err));
	double sum = 0;
	for (size_t s = 0; s < 60; s++)
		sum += p[s];
	assert_close(sum, 1, 1e-12);
	MUST(mm_select_draw(p, 60, 60, 1, index, w, &got, &err));
	assert_int_equal(got, 60);
	for (size_t s = 0; s < 60; s++)
		w[s] = 1; /* equal weights: the plain distance */
	double d = mm_dist_pair(f.row[0], f.row[1], 60, -900);
	assert_close(mm_dist_weighted(f.row[0], f.row[1], index, w, 60, -900), d, 1e-9 * d);
	assert_int_equal(mm_select_draw(p, 60, 61, 1, index, w, &got, &err), -1);
	assert_int_equal(mm_select_draw(p, 60, 0, 1, index, w, &got, &err), -1);
	fake_free(&f);
}

static void test_degenerate(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	uint32_t index[20];
	double p[20], w[20], e;
	size_t got;
	fake_new(&f, 2, 20, 0, 3);
	memcpy(f.row[1], f.row[0], 20 * sizeof(float)); /* equal models: every text as good as another */
	for (int how = 0; how < 3; how++) {
		MUST(mm_select_weights(&f.m, -900, (enum mm_select)how, p, &err));
		for (size_t s = 0; s < 20; s++)
			assert_close(p[s], 0.05, 1e-15);
		MUST(mm_select_draw(p, 20, 10, 1, index, w, &got, &err));
		MUST(mm_select_error(&f.m, -900, index, w, got, 0, &e, &err));
		assert_true(e == 0);
	}
	f.m.k = 1;
	MUST(mm_select_error(&f.m, -900, index, w, got, 0, &e, &err));
	assert_true(e == 0);
	f.m.k = 2;
	fake_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_better_than_uniform),
		cmocka_unit_test(test_all_selected),
		cmocka_unit_test(test_degenerate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
