/* fisher_sketch.c: an estimate of the distance to many models from a sixteenth of their features.
 *
 * Layout: [MM_SKETCH][m], so that the probes are the lanes of a vector. Values are fixed-point: a sum of at most 257
 * numbers of a row of length 1 is at most sqrt(257) were all bytes in one place; places are filled evenly, so that 4.2
 * bounds it, and the difference of two still fits 16 bits. */
#include "stat/stat_fisher.h"
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

#define SCALE 3800.0f
#define SEED  UINT64_C(0x736b657463680001)
#define BLOCK 1024 /* probes that a thread has sums for */

/* Where each byte goes, and with which sign: a shuffled deal, the same for ever. */
static void deal(uint8_t *place, float *sign)
{
	struct mm_rng r;
	mm_rng_init(&r, SEED);
	for (size_t b = 0; b < MM_BYTES; b++) {
		place[b] = (uint8_t)(b % MM_SKETCH);
		sign[b] = mm_rng_u64(&r) >> 63 ? 1.0f : -1.0f;
	}
	for (size_t b = MM_BYTES; b-- > 1;) {
		size_t to = mm_rng_below(&r, b + 1);
		uint8_t x = place[b];
		place[b] = place[to];
		place[to] = x;
	}
}

void mm_sketch_make(const float *rows, size_t m, int16_t *out)
{
	uint8_t place[MM_BYTES];
	float sign[MM_BYTES];
	deal(place, sign);
	for (size_t i = 0; i < m; i++) {
		float sum[MM_SKETCH] = { 0 };
		for (size_t b = 0; b < MM_BYTES; b++)
			sum[place[b]] += sign[b] * rows[i * MM_BYTE_STRIDE + b];
		for (size_t c = 0; c < MM_SKETCH; c++)
			out[c * m + i] = (int16_t)lrintf(SCALE * sum[c]);
	}
}

MM_BODY int squares_body(const int16_t *a, const int16_t *b, size_t m, size_t n, float *t)
{
	memset(t, 0, n * sizeof(*t));
	for (size_t c = 0; c < MM_SKETCH; c++)
		for (size_t i = 0; i < n; i++) {
			float d = (float)(a[c * m + i] - b[c * m + i]) * (1 / SCALE);
			t[i] += d * d;
		}
	return 0;
}
MM_TARGETS(int, squares, (const int16_t *a, const int16_t *b, size_t m, size_t n, float *t), (a, b, m, n, t))

/* The first terms of the squared geodesic: good to 1 % up to t = 2; beyond, the sketch has overshot. */
MM_BODY double weighted_body(float *t, const float *w, size_t n, bool arc)
{
	double a[LANES] = { 0 };
	size_t i = 0;
	for (; i + LANES <= n; i += LANES)
		for (int l = 0; l < LANES; l++) {
			float x = t[i + (size_t)l];
			x = arc && x > 2 ? 2 : x;
			float y = x * (4 + x * (1 / 3.0f + x * (2 / 45.0f + x * (1 / 140.0f + x * (1 / 500.0f)))));
			a[l] += (double)(w[i + (size_t)l] * (arc ? y : x));
		}
	for (int l = 0; i < n; i++, l++) {
		float x = arc && t[i] > 2 ? 2 : t[i];
		float y = x * (4 + x * (1 / 3.0f + x * (2 / 45.0f + x * (1 / 140.0f + x * (1 / 500.0f)))));
		a[l] += (double)(w[i] * (arc ? y : x));
	}
	return lanes_sum(a);
}
MM_TARGETS(double, weighted, (float *t, const float *w, size_t n, bool arc), (t, w, n, arc))

void mm_sketch_scan(enum mm_metric which, const int16_t *const *sketch, size_t k, const int16_t *of, size_t m,
	const float *weight, size_t n, double *est)
{
	bool arc = which == MM_METRIC_FISHER;
#pragma omp parallel for schedule(static) if (k * m >= 1 << 17) num_threads((int)mm_threads())
	for (size_t j = 0; j < k; j++) {
		float t[BLOCK];
		double sum = 0;
		for (size_t at = 0; sketch[j] && at < m; at += BLOCK) {
			size_t len = MM_MIN((size_t)BLOCK, m - at);
			squares(sketch[j] + at, of + at, m, len, t);
			sum += weighted(t, weight + at, len, arc);
		}
		est[j] = sketch[j] ? sum / (double)(n ? n : 1) : INFINITY;
	}
}

double mm_sketch_error(size_t n)
{
	return sqrt(2.0 / (MM_SKETCH * (double)(n ? n : 1)));
}
