/* Who lies alone: populations whose answer is known by construction. */
#include "stat/stat.h"
#include "util.h"

#include <math.h>

#define K 14
#define N 400

struct world {
	float v[K][N];
	struct mm_isolation out[K];
};

/* Every model is the texts' hardness times `shared` and something of its own. */
static void fill(struct world *w, const double *shared, const double *own, uint64_t seed)
{
	struct mm_rng r;
	double hard[N];
	mm_rng_init(&r, seed);
	for (size_t s = 0; s < N; s++)
		hard[s] = mm_rng_normal(&r);
	for (size_t i = 0; i < K; i++)
		for (size_t s = 0; s < N; s++)
			w->v[i][s] = (float)(-900 + shared[i] * hard[s] + own[i] * mm_rng_normal(&r));
}

static void look(struct world *w)
{
	struct mm_err err;
	struct mm_tri tri = { 0 };
	const float *row[K];
	double var[K], mean;
	for (size_t i = 0; i < K; i++) {
		row[i] = w->v[i];
		mm_row_moments(row[i], N, MM_NO_CLIP, &mean, &var[i]);
	}
	struct mm_mat m = { row, K, N };
	MUST(mm_dist_matrix(&m, MM_NO_CLIP, &tri, &err));
	MUST(mm_isolate(&tri, var, &mm_isolate_default, w->out, &err));
	mm_tri_fini(&tri);
}

static size_t n_isolated(const struct world *w)
{
	size_t n = 0;
	for (size_t i = 0; i < K; i++)
		n += w->out[i].isolated;
	return n;
}

static void test_alone(void **state)
{
	(void)state;
	static struct world w;
	double shared[K], own[K];
	for (size_t i = 0; i < K; i++) {
		shared[i] = 140;
		own[i] = 25 + (double)i; /* relatives of all kinds */
	}
	fill(&w, shared, own, 1);
	look(&w);
	assert_int_equal(n_isolated(&w), 0);
	for (size_t i = 0; i < K; i++)
		assert_true(w.out[i].z < 3 && w.out[i].unexplained < 0.2);
	shared[5] = 0; /* nothing in common with anybody */
	own[5] = 140;
	fill(&w, shared, own, 1);
	look(&w);
	assert_true(w.out[5].isolated && w.out[5].z > 3 && w.out[5].unexplained > 0.8 && n_isolated(&w) == 1);
	for (size_t i = 0; i < K; i++)
		assert_true(i == 5 || w.out[i].lof < w.out[5].lof);
	assert_true(w.out[5].lof > 1.5);
}

/* Far, but along what everybody has in common: a weak or a young model, not a strange one. */
static void test_far_and_explained(void **state)
{
	(void)state;
	static struct world w;
	double shared[K], own[K];
	for (size_t i = 0; i < K; i++) {
		shared[i] = 140;
		own[i] = 4;
	}
	shared[3] = 260;
	fill(&w, shared, own, 2);
	look(&w);
	assert_true(w.out[3].z > 3 && w.out[3].unexplained < 0.3);
	assert_int_equal(n_isolated(&w), 0);
}

/* All strangers to each other: nobody is more alone than the rest. A few copies among them change nothing. */
static void test_strangers(void **state)
{
	(void)state;
	static struct world w;
	double shared[K], own[K];
	for (size_t i = 0; i < K; i++) {
		shared[i] = 60;
		own[i] = 120;
	}
	fill(&w, shared, own, 3);
	look(&w);
	assert_int_equal(n_isolated(&w), 0);
	for (size_t i = 0; i < K; i++)
		assert_true(w.out[i].unexplained > 0.5 && fabs(w.out[i].z) < 3);
	for (size_t i = 0; i < 2; i++)
		memcpy(w.v[2 * i], w.v[2 * i + 1], sizeof(w.v[0]));
	look(&w);
	assert_int_equal(n_isolated(&w), 0);
	assert_true(w.out[0].nearest_i == 1 && w.out[0].nearest < 1e-3 && w.out[0].z < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_alone), cmocka_unit_test(test_far_and_explained),
		cmocka_unit_test(test_strangers) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
