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
	double s1, s2;
};

MM_BODY struct sums weighted_sums_body(const uint8_t *c, const double *d, size_t n)
{
	double a1[LANES] = { 0 }, a2[LANES] = { 0 };
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
	return (struct sums){ lanes_sum(a1), lanes_sum(a2) };
}
MM_TARGETS(struct sums, weighted_sums, (const uint8_t *c, const double *d, size_t n), (c, d, n))

int mm_boot_dist(const struct mm_boot *b, const float *x, const float *y, double clip, struct mm_interval *out,
	struct mm_err *err)
{
	size_t n = b->n;
	double *d = mm_calloc(n + b->n_draw, sizeof(*d), err), *v = d ? d + n : NULL, mean = 0, m1 = 0, m2 = 0;
	memset(out, 0, sizeof(*out));
	if (!d)
		return -1;
	out->value = mm_dist_pair(x, y, n, clip);
	for (size_t s = 0; s < n; s++)
		mean += d[s] = fmax((double)x[s], clip) - fmax((double)y[s], clip);
	mean /= (double)n;
	for (size_t s = 0; s < n; s++)
		d[s] -= mean;
	for (size_t r = 0; r < b->n_draw; r++) {
		struct sums t = weighted_sums(b->count + r * n, d, n);
		double s1 = t.s1 / (double)n;
		v[r] = fmax(t.s2 / (double)n - s1 * s1, 0);
		m1 += v[r];
	}
	m1 /= (double)b->n_draw;
	for (size_t r = 0; r < b->n_draw; r++)
		m2 += (v[r] - m1) * (v[r] - m1);
	out->stderr_ = sqrt(m2 / (double)(b->n_draw - 1));
	qsort(v, b->n_draw, sizeof(*v), mm_cmp_double);
	out->lo = n > 1 ? mm_sorted_quantile(v, b->n_draw, 0.025) : out->value;
	out->hi = n > 1 ? mm_sorted_quantile(v, b->n_draw, 0.975) : out->value;
	mm_free(d);
	return 0;
}
