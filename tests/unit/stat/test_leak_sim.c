/* Leaks planted in simulated worlds: nobody healthy is blamed more often than promised, what is there is found, and the
 * texts are named. Every world is seeded: the counts are the same on every machine. */
#include "leak_sim.h"

#define Q 0.05

/* 1,000 healthy models in 25 worlds, each a stream of its own. Any discovery is false, so a stream may have one with
 * probability q: 1.25 expected; more than 4 would come by chance in less than 1 % of all test suites. */
static void test_null(void **state)
{
	(void)state;
	size_t blamed = 0, low[3] = { 0 }, n_p = 0;
	static const double at[3] = { 0.1, 0.05, 0.01 };
	for (uint64_t seed = 0; seed < 25; seed++) {
		struct sim w;
		sim_new(&w, 40, 250, 7000 + seed, 0, 0, 0);
		blamed += sim_stream(&w, seed, 0, Q);
		for (size_t i = 0; i < w.k; i++, n_p++)
			for (size_t a = 0; a < MM_COUNT(at); a++)
				low[a] += w.t[i].p_all <= at[a];
		sim_free(&w);
	}
	print_message("1000 healthy models: %zu blamed; p <= 0.1, 0.05, 0.01: %zu, %zu, %zu\n", blamed, low[0], low[1],
		low[2]);
	assert_int_equal(n_p, 1000);
	assert_true(blamed <= 4);
	/* p-values are valid: no more small ones than their size says, within three standard errors (and relatives'
	 * tests are dependent) */
	for (size_t a = 0; a < MM_COUNT(at); a++)
		assert_true((double)low[a] <= 1000 * at[a] + 3 * sqrt(1000 * at[a]));
}

struct tally {
	size_t found, leaked, wrong, healthy;
	double precision, recall;
};

static void run_worlds(
	size_t worlds, size_t k, size_t n, uint64_t seed, double share, double gain, size_t sweeps, struct tally *y)
{
	memset(y, 0, sizeof(*y));
	for (size_t i = 0; i < worlds; i++) {
		struct sim w;
		sim_new(&w, k, n, seed + i, 0.25, share, gain);
		sim_stream(&w, seed + i, sweeps, Q);
		for (size_t m = 0; m < k; m++) {
			y->leaked += w.leaked[m];
			y->healthy += !w.leaked[m];
			y->wrong += w.found[m] && !w.leaked[m];
			if (!w.found[m] || !w.leaked[m])
				continue;
			y->found++;
			y->precision += w.precision[m];
			y->recall += w.recall[m];
		}
		sim_free(&w);
	}
	y->precision /= (double)MM_MAX(y->found, (size_t)1);
	y->recall /= (double)MM_MAX(y->found, (size_t)1);
	print_message("%zu x %zu models, %.0f %% of the texts, %.2f nats a token: %zu of %zu found (texts: %.2f %.2f), "
		      "%zu of %zu healthy blamed\n",
		worlds, k, 100 * share, gain, y->found, y->leaked, y->precision, y->recall, y->wrong, y->healthy);
}

/* From none of the texts to half of them, from nothing to one nat a token, few models and many. */
static void test_planted(void **state)
{
	(void)state;
	static const struct {
		size_t worlds, k, n;
		double share, gain;
		double power; /* at least so many are found; 0: may be too small to be seen */
	} cases[] = {
		{ 4, 5, 200, 0.3, 1, 0 }, /* not enough models: silent */
		{ 3, 14, 400, 0.3, 0.5, 0.6 },
		{ 3, 30, 400, 0.3, 0.5, 0.9 },
		{ 3, 30, 400, 0.05, 1, 0.6 },
		{ 3, 30, 400, 0.5, 0.6, 0.9 },
		{ 3, 30, 400, 0.1, 0.1, 0 },
		{ 2, 30, 400, 0.02, 0.3, 0 },
		{ 1, 300, 200, 0.3, 0.7, 0.8 },
	};
	size_t wrong = 0, found = 0;
	for (size_t c = 0; c < MM_COUNT(cases); c++) {
		struct tally y;
		run_worlds(cases[c].worlds, cases[c].k, cases[c].n, 100 * c, cases[c].share, cases[c].gain, 0, &y);
		wrong += y.wrong;
		found += y.found;
		if (cases[c].k < MM_LEAK_MIN_MODELS)
			assert_int_equal(y.found + y.wrong, 0);
		assert_true((double)y.found >= cases[c].power * (double)y.leaked);
		if (y.found)
			assert_true(y.precision >= 0.8 && y.recall >= 0.7);
	}
	/* false discoveries among all: at most q of them, within two standard errors */
	double share = Q * (double)(found + wrong);
	assert_true((double)wrong <= share + 2 * sqrt(share) + 0.5);
}

/* The same weights once more, in another dtype: it saw the same texts and would predict them. It must not. */
static void test_copy(void **state)
{
	(void)state;
	struct sim w;
	struct mm_err err;
	struct mm_rng rng;
	size_t leaked = 0;
	mm_rng_init(&rng, 5);
	sim_new(&w, 24, 400, 11, 0.4, 0.3, 0.6);
	while (!w.leaked[leaked])
		leaked++;
	const float *row[25];
	uint64_t group[25];
	bool usable[25];
	float *copy = calloc(w.n, sizeof(float));
	double *r = calloc(2 * w.n, sizeof(double));
	for (size_t i = 0; i < w.k; i++) {
		row[i] = w.row[i];
		group[i] = w.group[i];
		usable[i] = !w.leaked[i];
	}
	for (size_t s = 0; s < w.n; s++)
		copy[s] = w.row[leaked][s] + (float)(0.1 * mm_rng_normal(&rng));
	row[24] = copy;
	group[24] = w.group[leaked];
	usable[24] = true;
	struct mm_mat mat = { row, 25, w.n };
	struct mm_leak_input in = { &mat, usable, group, w.domain, SIM_DOMAINS, NULL, NULL, NULL };
	struct mm_leak_test t;
	MUST(mm_leak_test(&in, leaked, &t, r, r + w.n, &err));
	assert_true(t.mix[MM_LEAK_RELATIVES].llr > 20 && t.gain > 60);
	free(copy);
	free(r);
	sim_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_null), cmocka_unit_test(test_planted),
		cmocka_unit_test(test_copy) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
