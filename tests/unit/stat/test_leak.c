/* The pieces of the test for leaks, each against what is known by construction. */
#include "leak_sim.h"

#define N 600

/* One heavy-tailed mode; a share of it moved up. */
static void mode(double *r, size_t n, double share, double gain, uint64_t seed)
{
	struct mm_rng rng;
	mm_rng_init(&rng, seed);
	for (size_t s = 0; s < n; s++)
		r[s] = 40 * sim_heavy(&rng) + (mm_rng_double(&rng) < share ? gain : 0);
}

static void test_mixture(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_leak_mix m;
	double r[N], post[N];
	mode(r, N, 0.3, 140, 1);
	MUST(mm_leak_mixture(r, N, &m, post, &err));
	assert_true(m.llr > 20 && fabs(m.share - 0.3) < 0.06 && fabs(m.gain - 140) < 20);
	size_t up = 0, right = 0;
	for (size_t s = 0; s < N; s++) {
		up += post[s] > 0.5;
		right += post[s] > 0.5 && r[s] > 70;
	}
	assert_true(up > 130 && up < 230 && right > 0.8 * (double)up);
	/* the same in other units; upside down it is no gain of a few but a loss: no evidence */
	struct mm_leak_mix k;
	for (size_t s = 0; s < N; s++)
		r[s] = 7 + 0.01 * r[s];
	MUST(mm_leak_mixture(r, N, &k, NULL, &err));
	assert_close(k.llr, m.llr, 0.1);
	assert_close(k.gain, 0.01 * m.gain, 0.02);
	for (size_t seed = 0; seed < 10; seed++) {
		mode(r, N, 0.08, -160, seed);
		MUST(mm_leak_mixture(r, N, &k, NULL, &err));
		mode(r, N, 0.08, 160, seed);
		MUST(mm_leak_mixture(r, N, &m, NULL, &err));
		assert_true(k.llr < 8 && m.llr > k.llr + 6 && k.gain >= 0);
	}
	/* one mode with heavy tails is one mode */
	double most = 0;
	for (size_t seed = 100; seed < 140; seed++) {
		mode(r, N, 0, 0, seed);
		MUST(mm_leak_mixture(r, N, &m, NULL, &err));
		most = fmax(most, m.llr);
	}
	assert_true(most < 7);
	/* some texts that lost are not the other ones' gain */
	for (size_t seed = 0; seed < 6; seed++) {
		mode(r, N, 0.3, -200, seed);
		MUST(mm_leak_mixture(r, N, &m, post, &err));
		assert_true(m.llr == 0 && post[0] == 0);
		mode(r, N, 0.5, 200, seed); /* half of them is still a leak */
		MUST(mm_leak_mixture(r, N, &m, post, &err));
		assert_true(m.llr > 50 && fabs(m.share - 0.5) < 0.06);
	}
	/* tails as they are, light or heavy, are no second mode either; which they were is told */
	for (size_t seed = 0; seed < 10; seed++) {
		struct mm_rng rng;
		mm_rng_init(&rng, seed);
		for (size_t s = 0; s < N; s++)
			r[s] = 1e4 + 40 * mm_rng_normal(&rng);
		MUST(mm_leak_mixture(r, N, &m, NULL, &err));
		assert_true(m.dof >= 9 && m.llr < 6);
		for (size_t s = 0; s < N; s++) { /* 2 degrees of freedom */
			double a = mm_rng_normal(&rng), b = mm_rng_normal(&rng);
			r[s] = 40 * mm_rng_normal(&rng) / sqrt((a * a + b * b) / 2);
		}
		MUST(mm_leak_mixture(r, N, &m, NULL, &err));
		assert_true(m.dof == 3 && m.llr < 8);
	}
	memset(r, 0, sizeof(r)); /* all equal */
	MUST(mm_leak_mixture(r, N, &m, post, &err));
	assert_true(m.llr == 0 && post[0] == 0);
	assert_int_equal(mm_leak_mixture(r, MM_LEAK_MIN_TEXTS - 1, &m, post, &err), -1);
}

/* y is a mix of predictors on all texts, and higher on some: the residual is that gain. */
static void test_residual(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_rng rng;
	static float x[6][N], y[N];
	const float *row[6];
	double r[N], seen = 0, rest = 0;
	mm_rng_init(&rng, 4);
	for (size_t s = 0; s < N; s++) {
		double hard = -900 + 140 * mm_rng_normal(&rng), v = 0;
		for (size_t i = 0; i < 6; i++) {
			row[i] = x[i];
			x[i][s] = (float)(hard + 30 * mm_rng_normal(&rng));
			v += (i == 1 ? 0.5 : 0.1) * (double)x[i][s];
		}
		y[s] = (float)(v + 5 * mm_rng_normal(&rng) + (s % 10 == 0 ? 100 : 0));
	}
	struct mm_mat m = { row, 6, N };
	MUST(mm_leak_residual(&m, y, 1, r, &err));
	for (size_t s = 0; s < N; s++)
		*(s % 10 == 0 ? &seen : &rest) += r[s];
	assert_close(seen / (N / 10) - rest / (N - N / 10), 100, 8);
	/* a text is never predicted by a fit that saw it: a wild value moves its own residual by all of itself */
	double before = r[55], was = (double)y[55];
	y[55] += 500;
	MUST(mm_leak_residual(&m, y, 1, r, &err));
	assert_close(r[55] - before, (double)y[55] - was, 1e-3);
	m.k = 0;
	assert_int_equal(mm_leak_residual(&m, y, 1, r, &err), -1);
}

static void test_centre(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_rng rng;
	double r[N];
	uint32_t domain[N];
	mm_rng_init(&rng, 2);
	for (size_t s = 0; s < N; s++) {
		domain[s] = s < 5 ? 3 : (uint32_t)(s % 3);
		r[s] = mm_rng_normal(&rng) + 50 * (double)(domain[s] % 3);
	}
	r[5] = 1e6; /* a median does not mind */
	MUST(mm_leak_centre(r, N, domain, 4, &err));
	for (uint32_t c = 0; c < 3; c++) {
		size_t n = 0, below = 0;
		for (size_t s = 0; s < N; s++)
			if (domain[s] == c) {
				n++;
				below += r[s] < 0;
			}
		assert_true(n > 190 && below >= n / 2 - 1 && below <= n / 2 + 1);
	}
}

static void test_p(void **state)
{
	(void)state;
	struct mm_err err;
	double llr[400];
	assert_true(mm_leak_p(0, 2) == 1 && mm_leak_p(-1, 2) == 1);
	assert_close(mm_leak_p(20, 2), exp(-10), 1e-12);
	assert_true(mm_leak_p(1e6, 2) >= 1e-300);
	/* as expected of healthy models: the factor that is assumed of them; twice that: twice the factor */
	assert_close(mm_leak_inflation(NULL, 0, &err), 2, 0.2);
	for (size_t i = 0; i < 400; i++)
		llr[i] = -2 * log(1 - ((double)i + 0.5) / 400);
	assert_close(mm_leak_inflation(llr, 400, &err), 2, 0.1);
	for (size_t i = 0; i < 400; i++)
		llr[i] *= 2;
	assert_close(mm_leak_inflation(llr, 400, &err), 4, 0.2);
	for (size_t i = 0; i < 80; i++) /* leaked ones among them, not known to be */
		llr[i] = 200;
	assert_true(mm_leak_inflation(llr, 400, &err) < 9);
	for (size_t i = 0; i < 400; i++)
		llr[i] = 0; /* better than expected: no bonus */
	assert_close(mm_leak_inflation(llr, 400, &err), 2, 1e-9);
}

/* Levels against the formula, wealth, and the promise over many streams. */
static void test_fdr(void **state)
{
	(void)state;
	struct mm_fdr_row f[300];
	double sum = 0, u = sqrt(log(1e6 + 0.5));
	for (size_t t = 1; t <= 1000000; t++)
		sum += mm_fdr_gamma(t);
	/* the rest by its integral, 2 u^3 exp(-u) over u = sqrt(log t), in the unit of the last term */
	double unit = mm_fdr_gamma(1000000) * 1e6 * exp(sqrt(log(1e6))) / log(1e6);
	sum += unit * 2 * exp(-u) * (u * u * u + 3 * u * u + 6 * u + 6);
	assert_close(sum, 1, 1e-4);
	assert_true(mm_fdr_gamma(0) == 0);
	const double q = 0.05, w0 = q / 2;
	for (size_t i = 0; i < 10; i++)
		f[i].p = i == 2 || i == 5 ? 0 : 1;
	mm_fdr_replay(f, 10, q);
	assert_close(f[0].level, w0 * mm_fdr_gamma(1), 1e-15);
	assert_close(f[3].level, w0 * mm_fdr_gamma(4) + (q - w0) * mm_fdr_gamma(1), 1e-15);
	assert_close(f[7].level, w0 * mm_fdr_gamma(8) + (q - w0) * mm_fdr_gamma(5) + q * mm_fdr_gamma(2), 1e-15);
	assert_true(f[2].found && f[5].found && !f[3].found && !f[0].found);
	double wealth = w0;
	for (size_t i = 0; i < 10; i++) {
		wealth += -f[i].level + (i == 2 ? q - w0 : i == 5 ? q : 0);
		assert_close(f[i].wealth, wealth, 1e-12);
		assert_true(f[i].wealth >= 0);
	}
	/* a tenth of the hypotheses are false, with p-values that a good test gives */
	struct mm_rng rng;
	double fdp = 0, power = 0;
	mm_rng_init(&rng, 8);
	for (size_t round = 0; round < 400; round++) {
		size_t wrong = 0, right = 0, there = 0;
		bool is[300];
		for (size_t i = 0; i < 300; i++) {
			is[i] = mm_rng_double(&rng) < 0.1;
			f[i].p = is[i] ? 1e-6 * mm_rng_double(&rng) : mm_rng_double(&rng);
		}
		mm_fdr_replay(f, 300, q);
		for (size_t i = 0; i < 300; i++) {
			there += is[i];
			right += is[i] && f[i].found;
			wrong += !is[i] && f[i].found;
		}
		fdp += wrong + right ? (double)wrong / (double)(wrong + right) : 0;
		power += there ? (double)right / (double)there : 0;
	}
	assert_true(fdp / 400 < q + 0.01 && fdp / 400 > 0.002);
	assert_true(power / 400 > 0.95);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_mixture), cmocka_unit_test(test_residual),
		cmocka_unit_test(test_centre), cmocka_unit_test(test_p), cmocka_unit_test(test_fdr) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
