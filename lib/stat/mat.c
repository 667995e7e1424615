/* mat.c: checks, subsets, moments and the exact quantile of a matrix of log-likelihoods.
 *
 * The quantile is found without sorting or copying: floats are mapped to integers of the same order, two passes over
 * the entries count first the upper, then the lower 16 bits, and the two order statistics around the place are read off
 * the counts. Counts are integers, so threads may add them in any order. */
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows times texts below which a loop is not worth a team of threads. */
#define PAR_MIN ((size_t)1 << 20)

/* ONEDNN_MAX_CPU_ISA names a ceiling; what does not begin with AVX512 or AVX10 has at most AVX2, SSE41 has nothing. */
static int isa_cap(void)
{
	const char *e = getenv("ONEDNN_MAX_CPU_ISA");
	if (!e || !*e || strcmp(e, "ALL") == 0 || strcmp(e, "DEFAULT") == 0)
		return 9;
	if (strncmp(e, "AVX512", 6) == 0 || strncmp(e, "AVX10", 5) == 0)
		return 5;
	return strncmp(e, "AVX2", 4) == 0 ? 2 : 0;
}

int mm_stat_isa(void)
{
	static _Atomic int known = -1;
	int isa = known;
	if (isa >= 0)
		return isa;
	isa = 0;
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		isa = 2;
	if (isa == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
		__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
		isa = 5;
#endif
	isa = MM_MIN(isa, isa_cap());
	known = isa;
	return isa;
}

int mm_cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double mm_sorted_quantile(const double *v, size_t n, double q)
{
	double at = q * (double)(n - 1);
	size_t lo = (size_t)at;
	if (lo + 1 >= n)
		return v[n - 1];
	return v[lo] + (at - (double)lo) * (v[lo + 1] - v[lo]);
}

bool mm_row_finite(const float *x, size_t n)
{
	/* x - x is 0 for a finite x and NaN otherwise; one test at the end lets the loop be vectorised. */
	uint32_t bad = 0;
	for (size_t s = 0; s < n; s++) {
		uint32_t u;
		memcpy(&u, &x[s], sizeof(u));
		bad |= (u & 0x7f800000u) == 0x7f800000u;
	}
	return bad == 0;
}

int mm_mat_check(const struct mm_mat *m, struct mm_err *err)
{
	if (m->k == 0)
		return mm_fail(err, MM_EINVAL, "no models");
	if (m->n == 0)
		return mm_fail(err, MM_EINVAL, "no texts");
	for (size_t i = 0; i < m->k; i++) {
		if (mm_row_finite(m->row[i], m->n))
			continue;
		for (size_t s = 0; s < m->n; s++)
			if (!isfinite(m->row[i][s]))
				return mm_fail(err, MM_ENONFINITE, "row %zu, text %zu is not finite", i, s);
	}
	return 0;
}

void mm_mat_gather(const struct mm_mat *m, const uint32_t *sel, size_t n_sel, float *out)
{
	for (size_t i = 0; i < m->k; i++)
		for (size_t s = 0; s < n_sel; s++)
			out[i * n_sel + s] = m->row[i][sel[s]];
}

/* ---- moments ---- */

struct sums {
	double s1, s2;
};

/* Shifted by the first entry: the variance of nearly constant rows keeps its digits. */
MM_BODY struct sums row_sums_body(const float *x, size_t n, double clip)
{
	double a1[LANES] = { 0 }, a2[LANES] = { 0 };
	double shift = (double)x[0] > clip ? (double)x[0] : clip;
	size_t s = 0;
	for (; s + LANES <= n; s += LANES) {
		for (int l = 0; l < LANES; l++) {
			double v = x[s + (size_t)l];
			v = (v > clip ? v : clip) - shift;
			a1[l] += v;
			a2[l] += v * v;
		}
	}
	for (int l = 0; s < n; s++, l++) {
		double v = x[s];
		v = (v > clip ? v : clip) - shift;
		a1[l] += v;
		a2[l] += v * v;
	}
	return (struct sums){ lanes_sum(a1), lanes_sum(a2) };
}
MM_TARGETS(struct sums, row_sums, (const float *x, size_t n, double clip), (x, n, clip))

void mm_row_moments(const float *x, size_t n, double clip, double *mean, double *var)
{
	*mean = *var = 0;
	if (n == 0)
		return;
	struct sums s = row_sums(x, n, clip);
	double shift = (double)x[0] > clip ? (double)x[0] : clip, d = s.s1 / (double)n;
	*mean = shift + d;
	double v = s.s2 / (double)n - d * d;
	*var = v > 0 ? v : 0;
}

MM_BODY int add_clipped_body(const float *x, size_t n, double clip, double *sum)
{
	for (size_t s = 0; s < n; s++) {
		double v = x[s];
		sum[s] += v > clip ? v : clip;
	}
	return 0;
}
MM_TARGETS(int, add_clipped, (const float *x, size_t n, double clip, double *sum), (x, n, clip, sum))

void mm_col_means(const struct mm_mat *m, double clip, double *mean)
{
	/* Threads share the columns, never the rows: every column is summed by one thread, in the order of the rows. */
	size_t block = 1024, n_block = (m->n + block - 1) / block;
#pragma omp parallel for schedule(static) if (m->k * m->n >= PAR_MIN) num_threads((int)mm_threads())
	for (size_t b = 0; b < n_block; b++) {
		size_t at = b * block, len = MM_MIN(block, m->n - at);
		memset(mean + at, 0, len * sizeof(double));
		for (size_t i = 0; i < m->k; i++)
			add_clipped(m->row[i] + at, len, clip, mean + at);
		for (size_t s = 0; s < len; s++)
			mean[at + s] /= (double)m->k;
	}
}

/* ---- quantile ---- */

/* Integers in the order of the floats. */
static inline uint32_t key_of(float x)
{
	uint32_t u;
	memcpy(&u, &x, sizeof(u));
	return u & 0x80000000u ? ~u : u | 0x80000000u;
}

static double value_of(uint32_t key)
{
	uint32_t u = key & 0x80000000u ? key & 0x7fffffffu : ~key;
	float x;
	memcpy(&x, &u, sizeof(x));
	return (double)x;
}

/* Adds to count[65536] the entries whose upper half is `hi` by their lower half, or all by their upper half (hi < 0).
 */
static void count_keys(const struct mm_mat *m, long hi, size_t *count)
{
#pragma omp parallel for schedule(static) if (m->k * m->n >= PAR_MIN) num_threads((int)mm_threads())
	for (size_t part = 0; part < 2; part++) {
		size_t from = part * (m->k / 2), to = part ? m->k : m->k / 2;
		size_t *c = count + part * 65536;
		for (size_t i = from; i < to; i++) {
			const float *x = m->row[i];
			for (size_t s = 0; s < m->n; s++) {
				uint32_t key = key_of(x[s]);
				if (hi < 0)
					c[key >> 16]++;
				else if (key >> 16 == (uint32_t)hi)
					c[key & 0xffff]++;
			}
		}
	}
	for (size_t i = 0; i < 65536; i++)
		count[i] += count[65536 + i];
}

/* The bin that holds place `*rank`; *rank becomes the place inside the bin. */
static uint32_t bin_of(const size_t *count, size_t *rank)
{
	uint32_t b = 0;
	while (b < 65535 && *rank >= count[b])
		*rank -= count[b++];
	return b;
}

static double order_statistic(const struct mm_mat *m, const size_t *upper, size_t rank, size_t *lower, long *have)
{
	uint32_t hi = bin_of(upper, &rank);
	if (*have != (long)hi) {
		memset(lower, 0, 2 * 65536 * sizeof(*lower));
		count_keys(m, (long)hi, lower);
		*have = (long)hi;
	}
	return value_of(hi << 16 | bin_of(lower, &rank));
}

int mm_quantile(const struct mm_mat *m, double q, double *out, struct mm_err *err)
{
	if (!(q >= 0 && q <= 1))
		return mm_fail(err, MM_EINVAL, "quantile %g is not between 0 and 1", q);
	if (mm_mat_check(m, err))
		return -1;
	size_t total;
	if (!mm_mul(m->k, m->n, &total))
		return mm_fail(err, MM_EINVAL, "%zu x %zu entries are too many", m->k, m->n);
	size_t *upper = mm_calloc(4 * 65536, sizeof(*upper), err);
	if (!upper)
		return -1;
	size_t *lower = upper + 2 * 65536;
	long have = -1;
	count_keys(m, -1, upper);
	double at = q * (double)(total - 1);
	size_t lo = (size_t)at;
	double a = order_statistic(m, upper, lo, lower, &have);
	double b = lo + 1 < total ? order_statistic(m, upper, lo + 1, lower, &have) : a;
	*out = a + (at - (double)lo) * (b - a);
	mm_free(upper);
	return 0;
}
