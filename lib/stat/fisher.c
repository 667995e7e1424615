/* fisher.c: distances between next-byte distributions, probe by probe; see stat_fisher.h for the formulas.
 *
 * The squared geodesic is a smooth function of t = |sqrt p - sqrt q|^2, with its nearest singularity at 4: a polynomial
 * over 0 .. 2 gives it to the last digits, without roots and arcs, and 0 for 0. Logarithms are the same series in every
 * lane of a vector. An unpacked row is padded with zeros to MM_BYTE_STRIDE, a multiple of LANES: padding adds nothing.
 */
#include "stat/stat_fisher.h"
#include "stat/stat_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(MM_BYTE_STRIDE % LANES == 0 && MM_BYTE_STRIDE >= MM_BYTES, "padding");

const struct mm_metric_info mm_metrics[MM_METRIC_COUNT] = {
	[MM_METRIC_KL] = { "kl", "bits/byte", "sqrt(nats per text)", false, false, false },
	[MM_METRIC_FISHER] = { "fisher", "rad", "rad", true, true, true },
	[MM_METRIC_HELLINGER] = { "hellinger", "1", "1", false, true, true },
	[MM_METRIC_JEFFREYS] = { "jeffreys", "bits", "sqrt(bits)", false, false, false },
	[MM_METRIC_JS] = { "js", "bits", "sqrt(bits)", false, false, false },
	[MM_METRIC_WASSERSTEIN] = { "wasserstein", "1", "1", false, false, true },
};

enum mm_metric mm_metric_find(const char *name)
{
	int m = 0;
	while (m < MM_METRIC_COUNT && strcmp(mm_metrics[m].name, name) != 0)
		m++;
	return (enum mm_metric)m;
}

double mm_metric_value(enum mm_metric m, double mean, size_t n)
{
	double v = fmax(mm_metrics[m].sum ? mean * (double)n : mean, 0);
	return mm_metrics[m].root ? sqrt(v) : v;
}

double mm_metric_tri(enum mm_metric m, double value)
{
	return mm_metrics[m].squared ? value * value : value;
}

double mm_metric_of_tri(enum mm_metric m, double tri)
{
	return mm_metrics[m].squared ? sqrt(tri) : tri;
}

/* ---- rows ---- */

/* Widening without a table: the bits of a positive f16, moved, are the float 2^-112 times as large. */
MM_BODY int widen_body(const uint16_t *h, size_t n, float *out)
{
	uint32_t wide[MM_BYTE_STRIDE];
	uint16_t most = 0; /* from 0x7c00 on: infinite, NaN or negative */
	for (size_t i = 0; i < n; i++)
		most = h[i] > most ? h[i] : most;
	for (size_t i = 0; i < n; i++)
		wide[i] = (uint32_t)h[i] << 13;
	memcpy(out, wide, n * sizeof(*out));
	for (size_t i = 0; i < n; i++)
		out[i] *= 0x1p112f;
	return most >= 0x7c00;
}
MM_TARGETS(int, widen, (const uint16_t *h, size_t n, float *out), (h, n, out))

MM_BODY double norm_body(float *x)
{
	double a[LANES] = { 0 };
	for (size_t i = 0; i < MM_BYTE_STRIDE; i += LANES)
		for (int l = 0; l < LANES; l++)
			a[l] += (double)x[i + (size_t)l] * (double)x[i + (size_t)l];
	double sum = lanes_sum(a);
	float f = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
	for (size_t i = 0; i < MM_BYTE_STRIDE; i++)
		x[i] *= f;
	return sum;
}
MM_TARGETS(double, norm, (float *x), (x))

int mm_bytes_unpack(const void *f16, size_t m, float *out, struct mm_err *err)
{
	uint16_t row[MM_BYTES];
	for (size_t i = 0; i < m; i++) {
		float *o = out + i * MM_BYTE_STRIDE;
		memcpy(row, (const uint8_t *)f16 + i * sizeof(row), sizeof(row));
		memset(o + MM_BYTES, 0, (MM_BYTE_STRIDE - MM_BYTES) * sizeof(*o));
		/* Rounding to f16 moves the sum of squares by less than 1e-3. */
		double sum = widen(row, MM_BYTES, o) ? 0 : norm(o);
		if (!(fabs(sum - 1) < 0.01))
			return mm_fail(err, MM_ENONFINITE, "probe %zu: no distribution of the next byte", i);
	}
	return 0;
}

/* ---- terms ---- */

/* (4 asin(sqrt(t) / 2))^2 / t in x = t - 1; exact to a rounding over 0 .. 2. */
static const double geodesic[] = { 4.386490844928604, 0.45030745969597713, 0.07689282286659274, 0.016084766536138485,
	0.003752380386342393, 0.0009369227935759679, 0.00024502951379432416, 6.626990852272923e-05,
	1.8385065498756735e-05, 5.2032437854879955e-06, 1.4964117780707642e-06, 4.360686265490852e-07,
	1.284836223360961e-07, 3.821200466756746e-08, 1.1456425290228386e-08, 3.459855243788518e-09,
	1.0510015721963338e-09, 3.1951090225083325e-10, 9.804231758768698e-11, 3.16722831478852e-11,
	9.80783973197863e-12, 2.1314784730261456e-12, 6.609058426778342e-13, 5.387575853337573e-13,
	1.6927817063857735e-13 };

void mm_geodesic(double *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double x = t[i] - 1, g = geodesic[MM_COUNT(geodesic) - 1];
		for (size_t c = MM_COUNT(geodesic) - 1; c-- > 0;)
			g = g * x + geodesic[c];
		t[i] *= g;
	}
}

/* Rows are of length 1 to 1e-7 only: t may come out a little above 2. */
MM_BODY int roots_body(const float *a, const float *b, size_t m, double *t)
{
	for (size_t i = 0; i < m; i++, a += MM_BYTE_STRIDE, b += MM_BYTE_STRIDE) {
		double s[LANES] = { 0 };
		for (size_t j = 0; j < MM_BYTE_STRIDE; j += LANES)
			for (int l = 0; l < LANES; l++) {
				double d = (double)a[j + (size_t)l] - (double)b[j + (size_t)l];
				s[l] += d * d;
			}
		double sum = lanes_sum(s);
		t[i] = sum < 2 ? sum : 2;
	}
	return 0;
}
MM_TARGETS(int, roots, (const float *a, const float *b, size_t m, double *t), (a, b, m, t))

/* ln x for x = 0 or x >= 2^-1000; a finite number for 0, which callers multiply by 0. ln 1 is 0 exactly. */
MM_BODY double ln(double x)
{
	uint64_t u, e, z;
	double k, f;
	memcpy(&u, &x, sizeof(u));
	uint64_t from = u - UINT64_C(0x3fe6000000000000); /* mantissas of 0.6875 to 1.375 */
	z = u - (from & UINT64_C(0xfff0000000000000));
	memcpy(&f, &z, sizeof(f));
	e = (from + UINT64_C(0x3ff0000000000000)) >> 52 | UINT64_C(0x4330000000000000); /* 2^52 + exponent */
	memcpy(&k, &e, sizeof(k));
	k -= 4503599627370496.0 + 1023.0;
	double s = (f - 1) / (f + 1), y = s * s, p = 1.0 / 25;
	p = p * y + 1.0 / 23;
	p = p * y + 1.0 / 21;
	p = p * y + 1.0 / 19;
	p = p * y + 1.0 / 17;
	p = p * y + 1.0 / 15;
	p = p * y + 1.0 / 13;
	p = p * y + 1.0 / 11;
	p = p * y + 1.0 / 9;
	p = p * y + 1.0 / 7;
	p = p * y + 1.0 / 5;
	p = p * y + 1.0 / 3;
	return k * M_LN2 + 2 * (s + s * (y * p));
}

#define FLOOR 0x1p-28 /* the square of the least f16 that has all its digits */

MM_BODY int jeffreys_body(const float *a, const float *b, size_t m, double *v)
{
	for (size_t i = 0; i < m; i++, a += MM_BYTE_STRIDE, b += MM_BYTE_STRIDE) {
		double s[LANES] = { 0 };
		for (size_t j = 0; j < MM_BYTE_STRIDE; j += LANES)
			for (int l = 0; l < LANES; l++) {
				double p = (double)a[j + (size_t)l], q = (double)b[j + (size_t)l];
				p = p * p > FLOOR ? p * p : FLOOR;
				q = q * q > FLOOR ? q * q : FLOOR;
				s[l] += (p - q) * (ln(p) - ln(q));
			}
		v[i] = lanes_sum(s) / M_LN2;
	}
	return 0;
}
MM_TARGETS(int, jeffreys, (const float *a, const float *b, size_t m, double *v), (a, b, m, v))

/* p ln p + q ln q - (p + q) ln((p + q) / 2): for p = q the three cancel to 0 without a rounding. */
MM_BODY int js_body(const float *a, const float *b, size_t m, double *v)
{
	for (size_t i = 0; i < m; i++, a += MM_BYTE_STRIDE, b += MM_BYTE_STRIDE) {
		double s[LANES] = { 0 };
		for (size_t j = 0; j < MM_BYTE_STRIDE; j += LANES)
			for (int l = 0; l < LANES; l++) {
				double p = (double)a[j + (size_t)l], q = (double)b[j + (size_t)l], r;
				p *= p;
				q *= q;
				r = p + q;
				s[l] += p * ln(p) + q * ln(q) - r * ln(0.5 * r);
			}
		double sum = lanes_sum(s) / (2 * M_LN2);
		v[i] = sum > 0 ? sum : 0;
	}
	return 0;
}
MM_TARGETS(int, js, (const float *a, const float *b, size_t m, double *v), (a, b, m, v))

/* ---- wasserstein: on a tree it is the sum over edges of length times the difference of the masses below ----
 *
 * byte --1/4-- kind --1/4-- root; a letter's two cases meet half-way: byte --1/8-- letter --1/8-- letters --1/4-- root;
 * the end of the text --1/2-- root. */

enum kind { LETTER, DIGIT, SPACE, PUNCT, CONTROL, LEAD, CONT, END, KINDS };

static enum kind kind_of(unsigned b)
{
	if (b > 255)
		return END;
	if (b >= 0xC0)
		return LEAD;
	if (b >= 0x80)
		return CONT;
	if ((b | 32) >= 'a' && (b | 32) <= 'z')
		return LETTER;
	if (b >= '0' && b <= '9')
		return DIGIT;
	if (b == ' ' || (b >= 9 && b <= 13))
		return SPACE;
	return b < 32 || b == 127 ? CONTROL : PUNCT;
}

double mm_byte_distance(unsigned a, unsigned b)
{
	if (a == b)
		return 0;
	if (kind_of(a) != kind_of(b))
		return 1;
	return kind_of(a) == LETTER && (a | 32) == (b | 32) ? 0.25 : 0.5;
}

MM_BODY double leaves_body(const float *a, const float *b, const float *length, double *d)
{
	double s[LANES] = { 0 };
	for (size_t j = 0; j < MM_BYTE_STRIDE; j += LANES)
		for (int l = 0; l < LANES; l++) {
			double p = (double)a[j + (size_t)l], q = (double)b[j + (size_t)l], x = p * p - q * q;
			d[j + (size_t)l] = x;
			s[l] += (double)length[j + (size_t)l] * fabs(x);
		}
	return lanes_sum(s);
}
MM_TARGETS(double, leaves, (const float *a, const float *b, const float *length, double *d), (a, b, length, d))

/* Kinds are runs of bytes. */
struct run {
	uint16_t from, to;
	uint8_t kind;
};

static size_t runs(struct run *out)
{
	size_t n = 0;
	for (unsigned x = 0; x < MM_BYTES; x++) {
		if (n && out[n - 1].kind == kind_of(x))
			out[n - 1].to = (uint16_t)(x + 1);
		else
			out[n++] = (struct run){ (uint16_t)x, (uint16_t)(x + 1), (uint8_t)kind_of(x) };
	}
	return n;
}

static double run_sum(const double *d, size_t n)
{
	double s[4] = { 0 };
	size_t i = 0;
	for (; i + 4 <= n; i += 4)
		for (size_t l = 0; l < 4; l++)
			s[l] += d[i + l];
	for (; i < n; i++)
		s[0] += d[i];
	return (s[0] + s[1]) + (s[2] + s[3]);
}

static void wasserstein(const float *a, const float *b, size_t m, double *v)
{
	float length[MM_BYTE_STRIDE] = { 0 };
	struct run run[MM_BYTES];
	double d[MM_BYTE_STRIDE];
	size_t n_run = runs(run);
	for (unsigned x = 0; x < MM_BYTES; x++)
		length[x] = kind_of(x) == END ? 0.5f : kind_of(x) == LETTER ? 0.125f : 0.25f;
	for (size_t i = 0; i < m; i++) {
		double mass[KINDS] = { 0 };
		v[i] = leaves(a + i * MM_BYTE_STRIDE, b + i * MM_BYTE_STRIDE, length, d);
		for (size_t r = 0; r < n_run; r++)
			mass[run[r].kind] += run_sum(d + run[r].from, (size_t)(run[r].to - run[r].from));
		for (int x = 'a'; x <= 'z'; x++)
			v[i] += 0.125 * fabs(d[x] + d[x - 32]);
		for (int x = 0; x < END; x++)
			v[i] += 0.25 * fabs(mass[x]);
	}
}

void mm_byte_terms(enum mm_metric which, const float *a, const float *b, size_t m, double *v)
{
	switch (which) {
	case MM_METRIC_JEFFREYS:
		jeffreys(a, b, m, v);
		return;
	case MM_METRIC_JS:
		js(a, b, m, v);
		return;
	case MM_METRIC_WASSERSTEIN:
		wasserstein(a, b, m, v);
		return;
	default:
		roots(a, b, m, v);
		if (which == MM_METRIC_FISHER)
			mm_geodesic(v, m);
		for (size_t i = 0; which != MM_METRIC_FISHER && i < m; i++)
			v[i] *= 0.5;
	}
}

/* ---- from terms to distances ---- */

double mm_byte_distance_of(enum mm_metric which, const double *v, const uint32_t *sel, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += v[sel ? sel[i] : i];
	return n ? mm_metric_value(which, sum / (double)n, n) : 0;
}

static double resampled(const uint8_t *count, const double *v, const uint32_t *sel, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += (double)count[i] * v[sel ? sel[i] : i];
	return sum / (double)n;
}

void mm_interval_of(double value, double *draw, size_t n, struct mm_interval *out)
{
	double m1 = 0, m2 = 0;
	for (size_t r = 0; r < n; r++)
		m1 += draw[r] / (double)n;
	for (size_t r = 0; r < n; r++)
		m2 += (draw[r] - m1) * (draw[r] - m1);
	qsort(draw, n, sizeof(*draw), mm_cmp_double);
	*out = (struct mm_interval){ value, sqrt(m2 / (double)(n - 1)), mm_sorted_quantile(draw, n, 0.025),
		mm_sorted_quantile(draw, n, 0.975) };
}

int mm_byte_boot(enum mm_metric which, const struct mm_boot *boot, const double *v, const uint32_t *sel,
	struct mm_interval *out, struct mm_err *err)
{
	double *draw = mm_calloc(boot->n_draw, sizeof(*draw), err);
	if (!draw)
		return -1;
	for (size_t r = 0; r < boot->n_draw; r++)
		draw[r] = mm_metric_value(which, resampled(boot->count + r * boot->n, v, sel, boot->n), boot->n);
	mm_interval_of(mm_byte_distance_of(which, v, sel, boot->n), draw, boot->n_draw, out);
	mm_free(draw);
	return 0;
}

double mm_byte_nearer(const struct mm_boot *boot, const double *a, const double *b, const uint32_t *sel)
{
	size_t n = 0;
	for (size_t r = 0; r < boot->n_draw; r++)
		n += resampled(boot->count + r * boot->n, a, sel, boot->n) <
		     resampled(boot->count + r * boot->n, b, sel, boot->n);
	return (double)n / (double)boot->n_draw;
}
