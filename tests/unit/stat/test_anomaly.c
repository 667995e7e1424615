/* The measurements behind the alerts about broken models, on made numbers whose answer is known. */
#include "stat/stat_anomaly.h"
#include "util.h"

#include <math.h>

#define N 1024

static float gauss(struct mm_rng *r)
{
	return (float)mm_rng_normal(r);
}

static void test_weights(void **state)
{
	(void)state;
	static float a[N], b[N];
	struct mm_weight_match m;
	struct mm_rng rng;
	mm_rng_init(&rng, 1);
	for (size_t i = 0; i < N; i++)
		a[i] = 0.02f * gauss(&rng);
	mm_weight_match(a, a, N, &m);
	assert_true(m.equal == 1 && m.exact == 1 && m.change == 0 && m.corr > 0.999999);
	for (size_t i = 0; i < N; i++) { /* rounded to bf16 */
		uint32_t u;
		memcpy(&u, &a[i], 4);
		u = (u + 0x8000) & 0xffff0000u;
		memcpy(&b[i], &u, 4);
	}
	mm_weight_match(b, a, N, &m);
	assert_true(m.equal == 1 && m.exact < 0.1);
	for (size_t i = 0; i < N; i++) /* fine-tuned */
		b[i] = a[i] + 0.003f * gauss(&rng);
	mm_weight_match(b, a, N, &m);
	assert_true(m.equal < 0.1 && m.change > 0.1 && m.change < 0.2 && m.corr > 0.97);
	for (size_t i = 0; i < N; i++) /* a layer of noise */
		b[i] = a[i] + (i % 8 ? 0 : 0.04f * gauss(&rng));
	mm_weight_match(b, a, N, &m);
	assert_true(m.equal > 0.85 && m.equal < 0.9 && m.change > 1.5 && m.change < 2.5);
	for (size_t i = 0; i < N; i++) /* another training */
		b[i] = 0.02f * gauss(&rng);
	mm_weight_match(b, a, N, &m);
	assert_true(m.equal < 0.05 && fabs(m.corr) < 0.15);
	for (size_t i = 0; i < N; i++) { /* another one of weights that are all about one */
		a[i] = 1 + 0.05f * gauss(&rng);
		b[i] = 1 + 0.05f * gauss(&rng);
	}
	mm_weight_match(a, b, N, &m);
	assert_true(fabs(m.corr) < 0.15);
	for (size_t i = 0; i < N; i++) /* doubled: not equal from either side */
		b[i] = 2 * a[i];
	mm_weight_match(b, a, N, &m);
	assert_true(m.equal < 0.01);
	mm_weight_match(a, b, 0, &m);
	assert_true(m.equal == 0 && m.corr == 0);
}

#define T 300
static const double bytes[3] = { 500, 500, 500 };

/* a - b has mean[c] nats and deviation sd in domain c */
static void gaps(const double mean[3], double sd, struct mm_domain_gap *g)
{
	static float a[T], b[T];
	static uint32_t domain[T];
	struct mm_rng rng;
	mm_rng_init(&rng, 7);
	for (size_t s = 0; s < T; s++) {
		domain[s] = s % 3;
		b[s] = -900 + 50 * gauss(&rng);
		a[s] = b[s] + (float)mean[s % 3] + (float)sd * gauss(&rng);
	}
	mm_domain_gaps(a, b, T, domain, 3, g);
}

static void test_domains(void **state)
{
	(void)state;
	struct mm_domain_gap g[3];
	double worst, by, won, bit = 500 * log(2);
	gaps((double[3]){ -100, -120, -150 }, 30, g);
	assert_int_equal(g[0].n, 100);
	assert_true(fabs(g[1].mean + 120) < 10 && g[1].se > 2 && g[1].se < 4);
	double lost = mm_lost_everywhere(g, bytes, 3, 4, &worst);
	assert_true(fabs(lost + g[0].mean / bit) < 1e-9 && fabs(worst + g[2].mean / bit) < 1e-9);
	gaps((double[3]){ -100, -120, 20 }, 30, g); /* fine-tuned: one domain gained */
	assert_true(mm_lost_everywhere(g, bytes, 3, 4, &worst) == 0);
	assert_int_equal(mm_domain_fell(g, bytes, 3, 0.05, 0.01, 4, &by, &won), -1);
	gaps((double[3]){ -100, -120, -5 }, 30, g); /* one of them within its error */
	assert_true(mm_lost_everywhere(g, bytes, 3, 4, &worst) == 0);
	gaps((double[3]){ 3, -60, 2 }, 10, g); /* one fell, the others did not */
	assert_int_equal(mm_domain_fell(g, bytes, 3, 0.05, 0.01, 4, &by, &won), 1);
	assert_true(fabs(by - 60 / bit) < 0.02 && fabs(won - 3 / bit) < 0.01);
	gaps((double[3]){ 3, -60, 70 }, 10, g); /* another one won as much: whether that pays for it is the caller's */
	assert_int_equal(mm_domain_fell(g, bytes, 3, 0.05, 0.01, 4, &by, &won), 1);
	assert_true(won > by && fabs(won - 70 / bit) < 0.02);
	gaps((double[3]){ 3, -60, 2 }, 10, g);
	assert_int_equal(mm_domain_fell(g, bytes, 3, 0.5, 0.01, 4, &by, &won), -1);
	gaps((double[3]){ -30, -60, -30 }, 10, g); /* all fell: training on something else */
	assert_int_equal(mm_domain_fell(g, bytes, 3, 0.02, 0.01, 4, &by, &won), -1);
	gaps((double[3]){ -100, -100, -100 }, 0, g);
	g[0].n = 5; /* too few texts say nothing, and do not stand in the way */
	assert_true(mm_lost_everywhere(g, bytes, 3, 4, &worst) > 0);
}

static void test_unigram(void **state)
{
	(void)state;
	static float l[T];
	static double u[T];
	struct mm_unigram m;
	struct mm_rng rng;
	mm_rng_init(&rng, 3);
	for (size_t s = 0; s < T; s++) {
		u[s] = -1200 + 100 * (double)gauss(&rng);
		l[s] = (float)(u[s] * 0.98 + 5 * (double)gauss(&rng));
	}
	assert_true(mm_near_unigram(l, u, T, &m));
	assert_true(m.excess > 0.01 && m.excess < 0.03 && m.corr > 0.99);
	for (size_t s = 0; s < T; s++) /* as likely in all, but not the same texts */
		l[s] = -1200 + 100 * gauss(&rng);
	assert_true(mm_near_unigram(l, u, T, &m));
	assert_true(fabs(m.excess) < 0.02 && fabs(m.corr) < 0.25);
	for (size_t s = 0; s < T; s++)
		l[s] = (float)(u[s] * 1.3);
	assert_true(mm_near_unigram(l, u, T, &m));
	assert_true(m.excess < -0.29);
	for (size_t s = 0; s < T; s++)
		u[s] = 0;
	assert_false(mm_near_unigram(l, u, T, &m));
	assert_false(mm_near_unigram(l, u, 0, &m));
}

/* Places on a line: a run that learns in steps of 9, 6, 4, 3. */
static void run_of(const double *x, size_t n, double *d, double *across)
{
	for (size_t i = 0; i + 1 < n; i++)
		d[i] = (x[i + 1] - x[i]) * (x[i + 1] - x[i]);
	for (size_t i = 0; i + 2 < n; i++)
		across[i] = (x[i + 2] - x[i]) * (x[i + 2] - x[i]);
}

static void test_jump(void **state)
{
	(void)state;
	double d[8], a[8], mean[8] = { -1200, -1100, -1050, -1020, -1000, -990 };
	struct mm_run_step s;
	run_of((double[]){ 0, 9, 15, 19, 22, 24 }, 6, d, a);
	for (size_t i = 0; i < 6; i++) {
		mm_run_jump(d, a, mean, 6, i, &s);
		assert_true(s.factor < 2 && s.away <= 0.5);
	}
	run_of((double[]){ 0, 9, 15, 60, 22, 24 }, 6, d, a); /* away and back, whatever the likelihood says */
	mm_run_jump(d, a, mean, 6, 3, &s);
	assert_true(s.away > 20 && s.factor == 0);
	mm_run_jump(d, a, mean, 6, 2, &s);
	assert_true(s.away < 0.1 && s.factor == 0);	     /* one leg is as usual */
	run_of((double[]){ 0, 9, 15, 19, 22, 60 }, 6, d, a); /* away at the end: only a loss is out of line */
	mm_run_jump(d, a, mean, 6, 5, &s);
	assert_true(s.factor == 0 && s.away == 0);
	assert_close(s.usual, (16 + 36) / 2.0, 1e-9); /* of the others: 81, 36, 16, 9 */
	mean[5] = -1100;
	mm_run_jump(d, a, mean, 6, 5, &s);
	assert_true(s.factor > 20 && fabs(s.fell - 100) < 1e-9);
	mm_run_jump(d, a, mean, 3, 2, &s); /* two legs have no usual length */
	assert_true(s.factor == 0);
	mm_run_jump(d, a, mean, 1, 0, &s);
	assert_true(s.factor == 0 && s.n_legs == 0);
}

/* The map makes a rule blunter, never sharper, and only with enough models. */
static void test_table(void **state)
{
	(void)state;
	double v[20];
	for (size_t i = 0; i < MM_RULE_COUNT; i++) {
		const struct mm_rule *r = &mm_rules[i];
		assert_true(r->kind && r->name && r->unit && r->why && r->min_sample >= 1);
		assert_true(r->at == 0 || (r->factor >= 1 && r->min_sample >= MM_POPULATION_MIN));
	}
	for (size_t i = 0; i < 20; i++)
		v[i] = 10 * mm_rules[MM_RULE_HIDDEN_LOSS].value;
	assert_true(mm_rule_value(MM_RULE_HIDDEN_LOSS, v, 7) == mm_rules[MM_RULE_HIDDEN_LOSS].value);
	assert_true(fabs(mm_rule_value(MM_RULE_HIDDEN_LOSS, v, 20) - 20 * mm_rules[MM_RULE_HIDDEN_LOSS].value) < 1e-9);
	for (size_t i = 0; i < 20; i++)
		v[i] = 0;
	assert_true(mm_rule_value(MM_RULE_HIDDEN_LOSS, v, 20) == mm_rules[MM_RULE_HIDDEN_LOSS].value);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_weights), cmocka_unit_test(test_domains),
		cmocka_unit_test(test_unigram), cmocka_unit_test(test_jump), cmocka_unit_test(test_table) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
