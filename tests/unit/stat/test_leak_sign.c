/* The other angles: texts known to be unseen, the least likely tokens, benchmark scores, and all of them in one p. */
#include "leak_sim.h"

#define N 500

struct resid {
	double r[N], post[N];
	bool control[N];
	uint32_t domain[N];
};

/* Residuals of five domains, each with a shift of its own (fine-tuning); every fifth text a control. */
static void resid_new(struct resid *x, uint64_t seed, double shift)
{
	struct mm_rng rng;
	mm_rng_init(&rng, seed);
	for (size_t s = 0; s < N; s++) {
		x->domain[s] = (uint32_t)(s % 5);
		x->control[s] = mm_rng_below(&rng, 5) == 0;
		x->r[s] = 30 * sim_heavy(&rng) + (double)x->domain[s] * 40 + (x->control[s] ? 0 : shift);
		x->post[s] = 0;
	}
}

static void test_control(void **state)
{
	(void)state;
	struct mm_err err;
	static struct resid x;
	struct mm_leak_sign_result out;
	size_t low = 0;
	for (uint64_t seed = 0; seed < 400; seed++) { /* nothing leaked: p-values are uniform */
		resid_new(&x, seed, 0);
		MUST(mm_leak_control(x.r, x.control, x.domain, N, 5, &out, &err));
		assert_true(out.known && out.n > 60);
		low += out.p <= 0.1;
	}
	assert_true(low >= 20 && low <= 60); /* 40 expected, standard deviation 6 */
	resid_new(&x, 1, 20);		     /* all that is no control was seen: invisible without controls */
	MUST(mm_leak_control(x.r, x.control, x.domain, N, 5, &out, &err));
	assert_true(out.p < 1e-4 && out.statistic > 0 && fabs(out.effect - 20) < 10);
	resid_new(&x, 1, -20); /* the wrong way round is no leak */
	MUST(mm_leak_control(x.r, x.control, x.domain, N, 5, &out, &err));
	assert_true(out.p > 0.99);
	double p0 = out.p;
	for (size_t s = 0; s < N; s++)
		x.r[s] += 1000 * (double)x.domain[s];
	MUST(mm_leak_control(x.r, x.control, x.domain, N, 5, &out, &err));
	assert_true(out.p == p0); /* shifts of domains drop out */
	for (size_t s = 0; s < N; s++)
		x.control[s] = s < 10;
	MUST(mm_leak_control(x.r, x.control, x.domain, N, 5, &out, &err));
	assert_false(out.known);
	MUST(mm_leak_control(x.r, NULL, x.domain, N, 5, &out, &err));
	assert_false(out.known);
	for (size_t s = 0; s < N; s++) { /* all equal: no order, no statement */
		x.control[s] = s % 5 == 0 || s % 7 == 0;
		x.r[s] = 1;
	}
	MUST(mm_leak_control(x.r, x.control, x.domain, N, 5, &out, &err));
	assert_false(out.known);
}

static void test_refuted(void **state)
{
	(void)state;
	static struct resid x;
	resid_new(&x, 1, 0);
	assert_false(mm_leak_refuted(x.post, x.control, N));
	for (size_t s = 0; s < N; s++)
		x.post[s] = s % 3 == 0 && !x.control[s];
	assert_false(mm_leak_refuted(x.post, x.control, N));
	for (size_t s = 0; s < N; s++)
		x.post[s] = s % 3 == 0;
	assert_true(mm_leak_refuted(x.post, x.control, N));
	assert_false(mm_leak_refuted(x.post, NULL, N));
}

static void test_combine(void **state)
{
	(void)state;
	assert_close(mm_leak_combine((double[]){ 1e-6, 0.5 }, (double[]){ 0.5, 0.5 }, 2), 2e-6, 1e-18);
	assert_close(mm_leak_combine((double[]){ 1e-6, 1e-6 }, (double[]){ 0.4, 0.1 }, 2), 1.25e-6, 1e-18);
	assert_close(mm_leak_combine((double[]){ 1, 1e-6 }, (double[]){ 0.4, 0.1 }, 2), 5e-6, 1e-18);
	assert_true(mm_leak_combine(NULL, NULL, 0) == 1);
	assert_true(mm_leak_combine((double[]){ 0.9 }, (double[]){ 0.1 }, 1) == 0.9);
}

/* Signs that follow the log-likelihoods: known with their model's relatives, small p for the leaked one, and together
 * with the contrast no less than what that says alone. */
static void test_memorised(void **state)
{
	(void)state;
	struct mm_err err;
	struct sim w;
	struct mm_rng rng;
	size_t leaked = SIZE_MAX;
	mm_rng_init(&rng, 3);
	sim_new(&w, 24, 400, 11, 0.4, 0.3, 0.6);
	float **mink = calloc(w.k, sizeof(float *));
	double *r = calloc(2 * w.n, sizeof(double));
	for (size_t i = 0; i < w.k; i++) {
		leaked = w.leaked[i] && leaked == SIZE_MAX ? i : leaked;
		mink[i] = calloc(w.n, sizeof(float));
		for (size_t s = 0; s < w.n; s++)
			mink[i][s] = (float)(2.5 * (double)w.row[i][s] / SIM_TOKENS + 0.1 * mm_rng_normal(&rng));
	}
	assert_true(leaked != SIZE_MAX);
	bool *usable = calloc(w.k, sizeof(bool));
	for (size_t i = 0; i < w.k; i++)
		usable[i] = !w.leaked[i];
	struct mm_mat mat = { (const float *const *)w.row, w.k, w.n };
	double *size = calloc(w.n, sizeof(double));
	for (size_t s = 0; s < w.n; s++)
		size[s] = 250 * (1 + 0.1 * mm_rng_normal(&rng));
	struct mm_leak_input in = { &mat, usable, w.group, w.domain, SIM_DOMAINS, (const float *const *)mink,
		(const float *const *)mink, size };
	for (size_t i = 0; i < w.k; i++) {
		MUST(mm_leak_test(&in, i, &w.t[i], r, r + w.n, &err));
		for (int side = MM_LEAK_MEMORISED; side < MM_LEAK_SIDES; side++)
			assert_true(w.t[i].known[side] && w.t[i].n_predictors[side] >= MM_LEAK_MIN_PREDICTORS);
		size_t others = 0, strangers = 0;
		for (size_t j = 0; j < w.k; j++) {
			others += j != i && usable[j];
			strangers += usable[j] && w.group[j] != w.group[i];
		}
		assert_int_equal(w.t[i].n_predictors[MM_LEAK_RELATIVES], others);
		assert_int_equal(w.t[i].n_predictors[MM_LEAK_STRANGERS], strangers);
		/* the same rows, the same answer; by size another unit: nats for each compressed byte */
		assert_true(w.t[i].mix[MM_LEAK_MEMORISED].llr == w.t[i].mix[MM_LEAK_MEMORISED_PP].llr);
		if (w.leaked[i])
			assert_close(w.t[i].mix[MM_LEAK_COMPRESSED].gain, 0.6 * SIM_TOKENS / 250, 0.16);
	}
	MUST(mm_leak_decide(w.t, w.leaked, w.k, &err));
	for (size_t i = 0; i < w.k; i++) {
		for (int side = MM_LEAK_MEMORISED; side < MM_LEAK_SIDES; side++)
			assert_true(w.leaked[i] ? w.t[i].p[side] < 1e-3 : w.t[i].p[side] > 1e-3);
		for (int side = 0; side < MM_LEAK_SIDES; side++)
			assert_true(!w.t[i].known[side] || w.t[i].mix[side].llr <= w.t[i].mix[w.t[i].best].llr);
		if (w.leaked[i]) /* in the unit of the log-likelihoods, whichever side says so */
			assert_true(fabs(w.t[i].gain - 0.6 * SIM_TOKENS) < 25);
	}
	free(mink[leaked]);
	mink[leaked] = NULL; /* stored by an older scorer */
	in.size = NULL;
	struct mm_leak_test out;
	MUST(mm_leak_test(&in, leaked, &out, r, r + w.n, &err));
	for (int side = MM_LEAK_MEMORISED; side < MM_LEAK_SIDES; side++)
		assert_true(!out.known[side] && out.p[side] == 1);
	assert_true(out.known[MM_LEAK_RELATIVES]);
	for (size_t i = 0; i < w.k; i++)
		free(mink[i]);
	free(mink);
	free(size);
	free(usable);
	free(r);
	sim_free(&w);
}

/* Half of the texts: the middle lies between the modes, and the gain is still the distance of the two. */
static void test_half(void **state)
{
	(void)state;
	struct mm_err err;
	struct sim w;
	sim_new(&w, 16, 400, 12, 0.5, 0.5, 0.6);
	bool *usable = calloc(w.k, sizeof(bool));
	double *r = calloc(2 * w.n, sizeof(double));
	size_t n = 0;
	for (size_t i = 0; i < w.k; i++)
		usable[i] = !w.leaked[i];
	struct mm_mat mat = { (const float *const *)w.row, w.k, w.n };
	struct mm_leak_input in = { &mat, usable, w.group, w.domain, SIM_DOMAINS, NULL, NULL, NULL };
	for (size_t i = 0; i < w.k; i++) {
		if (!w.leaked[i])
			continue;
		MUST(mm_leak_test(&in, i, &w.t[i], r, r + w.n, &err));
		assert_true(fabs(w.t[i].gain - 0.6 * SIM_TOKENS) < 30);
		n++;
	}
	assert_true(n > 1);
	free(usable);
	free(r);
	sim_free(&w);
}

/* Every model is calibrated by the others that are not known to be leaked, and not by itself. */
static void test_decide(void **state)
{
	(void)state;
	struct mm_err err;
	static struct mm_leak_test t[40];
	bool leaked[40];
	for (size_t i = 0; i < 40; i++) {
		leaked[i] = i < 20;
		t[i].known[MM_LEAK_RELATIVES] = true;
		t[i].mix[MM_LEAK_RELATIVES].llr = leaked[i] ? 100 : 1;
	}
	t[39].mix[MM_LEAK_RELATIVES].llr = 20;
	MUST(mm_leak_decide(t, leaked, 40, &err));
	assert_close(log(t[39].p[MM_LEAK_RELATIVES]), -10, 1e-9); /* the factor that is always assumed */
	assert_close(log(t[0].p[MM_LEAK_RELATIVES]), -50, 1e-9);
	assert_true(t[39].p[MM_LEAK_MEMORISED] == 1);
	assert_close(log(t[39].p_all), -10, 1e-9);
	/* a sign of little weight costs the others little, and counts for little */
	t[39].sign[MM_LEAK_LEVEL] = (struct mm_leak_sign_result){ .known = true, .p = 1e-4 };
	MUST(mm_leak_decide(t, leaked, 40, &err));
	assert_true(t[39].p_all > t[39].p[MM_LEAK_RELATIVES] && t[39].p_all < 1.2 * t[39].p[MM_LEAK_RELATIVES]);
	t[38].sign[MM_LEAK_LEVEL] = (struct mm_leak_sign_result){ .known = true, .p = 1e-3 };
	MUST(mm_leak_decide(t, leaked, 40, &err));
	assert_true(t[38].p_all > 0.005 && t[38].p_all < 0.02);
	MUST(mm_leak_decide(t, NULL, 40, &err)); /* nobody is known: half of the map like that is what is usual */
	assert_true(t[39].p[MM_LEAK_RELATIVES] > 0.1);
	/* five of twelve others are far, too: less than what a model like them would make of itself */
	for (size_t i = 0; i < 13; i++)
		t[i].mix[MM_LEAK_RELATIVES].llr = i < 6 ? 60 : 1;
	MUST(mm_leak_decide(t, NULL, 13, &err));
	assert_true(t[0].p[MM_LEAK_RELATIVES] < 0.05);
	/* what matters */
	struct mm_leak_test m = { .gain = 10 };
	m.mix[0].separation = 3;
	assert_true(mm_leak_matters(&m, 20, 512));
	assert_false(mm_leak_matters(&m, 4, 512));
	assert_false(mm_leak_matters(&m, 20, 4000)); /* a gain of nothing a byte */
	m.mix[0].separation = 1;
	assert_false(mm_leak_matters(&m, 20, 512));
}

/* By hand: a byte that never came costs 8 bits, one that came once after the same byte one bit. */
static void test_size(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_rng rng;
	static char text[4096], mixed[4096];
	assert_true(mm_leak_size("", 0, &err) == 1 && mm_leak_size("a", 1, &err) == 1);
	assert_close(mm_leak_size("aaa", 3, &err), 10.0 / 8, 1e-12);
	assert_close(mm_leak_size("abab", 4, &err), (8 + 9 + 2 + 1) / 8.0, 1e-12); /* 1 of 2 of 2 kinds: 2 bits */
	assert_close(mm_leak_size("ab", 2, &err), (8 + 1 + 8) / 8.0, 1e-12); /* leaving the empty context costs a bit */
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = mixed[i] = "a man who would be king, or not "[(i * i / 7 + i) % 32];
	mm_rng_init(&rng, 8);
	for (size_t i = sizeof(mixed); i > 1; i--) {
		size_t o = mm_rng_below(&rng, i);
		char c = mixed[i - 1];
		mixed[i - 1] = mixed[o];
		mixed[o] = c;
	}
	double once = mm_leak_size(text, 2048, &err), disorder = mm_leak_size(mixed, 2048, &err);
	memcpy(mixed, text, 2048);
	memcpy(mixed + 2048, text, 2048);
	assert_true(once < 0.9 * disorder && mm_leak_size(mixed, 4096, &err) < 1.6 * once);
	for (size_t i = 0; i < sizeof(mixed); i++)
		mixed[i] = (char)mm_rng_below(&rng, 256);
	assert_true(mm_leak_size(mixed, sizeof(mixed), &err) > 0.99 * sizeof(mixed)); /* noise is what it is */
	char *big = calloc(1, 200000);
	assert_true(mm_leak_size(big, 200000, &err) < 200);
	free(big);
}

/* Means on a line over scores, with noise; one lies above it. */
static void test_level(void **state)
{
	(void)state;
	double mean[30], score[30];
	struct mm_leak_level l;
	struct mm_rng rng;
	mm_rng_init(&rng, 9);
	for (size_t i = 0; i < 30; i++) {
		score[i] = 30 + (double)i;
		mean[i] = -1200 + 10 * score[i] + 5 * mm_rng_normal(&rng);
	}
	assert_true(mm_leak_level(mean, score, 30, 12, &l));
	assert_true(fabs(l.statistic) < 4 && l.n == 29);
	mean[12] += 60;
	assert_true(mm_leak_level(mean, score, 30, 12, &l));
	assert_true(l.statistic > 6 && l.p < 0.05 && l.p >= 1.0 / 30 && fabs(l.effect - 60) < 15);
	mean[12] -= 120;
	assert_true(mm_leak_level(mean, score, 30, 12, &l));
	assert_true(l.p > 0.95);
	assert_false(mm_leak_level(mean, score, 30, 0, &l)); /* outside of the others' scores: first checkpoints */
	score[12] = NAN;
	assert_false(mm_leak_level(mean, score, 30, 12, &l));
	assert_false(mm_leak_level(mean, score, 8, 3, &l)); /* seven others */
	/* on the line its p-value is uniform, above the least that so many models allow */
	size_t low = 0, half = 0;
	for (size_t trial = 0; trial < 1000; trial++) {
		for (size_t i = 0; i < 30; i++) {
			score[i] = 30 + (double)i;
			mean[i] = -1200 + 10 * score[i] + 5 * mm_rng_normal(&rng);
		}
		assert_true(mm_leak_level(mean, score, 30, 15, &l));
		low += l.p <= 0.1;
		half += l.p <= 0.5;
	}
	assert_true(low > 70 && low < 150 && half > 450 && half < 550); /* the spread is an estimate, too */
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_decide), cmocka_unit_test(test_half),
		cmocka_unit_test(test_control), cmocka_unit_test(test_refuted), cmocka_unit_test(test_combine),
		cmocka_unit_test(test_memorised), cmocka_unit_test(test_size), cmocka_unit_test(test_level) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
