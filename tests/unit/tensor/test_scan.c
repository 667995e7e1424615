/* test_scan.c: every recurrence against its definition, token by token in double; independence of cuts and places. */
#include "tensor/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* Results are of size 1 and come from sums of at most a few hundred float products: 1e-5 is ten times what rounding
 * makes and a thousand times less than any wrong term. */
#define TOL 1e-5

static float *rnd(struct mm_rng *r, size_t n, double scale, double shift)
{
	struct mm_err err;
	float *x = mm_calloc(n, sizeof(*x), &err);
	assert_non_null(x);
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(mm_rng_normal(r) * scale + shift);
	return x;
}

static void near(double want, double got, const char *what, size_t t, size_t c)
{
	double tol = TOL * (1.0 + fabs(want));
	if (!(fabs(want - got) <= tol))
		fail_msg("%s: token %zu, channel %zu: expected %.9g, got %.9g", what, t, c, want, got);
}

static void test_softplus(void **state)
{
	(void)state;
	for (double x = -30.0; x <= 30.0; x += 0.0625) {
		float y[1] = { (float)x };
		mm_softplus_row(y, 1);
		double want = x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
		if (fabs(y[0] - want) > 3e-7 * want)
			fail_msg("softplus(%g): expected %.9g, got %.9g", x, want, y[0]);
	}
	float far[3] = { 200.0f, -200.0f, NAN };
	mm_softplus_row(far, 3);
	assert_true(far[0] == 200.0f && far[1] == 0.0f && isnan(far[2]));
}

static void test_conv(void **state)
{
	(void)state;
	struct mm_rng r;
	mm_rng_init(&r, 1);
	enum { N = 9, C = 37, LD = 40, K = 4 };
	float *x = rnd(&r, N * LD, 1, 0), *w = rnd(&r, K * C, 1, 0), *b = rnd(&r, C, 1, 0), *y = rnd(&r, N * C, 1, 0);
	for (int bias = 0; bias < 2; bias++) {
		for (size_t taps = 1; taps <= K; taps++) {
			mm_conv_causal(x, LD, w, C, taps, bias ? b : NULL, y, C, N, C);
			for (size_t t = 0; t < N; t++) {
				for (size_t c = 0; c < C; c++) {
					double s = bias ? b[c] : 0.0;
					for (size_t j = 0; j < taps && j <= t; j++)
						s += (double)w[(taps - 1 - j) * C + c] * x[(t - j) * LD + c];
					near(s, y[t * C + c], "conv", t, c);
				}
			}
		}
	}
	mm_free(x), mm_free(w), mm_free(b), mm_free(y);
}

static void test_selective(void **state)
{
	(void)state;
	struct mm_rng r;
	mm_rng_init(&r, 2);
	enum { N = 70, C = 100, S = 5 };
	float *x = rnd(&r, N * C, 1, 0), *dt = rnd(&r, N * C, 1, -1), *a = rnd(&r, S * C, 0.5, 0),
	      *d = rnd(&r, C, 1, 0);
	float *bc = rnd(&r, N * 2 * S, 0.5, 0), *y = rnd(&r, N * C, 1, 0), *z = rnd(&r, N * C, 1, 0);
	float *scratch = rnd(&r, mm_scan_selective_scratch(S), 1, 0); /* dirty on purpose */
	mm_softplus_row(dt, N * C);
	for (size_t i = 0; i < S * C; i++)
		a[i] = -expf(a[i]);
	struct mm_selective p = {
		.n = N, .n_state = S, .ld_x = C, .ld_dt = C, .ld_a = C, .ld_b = 2 * S, .ld_c = 2 * S, .ld_y = C
	};
	for (int cut = 0; cut < 2; cut++) { /* blocks of 64 and of 30: the same bits */
		size_t step = cut ? 30 : MM_SCAN_BLOCK;
		for (size_t c = 0; c < C; c += step) {
			p.n_ch = MM_MIN(step, C - c);
			p.x = x + c, p.dt = dt + c, p.a = a + c, p.d = d + c, p.b = bc, p.c = bc + S;
			p.y = (cut ? z : y) + c;
			mm_scan_selective(&p, scratch);
		}
	}
	assert_memory_equal(y, z, N * C * sizeof(*y));
	for (size_t c = 0; c < C; c++) {
		double s[S] = { 0 };
		for (size_t t = 0; t < N; t++) {
			double out = (double)d[c] * x[t * C + c];
			for (size_t j = 0; j < S; j++) {
				s[j] = exp((double)dt[t * C + c] * a[j * C + c]) * s[j] +
				       (double)dt[t * C + c] * bc[t * 2 * S + j] * x[t * C + c];
				out += s[j] * bc[t * 2 * S + S + j];
			}
			near(out, y[t * C + c], "selective scan", t, c);
		}
	}
	mm_free(x), mm_free(dt), mm_free(a), mm_free(d), mm_free(bc), mm_free(y), mm_free(z), mm_free(scratch);
}

/* The quotient of the definition, every sum anew: no running state to share a mistake with. */
static double wkv_at(const float *k, const float *v, size_t ld, double decay, double first, size_t t)
{
	double top = k[t * ld] + first, num = 0.0, den = 0.0;
	for (size_t i = 0; i < t; i++)
		top = fmax(top, (double)(t - 1 - i) * decay + k[i * ld]);
	for (size_t i = 0; i <= t; i++) {
		double e = exp((i == t ? first : (double)(t - 1 - i) * decay) + k[i * ld] - top);
		num += e * v[i * ld];
		den += e;
	}
	return num / den;
}

static void test_wkv(void **state)
{
	(void)state;
	struct mm_rng r;
	mm_rng_init(&r, 3);
	enum { N = 60, C = 50 };
	/* keys of size 40: e^k itself would overflow a float */
	float *k = rnd(&r, N * C, 40, 0), *v = rnd(&r, N * C, 1, 0), *w = rnd(&r, C, 1, -1), *u = rnd(&r, C, 1, 0);
	float *y = rnd(&r, N * C, 1, 0), *z = rnd(&r, N * C, 1, 0);
	for (size_t c = 0; c < C; c++)
		w[c] = -expf(w[c]);
	mm_scan_wkv(k, v, C, w, u, y, C, N, C);
	for (size_t c = 0; c < C; c += 7)
		mm_scan_wkv(k + c, v + c, C, w + c, u + c, z + c, C, N, MM_MIN((size_t)7, C - c));
	assert_memory_equal(y, z, N * C * sizeof(*y));
	for (size_t t = 0; t < N; t++) /* exponents of size 100 carry 1e-5 of rounding into the weights */
		for (size_t c = 0; c < C; c++)
			if (fabs(wkv_at(k + c, v + c, C, w[c], u[c], t) - y[t * C + c]) > 2e-4)
				fail_msg("wkv: token %zu, channel %zu: expected %.9g, got %.9g", t, c,
					wkv_at(k + c, v + c, C, w[c], u[c], t), y[t * C + c]);
	mm_scan_wkv(k, v, C, w, u, k, C, N, C); /* in place */
	assert_memory_equal(y, k, N * C * sizeof(*y));
	mm_free(k), mm_free(v), mm_free(w), mm_free(u), mm_free(y), mm_free(z);
}

static void test_linear(void **state)
{
	(void)state;
	struct mm_rng r;
	mm_rng_init(&r, 4);
	enum { N = 33, C = 21 };
	float *a = rnd(&r, N * C, 0.2, 0.5), *x = rnd(&r, N * C, 1, 0), *y = rnd(&r, N * C, 1, 0);
	mm_scan_linear(a, C, x, C, y, C, N, C);
	for (size_t c = 0; c < C; c++) {
		double s = 0;
		for (size_t t = 0; t < N; t++) {
			s = t ? s * a[t * C + c] + x[t * C + c] : x[c];
			near(s, y[t * C + c], "linear", t, c);
		}
	}
	mm_scan_linear(a, C, x, C, x, C, N, C);
	assert_memory_equal(x, y, N * C * sizeof(*y));
	mm_free(a), mm_free(x), mm_free(y);
}

static void ssd_check(struct mm_rng *r, size_t n, size_t heads, size_t dh, size_t ns, double dt_shift)
{
	size_t w = heads * dh;
	float *x = rnd(r, n * w, 1, 0), *dt = rnd(r, n * heads, 1, dt_shift), *a = rnd(r, heads, 1, 0),
	      *d = rnd(r, heads, 1, 0);
	float *bc = rnd(r, n * 2 * ns, 0.5, 0), *y = rnd(r, n * w, 1, 0),
	      *scratch = rnd(r, mm_ssd_scratch(heads, dh, ns), 1, 0);
	double *s = (double *)rnd(r, 2 * ns, 0, 0);
	mm_softplus_row(dt, n * heads);
	for (size_t h = 0; h < heads; h++)
		a[h] = -expf(a[h]);
	struct mm_ssd p = { .n = n,
		.n_head = heads,
		.d_head = dh,
		.n_state = ns,
		.x = x,
		.dt = dt,
		.b = bc,
		.c = bc + ns,
		.a = a,
		.d = d,
		.y = y,
		.ld_x = w,
		.ld_dt = heads,
		.ld_b = 2 * ns,
		.ld_c = 2 * ns,
		.ld_y = w };
	mm_ssd(&p, scratch);
	for (size_t c = 0; c < w; c++) {
		size_t h = c / dh;
		memset(s, 0, ns * sizeof(*s));
		for (size_t t = 0; t < n; t++) {
			double step = dt[t * heads + h], out = (double)d[h] * x[t * w + c];
			for (size_t j = 0; j < ns; j++) {
				s[j] = exp(step * a[h]) * s[j] + step * bc[t * 2 * ns + j] * x[t * w + c];
				out += s[j] * bc[t * 2 * ns + ns + j];
			}
			near(out, y[t * w + c], "ssd", t, c);
		}
	}
	mm_free(x), mm_free(dt), mm_free(a), mm_free(d), mm_free(bc), mm_free(y), mm_free(scratch), mm_free(s);
}

static void test_ssd(void **state)
{
	(void)state;
	struct mm_rng r;
	mm_rng_init(&r, 5);
	static const size_t lengths[] = { 1, 2, 63, 64, 65, 128, 150 };
	for (size_t i = 0; i < MM_COUNT(lengths); i++)
		ssd_check(&r, lengths[i], 3, 8, 5, -1);
	ssd_check(&r, 200, 2, 16, 16, 3);  /* decays to nothing within a chunk */
	ssd_check(&r, 200, 1, 32, 24, -6); /* remembers everything */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_softplus),
		cmocka_unit_test(test_conv),
		cmocka_unit_test(test_selective),
		cmocka_unit_test(test_wkv),
		cmocka_unit_test(test_linear),
		cmocka_unit_test(test_ssd),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
