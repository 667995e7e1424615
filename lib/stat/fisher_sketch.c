/* fisher_sketch.c: bounds of the distance to many models from a sixteenth of their features.
 *
 * Layout of a sketch: [MM_SKETCH][stride], so that the probes are the lanes of a vector; stride: whole vectors. Columns
 *of a probe:
 *
 *	0 .. 10    a unit each: a byte, or both cases of a letter; those that differ most between the models shown
 *	11 .. 14   the rest of the letters, of white space, of other ASCII, of bytes beyond ASCII
 *	15         the end of the text
 *
 * A value is the root of the mass of its column, fixed-point. Masses that are added up lose distance, never gain any:
 * |.|^2 by the triangle inequality of norms, jeffreys and js because they are convex and of degree one, wasserstein
 * because its tree is cut off above. What fixed point may add is taken off at each probe: roots of |.|^2 and of js are
 * metrics, so that their error is that of the values; wasserstein is a sum of masses. */
#include "stat/stat_fisher.h"
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

#define SCALE	  32000.0f
#define TOP	  11	   /* units of their own */
#define END	  256	   /* the byte that is no byte */
#define BLOCK	  256	   /* probes that a thread has sums for */
#define STEP	  1.6e-5f  /* |value - root|: half of 1 / SCALE, and the roundings of floats */
#define FLOOR	  0x1p-14f /* jeffreys: roots are not below it; for each byte the difference may lose as much */
#define ROUNDINGS 1e-5	   /* relative: sums of floats here, of doubles where the distance is made */

/* ---- which bytes have a column ---- */

enum group { LETTERS, WHITE, ASCII, BEYOND, GROUPS };

static enum group group_of(unsigned b)
{
	if (b >= 0x80)
		return BEYOND;
	if ((b | 32) >= 'a' && (b | 32) <= 'z')
		return LETTERS;
	return b == ' ' || (b >= 9 && b <= 13) ? WHITE : ASCII;
}

/* The byte that stands for a unit. */
static unsigned unit_of(unsigned b)
{
	return b < END && group_of(b) == LETTERS ? b | 32 : b;
}

int mm_sketch_plan_init(struct mm_sketch_plan *p, size_t m, struct mm_err *err)
{
	*p = (struct mm_sketch_plan){ .m = m, .stride = (m + LANES - 1) / LANES * LANES };
	p->unit = mm_calloc(m * TOP, 1, err);
	p->in = p->unit ? mm_calloc(3 * TOP * p->stride, sizeof(*p->in), err) : NULL;
	p->seen = p->in ? mm_calloc(2 * m * MM_BYTES, sizeof(*p->seen), err) : NULL;
	if (p->seen)
		return 0;
	mm_sketch_plan_fini(p);
	return -1;
}

void mm_sketch_plan_fini(struct mm_sketch_plan *p)
{
	mm_free(p->unit);
	mm_free(p->in);
	mm_free(p->seen);
	*p = (struct mm_sketch_plan){ 0 };
}

static void masses(const float *row, double *mass)
{
	memset(mass, 0, MM_BYTES * sizeof(*mass));
	for (unsigned b = 0; b < MM_BYTES; b++)
		mass[unit_of(b)] += (double)row[b] * (double)row[b];
}

void mm_sketch_plan_show(struct mm_sketch_plan *p, const float *rows)
{
	double mass[MM_BYTES];
	for (size_t i = 0; i < p->m; i++) {
		masses(rows + i * MM_BYTE_STRIDE, mass);
		for (size_t b = 0; b < MM_BYTES; b++) {
			p->seen[2 * (i * MM_BYTES + b)] += sqrt(mass[b]);
			p->seen[2 * (i * MM_BYTES + b) + 1] += mass[b];
		}
	}
	p->n++;
}

/* What a unit adds to |.|^2 between models: its variance; among near relatives, who are alike up to a factor, its mass
 * counts too. */
static double weight_of(const struct mm_sketch_plan *p, size_t i, unsigned b)
{
	const double *s = p->seen + 2 * (i * MM_BYTES + b);
	double n = (double)(p->n ? p->n : 1), mean = s[0] / n;
	return fmax(s[1] / n - mean * mean, 0) + 0.05 * s[1] / n;
}

void mm_sketch_plan_done(struct mm_sketch_plan *p)
{
	for (size_t i = 0; i < p->m; i++) {
		float *in = p->in + i / LANES * LANES * 3 * TOP + i % LANES; /* [3 TOP][LANES] for each LANES probes */
		double w[END];
		for (unsigned b = 0; b < END; b++)
			w[b] = unit_of(b) == b ? weight_of(p, i, b) : -1;
		for (size_t c = 0; c < TOP; c++) {
			unsigned best = 0;
			for (unsigned b = 1; b < END; b++)
				best = w[b] > w[best] ? b : best;
			w[best] = -1;
			p->unit[i * TOP + c] = (uint8_t)best;
			if (group_of(best) != BEYOND)
				in[(3 * c + group_of(best)) * LANES] = 1;
		}
	}
	mm_free(p->seen);
	p->seen = NULL;
}

/* Groups are runs of bytes. */
static const struct run {
	uint16_t from, to;
	enum group group;
} runs[] = {
	{ 0, 9, ASCII },
	{ 9, 14, WHITE },
	{ 14, ' ', ASCII },
	{ ' ', '!', WHITE },
	{ '!', 'A', ASCII },
	{ 'A', '[', LETTERS },
	{ '[', 'a', ASCII },
	{ 'a', '{', LETTERS },
	{ '{', 128, ASCII },
	{ 128, END, BEYOND },
};

MM_BODY int columns_body(const float *row, const uint8_t *unit, double *mass)
{
	double sq[MM_BYTE_STRIDE];
	memset(mass, 0, MM_SKETCH * sizeof(*mass));
	for (size_t b = 0; b < MM_BYTE_STRIDE; b++)
		sq[b] = (double)row[b] * (double)row[b];
	for (size_t c = 0; c < TOP; c++) {
		unsigned u = unit[c];
		mass[c] = sq[u];
		sq[u] = 0;
		if (group_of(u) == LETTERS) {
			mass[c] += sq[u & ~32u];
			sq[u & ~32u] = 0;
		}
	}
	for (const struct run *r = runs; r < runs + MM_COUNT(runs); r++) {
		double sum[8] = { 0 };
		size_t b = r->from;
		for (; b + 8 <= r->to; b += 8)
			for (size_t l = 0; l < 8; l++)
				sum[l] += sq[b + l];
		for (; b < r->to; b++)
			sum[0] += sq[b];
		mass[TOP + r->group] +=
			((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
	}
	mass[MM_SKETCH - 1] = sq[END];
	for (size_t c = 0; c < MM_SKETCH; c++)
		mass[c] = sqrt(mass[c]);
	return 0;
}
MM_TARGETS(int, columns, (const float *row, const uint8_t *unit, double *mass), (row, unit, mass))

void mm_sketch_make(const struct mm_sketch_plan *p, const float *rows, int16_t *out)
{
	double root[MM_SKETCH];
	memset(out, 0, MM_SKETCH * p->stride * sizeof(*out));
	for (size_t i = 0; i < p->m; i++) {
		columns(rows + i * MM_BYTE_STRIDE, p->unit + i * TOP, root);
		for (size_t c = 0; c < MM_SKETCH; c++)
			out[c * p->stride + i] = (int16_t)lrint((double)SCALE * root[c]);
	}
}

/* ---- terms of n probes, from column 0 of each ---- */

MM_BODY int squares_body(const int16_t *a, const int16_t *b, size_t stride, size_t n, float *t)
{
	for (size_t i = 0; i < n; i += LANES, a += LANES, b += LANES, t += LANES) {
		float s[LANES] = { 0 };
		for (size_t c = 0; c < MM_SKETCH; c++)
			for (size_t l = 0; l < LANES; l++) {
				float d = (float)(a[c * stride + l] - b[c * stride + l]);
				s[l] += d * d;
			}
		for (size_t l = 0; l < LANES; l++)
			t[l] = s[l] * (1 / (SCALE * SCALE));
	}
	return 0;
}
MM_TARGETS(int, squares, (const int16_t *a, const int16_t *b, size_t stride, size_t n, float *t), (a, b, stride, n, t))

/* p log2(2 p / (p + q)) + q log2(2 q / (p + q)) over 2 is (p + q) / (2 ln 2) times the sum over n of y^n / (2 n (2 n -
 * 1)), y = ((p - q) / (p + q))^2: the first terms, which are all positive; 0.89 of it at worst. */
MM_BODY int js_body(const int16_t *a, const int16_t *b, size_t stride, size_t n, float *t)
{
	for (size_t i = 0; i < n; i += LANES, a += LANES, b += LANES, t += LANES) {
		float s[LANES] = { 0 };
		for (size_t c = 0; c < MM_SKETCH; c++)
			for (size_t l = 0; l < LANES; l++) {
				float p = (float)a[c * stride + l], q = (float)b[c * stride + l]; /* times SCALE */
				float d = (p - q) * (p + q), f = d / (p * p + q * q + 1e-6f), y = f * f;
				s[l] += d * f * (1 / 2.0f + y * (1 / 12.0f + y * (1 / 30.0f)));
			}
		for (size_t l = 0; l < LANES; l++)
			t[l] = s[l] * (float)(1 / (2 * M_LN2 * SCALE * SCALE));
	}
	return 0;
}
MM_TARGETS(int, js, (const int16_t *a, const int16_t *b, size_t stride, size_t n, float *t), (a, b, stride, n, t))

/* An edge of 1/4 above each column, one of 1/4 above each kind. Digits, punctuation and controls are kinds of their
 * own, and so are bytes that begin and that continue a character: together they differ by less. All masses add up to 0,
 * which gives that of the bytes beyond ASCII. in: [stride, 3 TOP], is a column's unit of that group? */
MM_BODY int carry_body(const int16_t *a, const int16_t *b, const float *in, size_t stride, size_t n, float *t)
{
	for (size_t i = 0; i < n; i += LANES, a += LANES, b += LANES, t += LANES, in += 3 * TOP * LANES) {
		float s[LANES] = { 0 }, x[LANES] = { 0 }, y[LANES] = { 0 }, z[LANES] = { 0 }, d[GROUPS + 1][LANES];
		for (size_t c = 0; c < TOP; c++)
			for (size_t l = 0; l < LANES; l++) {
				int p = a[c * stride + l], q = b[c * stride + l];
				float e = (float)(p - q) * ((float)(p + q) * (1 / SCALE / SCALE));
				s[l] += fabsf(e);
				x[l] += in[(3 * c) * LANES + l] * e;
				y[l] += in[(3 * c + 1) * LANES + l] * e;
				z[l] += in[(3 * c + 2) * LANES + l] * e;
			}
		for (size_t c = 0; c <= GROUPS; c++)
			for (size_t l = 0; l < LANES; l++) {
				int p = a[(TOP + c) * stride + l], q = b[(TOP + c) * stride + l];
				d[c][l] = (float)(p - q) * ((float)(p + q) * (1 / SCALE / SCALE));
			}
		for (size_t l = 0; l < LANES; l++) {
			float u = x[l] + d[LETTERS][l], v = y[l] + d[WHITE][l], w = z[l] + d[ASCII][l];
			float end = d[GROUPS][l], high = u + v + w + end;
			s[l] += (fabsf(d[LETTERS][l]) + fabsf(d[WHITE][l])) +
				(fabsf(d[ASCII][l]) + fabsf(d[BEYOND][l]));
			t[l] = 0.25f * (s[l] + ((fabsf(u) + fabsf(v)) + (fabsf(w) + fabsf(high)))) + 0.5f * fabsf(end);
		}
	}
	return 0;
}
MM_TARGETS(int, carry, (const int16_t *a, const int16_t *b, const float *in, size_t stride, size_t n, float *t),
	(a, b, in, stride, n, t))

/* ---- from terms of sketches to the least distance ---- */

/* The first terms of the squared geodesic, all positive. */
MM_BODY int geodesic_body(float *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float x = t[i];
		t[i] = x * (4 + x * (1 / 3.0f + x * (2 / 45.0f + x * (1 / 140.0f + x * (2 / 1575.0f)))));
	}
	return 0;
}
MM_TARGETS(int, geodesic, (float *t, size_t n), (t, n))

/* Takes the error off each term, or off its root. */
MM_BODY int surely_body(float *t, size_t n, float error, bool root)
{
	for (size_t i = 0; i < n; i++) {
		float x = (root ? sqrtf(t[i]) : t[i]) - error;
		x = x > 0 ? x : 0;
		t[i] = root ? x * x : x;
	}
	return 0;
}
MM_TARGETS(int, surely, (float *t, size_t n, float error, bool root), (t, n, error, root))

MM_BODY double weighted_body(const float *t, const float *w, size_t n)
{
	double a[LANES] = { 0 };
	size_t i = 0;
	for (; i + LANES <= n; i += LANES)
		for (int l = 0; l < LANES; l++)
			a[l] += (double)(w[i + (size_t)l] * t[i + (size_t)l]);
	for (int l = 0; i < n; i++, l++)
		a[l] += (double)(w[i] * t[i]);
	return lanes_sum(a);
}
MM_TARGETS(double, weighted, (const float *t, const float *w, size_t n), (t, w, n))

/* Values of two rows are off by two steps: 8 in the norm of MM_SKETCH of them, and so in the root of |.|^2; in the root
 * of js, which is at most (sqrt p - sqrt q)^2 / (2 ln 2), by 0.85 of that. A mass is off by twice its root's error
 * times the root: 16 in all of two rows, each of which counts for at most 1/4 + 3/4. */
static const float error_of[MM_METRIC_COUNT] = {
	[MM_METRIC_FISHER] = 8 * STEP,
	[MM_METRIC_HELLINGER] = 8 * STEP,
	[MM_METRIC_JEFFREYS] = 8 * STEP + 16.04f * FLOOR,
	[MM_METRIC_JS] = 0.85f * 8 * STEP,
	[MM_METRIC_WASSERSTEIN] = 17 * STEP,
};
/* What a term is of the sums above: jeffreys is at least 4 |.|^2 nats, the logarithmic mean being below that of roots.
 */
static const double per[MM_METRIC_COUNT] = {
	[MM_METRIC_FISHER] = 1,
	[MM_METRIC_HELLINGER] = 0.5,
	[MM_METRIC_JEFFREYS] = 4 / M_LN2,
	[MM_METRIC_JS] = 1,
	[MM_METRIC_WASSERSTEIN] = 1,
};
_Static_assert(BLOCK % LANES == 0, "whole vectors");
_Static_assert(MM_SKETCH == 16, "its root is in the errors");

static double least_sum(
	enum mm_metric which, const struct mm_sketch_plan *p, const int16_t *a, const int16_t *b, const float *weight)
{
	double sum = 0;
	float t[BLOCK];
	for (size_t at = 0; at < p->m; at += BLOCK) {
		size_t n = MM_MIN((size_t)BLOCK, p->m - at); /* and up to the next LANES, where all is 0 */
		if (which == MM_METRIC_JS)
			js(a + at, b + at, p->stride, n, t);
		else if (which == MM_METRIC_WASSERSTEIN)
			carry(a + at, b + at, p->in + at * 3 * TOP, p->stride, n, t);
		else
			squares(a + at, b + at, p->stride, n, t);
		surely(t, n, error_of[which], which != MM_METRIC_WASSERSTEIN);
		if (which == MM_METRIC_FISHER)
			geodesic(t, n);
		sum += weighted(t, weight + at, n);
	}
	return sum * (1 - ROUNDINGS);
}

void mm_sketch_scan(enum mm_metric which, bool rough, const struct mm_sketch_plan *p, const int16_t *const *sketch,
	size_t k, const int16_t *of, const float *weight, size_t n, double *least)
{
	/* a term of js is at least that of hellinger in bits, and takes four times as long */
	enum mm_metric by = rough && which == MM_METRIC_JS ? MM_METRIC_HELLINGER : which;
#pragma omp parallel for schedule(static) if (k * p->m >= 1 << 17) num_threads((int)mm_threads())
	for (size_t j = 0; j < k; j++) {
		double sum = sketch[j] ? per[by] * least_sum(by, p, sketch[j], of, weight) : 0;
		least[j] = sketch[j] ? mm_metric_value(which, sum / (double)(n ? n : 1), n) : INFINITY;
	}
}
