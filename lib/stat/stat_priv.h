/* stat_priv.h - what only lib/stat shares: vector width, fixed-order sums. */
#ifndef MM_STAT_PRIV_H
#define MM_STAT_PRIV_H

#include "stat/stat.h"

#include <math.h>

/* Vector width that this process may use: 0 baseline, 2 AVX2, 5 AVX-512. ONEDNN_MAX_CPU_ISA forces it down. */
int mm_stat_isa(void);

/* Lanes of a fixed-order sum: wide enough for two AVX-512 registers of doubles. The sum over lanes is a fixed tree, so
 * all instruction sets give the same bits. */
#define LANES 16
static inline double lanes_sum(const double a[LANES])
{
	double b[LANES / 2];
	for (int i = 0; i < LANES / 2; i++)
		b[i] = a[i] + a[i + LANES / 2];
	return ((b[0] + b[4]) + (b[1] + b[5])) + ((b[2] + b[6]) + (b[3] + b[7]));
}

/* Sort helper for doubles, ascending; no NaN. */
int mm_cmp_double(const void *a, const void *b);
/* Quantile of sorted v[n], n > 0, linear interpolation. */
double mm_sorted_quantile(const double *v, size_t n, double q);

/* One body compiled for three instruction sets and chosen at run time. */
#if defined(__x86_64__)
#define MM_TARGETS(ret, name, params, args)                                                                            \
	__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma"))) static ret name##_512 params                 \
	{                                                                                                              \
		return name##_body args;                                                                               \
	}                                                                                                              \
	__attribute__((target("avx2,fma"))) static ret name##_avx2 params                                              \
	{                                                                                                              \
		return name##_body args;                                                                               \
	}                                                                                                              \
	static ret name##_base params                                                                                  \
	{                                                                                                              \
		return name##_body args;                                                                               \
	}                                                                                                              \
	static ret name params                                                                                         \
	{                                                                                                              \
		int isa = mm_stat_isa();                                                                               \
		return isa >= 5 ? name##_512 args : isa >= 2 ? name##_avx2 args : name##_base args;                    \
	}
#else
#define MM_TARGETS(ret, name, params, args)                                                                            \
	static ret name params                                                                                         \
	{                                                                                                              \
		return name##_body args;                                                                               \
	}
#endif
#define MM_BODY static inline __attribute__((always_inline))

/* ln Gamma(x); lgamma() itself writes a global sign, and several pieces of work may run at once */
static inline double mm_log_gamma(double x)
{
	int sign;
	return lgamma_r(x, &sign);
}

#endif
