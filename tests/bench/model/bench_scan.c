/* bench_scan.c - the recurrences of mamba, mamba2 and rwkv against naive loops over tokens, one thread.
 *
 * Naive: the definition as one would write it first, token by token, with expf where an exponential is needed, compiled
 * with the same flags. Processor time, the best of several runs of either in turn; sizes as in models of 130 M
 * parameters. */
#include "tensor/tensor.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define ROUNDS 5
#define N      512 /* tokens */

static double now(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)u.ru_utime.tv_sec + 1e-6 * (double)u.ru_utime.tv_usec;
}

static float *filled(size_t n, float scale, float shift)
{
	static struct mm_rng rng = { { 1, 2, 3, 4 } };
	struct mm_err err;
	float *x = mm_calloc(n, sizeof(*x), &err);
	for (size_t i = 0; x && i < n; i++)
		x[i] = (float)mm_rng_normal(&rng) * scale + shift;
	return x;
}

static float *negative(size_t n)
{
	float *x = filled(n, 0.5f, 0);
	for (size_t i = 0; i < n; i++)
		x[i] = -0.01f - fabsf(x[i]);
	return x;
}

/* ---- mamba: 1536 channels, 16 states ---- */

enum { CH = 1536, ST = 16 };

static void selective_naive(
	const float *x, const float *dt, const float *a, const float *d, const float *b, const float *c, float *y)
{
	static float s[CH][ST];
	memset(s, 0, sizeof(s));
	for (size_t t = 0; t < N; t++)
		for (size_t i = 0; i < CH; i++) {
			float u = x[t * CH + i], step = dt[t * CH + i], out = d[i] * u;
			for (size_t k = 0; k < ST; k++) {
				s[i][k] = expf(step * a[k * CH + i]) * s[i][k] + step * b[t * ST + k] * u;
				out += c[t * ST + k] * s[i][k];
			}
			y[t * CH + i] = out;
		}
}

static void selective_ours(
	const float *x, const float *dt, const float *a, const float *d, const float *b, const float *c, float *y)
{
	static float scratch[2 * ST * MM_SCAN_BLOCK];
	for (size_t i = 0; i < CH; i += MM_SCAN_BLOCK) {
		struct mm_selective s = { .n = N,
			.n_ch = MM_SCAN_BLOCK,
			.n_state = ST,
			.x = x + i,
			.dt = dt + i,
			.a = a + i,
			.d = d + i,
			.b = b,
			.c = c,
			.y = y + i,
			.ld_x = CH,
			.ld_dt = CH,
			.ld_a = CH,
			.ld_b = ST,
			.ld_c = ST,
			.ld_y = CH };
		mm_scan_selective(&s, scratch);
	}
}

/* ---- mamba2: 24 heads of 64, 128 states ---- */

enum { HEADS = 24, DH = 64, S2 = 128 };

static void ssd_naive(
	const float *x, const float *dt, const float *a, const float *d, const float *b, const float *c, float *y)
{
	static float s[HEADS][DH][S2];
	memset(s, 0, sizeof(s));
	for (size_t t = 0; t < N; t++)
		for (size_t h = 0; h < HEADS; h++)
			for (size_t i = 0; i < DH; i++) {
				float step = dt[t * HEADS + h], decay = expf(step * a[h]),
				      u = x[(t * HEADS + h) * DH + i], out = d[h] * u;
				for (size_t k = 0; k < S2; k++) {
					s[h][i][k] = decay * s[h][i][k] + step * b[t * S2 + k] * u;
					out += c[t * S2 + k] * s[h][i][k];
				}
				y[(t * HEADS + h) * DH + i] = out;
			}
}

static void ssd_ours(
	const float *x, const float *dt, const float *a, const float *d, const float *b, const float *c, float *y)
{
	struct mm_err err;
	struct mm_ssd s = { .n = N,
		.n_head = HEADS,
		.d_head = DH,
		.n_state = S2,
		.x = x,
		.dt = dt,
		.b = b,
		.c = c,
		.a = a,
		.d = d,
		.y = y,
		.ld_x = HEADS * DH,
		.ld_dt = HEADS,
		.ld_b = S2,
		.ld_c = S2,
		.ld_y = HEADS * DH };
	float *scratch = mm_calloc(mm_ssd_scratch(HEADS, DH, S2), sizeof(float), &err);
	mm_ssd(&s, scratch);
	mm_free(scratch);
}

/* ---- rwkv: 768 channels ---- */

enum { RW = 768 };

static void wkv_naive(const float *k, const float *v, const float *w, const float *u, float *y)
{
	static float a[RW], b[RW], m[RW];
	for (size_t i = 0; i < RW; i++)
		a[i] = b[i] = 0, m[i] = -1e38f;
	for (size_t t = 0; t < N; t++)
		for (size_t i = 0; i < RW; i++) {
			float kk = k[t * RW + i], vv = v[t * RW + i], q = fmaxf(m[i], u[i] + kk);
			float e1 = expf(m[i] - q), e2 = expf(u[i] + kk - q);
			y[t * RW + i] = (e1 * a[i] + e2 * vv) / (e1 * b[i] + e2);
			q = fmaxf(m[i] + w[i], kk);
			e1 = expf(m[i] + w[i] - q);
			e2 = expf(kk - q);
			a[i] = e1 * a[i] + e2 * vv;
			b[i] = e1 * b[i] + e2;
			m[i] = q;
		}
}

static void wkv_ours(const float *k, const float *v, const float *w, const float *u, float *y)
{
	for (size_t i = 0; i < RW; i += MM_SCAN_BLOCK)
		mm_scan_wkv(k + i, v + i, RW, w + i, u + i, y + i, RW, N, MM_SCAN_BLOCK);
}

/* ---- table ---- */

static void tell(const char *name, const double best[2], const float *a, const float *b, size_t n)
{
	double worst = 0;
	for (size_t i = 0; i < n; i++)
		worst = fmax(worst, fabs((double)a[i] - (double)b[i]) / (1 + fabs((double)a[i])));
	printf("%-24s %12.0f %12.0f %8.1f   (largest difference %.1e)\n", name, N / best[0], N / best[1],
		best[0] / best[1], worst);
}

#define MEASURE(name, naive, ours, size)                                                                               \
	do {                                                                                                           \
		double best[2] = { 1e9, 1e9 };                                                                         \
		for (int r = 0; r < ROUNDS; r++) {                                                                     \
			double t = now();                                                                              \
			naive;                                                                                         \
			double t1 = now();                                                                             \
			for (int k_ = 0; k_ < 4; k_++)                                                                 \
				ours;                                                                                  \
			best[0] = fmin(best[0], t1 - t);                                                               \
			best[1] = fmin(best[1], (now() - t1) / 4);                                                     \
		}                                                                                                      \
		tell(name, best, y, z, size);                                                                          \
	} while (0)

int main(void)
{
	size_t wide = (size_t)N * CH;
	float *x = filled(wide, 1, 0), *dt = filled(wide, 0.01f, 0.05f), *a = negative((size_t)CH * ST);
	float *d = filled(CH, 1, 0), *b = filled((size_t)N * S2, 0.3f, 0), *c = filled((size_t)N * S2, 0.3f, 0);
	float *k = filled(wide, 1, 0), *w = negative(RW), *y = filled(wide, 0, 0), *z = filled(wide, 0, 0);
	printf("%-24s %12s %12s %8s\n", "recurrence", "naive tok/s", "ours tok/s", "times");
	MEASURE("mamba 1536 x 16", selective_naive(x, dt, a, d, b, c, y), selective_ours(x, dt, a, d, b, c, z), wide);
	MEASURE("mamba2 24 x 64 x 128", ssd_naive(x, dt, a, d, b, c, y), ssd_ours(x, dt, a, d, b, c, z), wide);
	MEASURE("rwkv 768", wkv_naive(x, k, w, d, y), wkv_ours(x, k, w, d, z), (size_t)N * RW);
	mm_free(x), mm_free(dt), mm_free(a), mm_free(d), mm_free(b), mm_free(c), mm_free(k), mm_free(w), mm_free(y);
	mm_free(z);
	return 0;
}
