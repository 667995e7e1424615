/* test_ops.c: vector kernels against plain double loops, and the same bits for every instruction set (the program runs
 * itself under ONEDNN_MAX_CPU_ISA and compares fingerprints of all results). */
#include "tensor/tensor.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define N 1003 /* no multiple of the lanes */

static float x[N], y[N], z[N], w[N], b[N];

static void fill(uint64_t seed, double scale)
{
	struct mm_rng r;
	mm_rng_init(&r, seed);
	for (size_t i = 0; i < N; i++) {
		x[i] = (float)(mm_rng_normal(&r) * scale);
		w[i] = (float)mm_rng_normal(&r);
		b[i] = (float)mm_rng_normal(&r);
	}
}

static double act(enum mm_act a, double v)
{
	switch (a) {
	case MM_ACT_SILU:
		return v / (1 + exp(-v));
	case MM_ACT_GELU:
		return 0.5 * v * erfc(-v / sqrt(2));
	case MM_ACT_GELU_TANH:
		return 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
	case MM_ACT_GELU_QUICK:
		return v / (1 + exp(-1.702 * v));
	case MM_ACT_RELU:
		return v > 0 ? v : 0;
	case MM_ACT_RELU2:
		return v > 0 ? v * v : 0;
	case MM_ACT_RELU6:
		return v < 0 ? 0 : v > 6 ? 6 : v;
	case MM_ACT_SIGMOID:
		return 1 / (1 + exp(-v));
	case MM_ACT_TANH:
		return tanh(v);
	case MM_ACT_MISH:
		return v * tanh(log1p(exp(v)));
	default:
		return v;
	}
}

static void test_act(void **state)
{
	(void)state;
	for (int a = 0; a < MM_ACT_COUNT; a++)
		for (double scale = 0.01; scale < 60; scale *= 5) {
			fill((uint64_t)a + 1, scale);
			memcpy(y, x, sizeof(y));
			mm_act_row((enum mm_act)a, y, N);
			mm_act_gate((enum mm_act)a, x, w, z, N);
			for (size_t i = 0; i < N; i++) { /* a few roundings of a value of size |x| */
				double want = act((enum mm_act)a, (double)x[i]),
				       tol = 4e-7 * (fabs((double)x[i]) + fabs(want));
				if (!(fabs((double)y[i] - want) <= tol))
					fail_msg("act %d of %g: %.9g, expected %.9g", a, (double)x[i], (double)y[i],
						want);
				assert_true(
					fabs((double)z[i] - want * (double)w[i]) <= 2 * tol * (1 + fabs((double)w[i])));
			}
		}
}

static void test_exp(void **state)
{
	(void)state;
	for (size_t i = 0; i < N; i++)
		x[i] = (float)((double)i * 0.17 - 86);
	memcpy(y, x, sizeof(y));
	mm_exp_row(y, N);
	for (size_t i = 0; i < N && x[i] < 87; i++)
		assert_true(fabs((double)y[i] / exp((double)x[i]) - 1) < 3e-7);
	float odd[5] = { -INFINITY, -1000, 0, NAN, 87 };
	mm_exp_row(odd, 5);
	assert_true(odd[0] == 0 && odd[1] == 0 && odd[2] == 1 && isnan(odd[3]) && isfinite(odd[4]));
}

static void test_norms(void **state)
{
	(void)state;
	for (size_t n = 1; n <= N; n += 167) {
		double ss = 0, m = 0, v = 0;
		fill(n, 3);
		for (size_t i = 0; i < n; i++) {
			ss += (double)x[i] * (double)x[i] / (double)n;
			m += (double)x[i] / (double)n;
		}
		for (size_t i = 0; i < n; i++)
			v += ((double)x[i] - m) * ((double)x[i] - m) / (double)n;
		mm_rms_row(x, w, 1e-5f, y, n);
		mm_layernorm_row(x, w, b, 1e-5f, z, n);
		for (size_t i = 0; i < n; i++) {
			assert_true(fabs((double)y[i] - (double)x[i] / sqrt(ss + 1e-5) * (double)w[i]) < 5e-6);
			assert_true(fabs((double)z[i] - (((double)x[i] - m) / sqrt(v + 1e-5) * (double)w[i] +
								(double)b[i])) < 5e-6);
		}
	}
}

static void test_softmax(void **state)
{
	(void)state;
	float sink = 0.7f;
	for (size_t n = 1; n <= N; n += 91) {
		double top = -INFINITY, sum = 0;
		fill(n, 4);
		for (size_t i = 0; i < n; i++)
			top = fmax(top, 5 * tanh(0.5 * (double)x[i] / 5) + (double)b[i]);
		for (size_t i = 0; i < n; i++)
			sum += exp(5 * tanh(0.5 * (double)x[i] / 5) + (double)b[i] - top);
		sum += exp((double)sink - top);
		memcpy(y, x, sizeof(y));
		mm_softmax_row(y, n, 0.5f, 5, b, &sink);
		for (size_t i = 0; i < n; i++)
			assert_true(fabs((double)y[i] -
					    exp(5 * tanh(0.5 * (double)x[i] / 5) + (double)b[i] - top) / sum) < 2e-6);
	}
}

static void test_lse(void **state)
{
	(void)state;
	for (size_t cut = 0; cut <= N; cut += 331) {
		double sum = 0, got = 0, want = 0;
		float max = -INFINITY;
		fill(cut + 1, 6);
		for (size_t i = 0; i < N; i++)
			sum += exp((double)x[i]);
		mm_lse_add(x, cut, &max, &got);
		mm_lse_add(x + cut, N - cut, &max, &got);
		want = log(sum);
		assert_true(fabs((double)max + log(got) - want) < 1e-6);
	}
	float max = -INFINITY;
	double s = 0;
	x[5] = NAN;
	mm_lse_add(x, N, &max, &s);
	assert_true(isnan((double)max + log(s)));
}

/* Mean and variance of log p under p itself, by definition; in two pieces, and with logits that count for nothing. */
static void test_moments(void **state)
{
	(void)state;
	for (size_t cut = 0; cut <= N; cut += 331) {
		double sum = 0, mean = 0, var = 0, m0 = 0, m1 = 0, m2 = 0, again = 0;
		float max = -INFINITY, top = -INFINITY;
		fill(cut + 1, 6);
		x[N - 1] = x[3] = -INFINITY; /* masked */
		for (size_t i = 0; i < N; i++)
			sum += exp((double)x[i]);
		for (size_t i = 0; i < N; i++)
			mean += isfinite(x[i]) ? exp((double)x[i]) / sum * ((double)x[i] - log(sum)) : 0;
		for (size_t i = 0; i < N; i++)
			var += isfinite(x[i]) ? exp((double)x[i]) / sum * pow((double)x[i] - log(sum) - mean, 2) : 0;
		mm_lse_moments(x, cut, &max, &m0, &m1, &m2);
		mm_lse_moments(x + cut, N - cut, &max, &m0, &m1, &m2);
		assert_true(fabs(m1 / m0 - log(m0) - mean) < 1e-5);
		assert_true(fabs(m2 / m0 - m1 / m0 * (m1 / m0) - var) < 1e-5 * (1 + var));
		mm_lse_add(x, cut, &top, &again); /* the log-likelihoods are the same, asked for or not */
		mm_lse_add(x + cut, N - cut, &top, &again);
		assert_true(again == m0 && top == max);
	}
}

static void test_rope(void **state)
{
	(void)state;
	float cs[8], q[10], want[10];
	fill(9, 1);
	for (int i = 0; i < 4; i++) {
		cs[2 * i] = (float)cos(i + 0.5);
		cs[2 * i + 1] = (float)sin(i + 0.5);
	}
	for (int half = 0; half < 2; half++) {
		memcpy(q, x, sizeof(q));
		memcpy(want, x, sizeof(want));
		for (int i = 0; i < 4; i++) {
			int u = half ? i : 2 * i, v = half ? i + 4 : 2 * i + 1;
			want[u] = x[u] * cs[2 * i] - x[v] * cs[2 * i + 1];
			want[v] = x[v] * cs[2 * i] + x[u] * cs[2 * i + 1];
		}
		mm_rope_row(q, cs, 8, half);
		for (int i = 0; i < 10; i++)
			assert_true(fabsf(q[i] - want[i]) < 1e-6f);
	}
}

/* Attention of one head against its definition, with window, cap and bias. */
static void test_attn(void **state)
{
	(void)state;
	enum { T = 150, D = 24 };
	static float q[T * D], k[T * D], v[T * D], out[T * D], bias[T];
	struct mm_err err;
	struct mm_rng r;
	mm_rng_init(&r, 5);
	for (size_t i = 0; i < T * D; i++) {
		q[i] = (float)mm_rng_normal(&r);
		k[i] = (float)mm_rng_normal(&r);
		v[i] = (float)mm_rng_normal(&r);
	}
	for (size_t i = 0; i < T; i++)
		bias[i] = (float)i * 0.01f;
	float *scratch = mm_calloc(mm_attn_scratch(T), sizeof(float), &err);
	assert_non_null(scratch);
	for (size_t window = 0; window < 200; window += 17) {
		struct mm_attn a = { .n = T,
			.d = D,
			.d_v = D,
			.q = q,
			.k = k,
			.v = v,
			.ld_q = D,
			.ld_k = D,
			.ld_v = D,
			.out = out,
			.ld_out = D,
			.scale = 0.3f,
			.cap = 2,
			.window = window,
			.bias = bias };
		mm_attn_head(&a, scratch);
		for (size_t i = 0; i < T; i += 7) {
			double p[T], sum = 0, o = 0;
			for (size_t j = 0; j <= i; j++) {
				double s = 0;
				for (size_t e = 0; e < D; e++)
					s += (double)q[i * D + e] * (double)k[j * D + e];
				p[j] = window && i - j >= window ? 0 : exp(2 * tanh(0.3 * s / 2) + (double)bias[j]);
				sum += p[j];
			}
			for (size_t j = 0; j <= i; j++)
				o += p[j] / sum * (double)v[j * D + 3];
			assert_true(fabs(o - (double)out[i * D + 3]) < 2e-6);
		}
	}
	mm_free(scratch);
}

static void test_bf16(void **state)
{
	(void)state;
	uint16_t h[N];
	fill(3, 100);
	x[7] = NAN;
	x[8] = INFINITY;
	x[9] = -0.0f;
	mm_bf16_row(x, h, N);
	for (size_t i = 0; i < N; i++)
		if (i != 7)
			assert_int_equal(h[i], mm_f32_to_bf16(x[i]));
	assert_true(isnan(mm_bf16_to_f32(h[7])));
}

/* One number of everything above, for the comparison between instruction sets. */
static uint64_t fingerprint(void)
{
	uint64_t h = 0;
	float max = -INFINITY;
	double s = 0;
	for (int a = 0; a < MM_ACT_COUNT; a++) {
		fill((uint64_t)a, 3);
		mm_act_gate((enum mm_act)a, x, w, z, N);
		h = h * 31 + mm_hash64(z, sizeof(z));
	}
	mm_rms_row(x, w, 1e-5f, y, N);
	h = h * 31 + mm_hash64(y, sizeof(y));
	mm_layernorm_row(x, w, b, 1e-5f, y, N);
	h = h * 31 + mm_hash64(y, sizeof(y));
	double moment[2] = { 0 };
	mm_lse_moments(x, N, &max, &s, &moment[0], &moment[1]);
	h = h * 31 + mm_hash64(&s, sizeof(s)) + mm_hash64(&max, sizeof(max)) + mm_hash64(moment, sizeof(moment));
	mm_softmax_row(x, N, 0.7f, 3, b, NULL);
	mm_axpy_row(0.3f, x, y, N);
	mm_softcap_row(y, N, 0.7f, 3);
	return h * 31 + mm_hash64(x, sizeof(x)) + mm_hash64(y, sizeof(y));
}

static const char *self;

static void test_isa(void **state)
{
	(void)state;
	const char *const isa[] = { "SSE41", "AVX2", "ALL" };
	for (size_t i = 0; i < MM_COUNT(isa); i++) {
		char cmd[1200], name[32] = "";
		unsigned long long h = 0;
		snprintf(cmd, sizeof(cmd), "ONEDNN_MAX_CPU_ISA=%s '%s' fingerprint", isa[i], self);
		FILE *f = popen(cmd, "r");
		assert_non_null(f);
		assert_int_equal(fscanf(f, "%31s %llx", name, &h), 2);
		assert_int_equal(pclose(f), 0);
		if (h != fingerprint())
			fail_msg("%s computes other bits than %s", name, mm_ops_isa());
	}
}

int main(int argc, char **argv)
{
	self = argv[0];
	if (argc > 1) {
		printf("%s %llx\n", mm_ops_isa(), (unsigned long long)fingerprint());
		return 0;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_act),
		cmocka_unit_test(test_exp),
		cmocka_unit_test(test_norms),
		cmocka_unit_test(test_softmax),
		cmocka_unit_test(test_lse),
		cmocka_unit_test(test_moments),
		cmocka_unit_test(test_rope),
		cmocka_unit_test(test_attn),
		cmocka_unit_test(test_bf16),
		cmocka_unit_test(test_isa),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
