/* boot.c: error bars of distances by resampling the texts with replacement.
 *
 * The resamples are drawn once, as counts, and used for every pair: a pair then costs two weighted sums a resample, and
 * the error bars of different pairs belong to the same draws. With d = clip(x) - clip(y) - its mean,
 *
 *	two_kl* = sum c d^2 / N - (sum c d / N)^2 */
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

int mm_boot_init(struct mm_boot *b, size_t n, size_t n_draw, uint64_t seed, struct mm_err *err)
{
	struct mm_rng rng;
	size_t total;
	memset(b, 0, sizeof(*b));
	if (n == 0 || n_draw < 2 || !mm_mul(n, n_draw, &total))
		return mm_fail(err, MM_EINVAL, "bootstrap of %zu texts, %zu times", n, n_draw);
	b->count = mm_calloc(total, 1, err);
	if (!b->count)
		return -1;
	b->n = n;
	b->n_draw = n_draw;
	mm_rng_init(&rng, seed);
	for (size_t r = 0; r < n_draw; r++) {
		uint8_t *c = b->count + r * n;
		for (size_t left = n; left > 0;) {
			uint64_t s = mm_rng_below(&rng, n);
			if (c[s] == UINT8_MAX) /* cannot happen in practice: 1 / 256! or so */
				continue;
			c[s]++;
			left--;
		}
	}
	return 0;
}

void mm_boot_fini(struct mm_boot *b)
{
	mm_free(b->count);
	memset(b, 0, sizeof(*b));
}

struct sums {
	double s0, s1, s2; /* of c, c d, c d^2 */
};

MM_BODY struct sums weighted_sums_body(const uint8_t *c, const double *d, size_t n)
{
	double a1[LANES] = { 0 }, a2[LANES] = { 0 };
	uint64_t count = 0;
	size_t s = 0;
	for (; s + LANES <= n; s += LANES) {
		for (int l = 0; l < LANES; l++) {
			double v = d[s + (size_t)l], w = (double)c[s + (size_t)l] * v;
			a1[l] += w;
			a2[l] += w * v;
		}
	}
	for (int l = 0; s < n; s++, l++) {
		double w = (double)c[s] * d[s];
		a1[l] += w;
		a2[l] += w * d[s];
	}
	for (s = 0; s < n; s++)
		count += c[s];
	return (struct sums){ (double)count, lanes_sum(a1), lanes_sum(a2) };
}
MM_TARGETS(struct sums, weighted_sums, (const uint8_t *c, const double *d, size_t n), (c, d, n))

static double variance(struct sums t)
{
	if (!(t.s0 > 0)) /* a part that this resample has missed */
		return 0;
	double m = t.s1 / t.s0;
	return fmax(t.s2 / t.s0 - m * m, 0);
}

/* v[n] are the resampled values; sorted here. */
static void summary(double value, double *v, size_t n, bool single, struct mm_interval *out)
{
	double m1 = 0, m2 = 0;
	for (size_t r = 0; r < n; r++)
		m1 += v[r] / (double)n;
	for (size_t r = 0; r < n; r++)
		m2 += (v[r] - m1) * (v[r] - m1);
	qsort(v, n, sizeof(*v), mm_cmp_double);
	out->value = value;
	out->stderr_ = single ? 0 : sqrt(m2 / (double)(n - 1));
	out->lo = single ? value : mm_sorted_quantile(v, n, 0.025);
	out->hi = single ? value : mm_sorted_quantile(v, n, 0.975);
}

/* Plain variance of d[n] (already about its overall mean). */
static double plain(const double *d, size_t n)
{
	double m = 0, s = 0;
	for (size_t i = 0; i < n; i++)
		m += d[i];
	m /= n ? (double)n : 1;
	for (size_t i = 0; i < n; i++)
		s += (d[i] - m) * (d[i] - m);
	return n ? s / (double)n : 0;
}

int mm_boot_parts(const struct mm_boot *b, const float *x, const float *y, double clip, const uint32_t *order,
	const uint32_t *start, size_t n_part, struct mm_interval *out, struct mm_err *err)
{
	size_t n = b->n, n_draw = b->n_draw;
	double *d = mm_calloc(n + (n_part + 1) * n_draw, sizeof(*d), err), *v = d ? d + n : NULL, mean = 0;
	if (!d)
		return -1;
	for (size_t s = 0; s < n; s++) {
		size_t at = order ? order[s] : s;
		mean += d[s] = fmax((double)x[at], clip) - fmax((double)y[at], clip);
	}
	mean /= (double)n;
	for (size_t s = 0; s < n; s++)
		d[s] -= mean;
	for (size_t r = 0; r < n_draw; r++) {
		struct sums all = { 0, 0, 0 };
		for (size_t p = 0; p < n_part; p++) {
			struct sums t =
				weighted_sums(b->count + r * n + start[p], d + start[p], start[p + 1] - start[p]);
			v[p * n_draw + r] = variance(t);
			all = (struct sums){ all.s0 + t.s0, all.s1 + t.s1, all.s2 + t.s2 };
		}
		v[n_part * n_draw + r] = variance(n_part ? all : weighted_sums(b->count + r * n, d, n));
	}
	for (size_t p = 0; p < n_part; p++) {
		size_t len = start[p + 1] - start[p];
		summary(plain(d + start[p], len), v + p * n_draw, n_draw, len < 2, &out[p]);
	}
	summary(mm_dist_pair(x, y, n, clip), v + n_part * n_draw, n_draw, n < 2, &out[n_part]);
	mm_free(d);
	return 0;
}

int mm_boot_dist(const struct mm_boot *b, const float *x, const float *y, double clip, struct mm_interval *out,
	struct mm_err *err)
{
	return mm_boot_parts(b, x, y, clip, NULL, NULL, 0, out, err);
}
