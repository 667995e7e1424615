/* leak.c: from statistics to p-values, and the line of likelihood against score. */
#include "stat/stat_leak.h"
#include "stat/stat_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Ratios of likelihoods under H0 fall a little slower than exp(-llr): the tails of one Student mode are never quite
 * those of the data, and cross-fitted residuals are not quite independent. 2 covers models of eight architectures with
 * all kinds of predictors; it is also what is assumed of the models that are not there yet. */
#define INFLATION_MIN 2.0
#define INFLATION_AT  0.75 /* quantile looked at: up to a quarter of the others may be leaked and not known to be */
#define PRIOR_MODELS  8

double mm_leak_inflation(const double *llr, size_t k, struct mm_err *err)
{
	double prior = INFLATION_MIN * -log(1 - INFLATION_AT), at;
	double *v = mm_calloc(k + PRIOR_MODELS, sizeof(*v), err);
	if (!v)
		return -1;
	if (k)
		memcpy(v, llr, k * sizeof(*v));
	for (size_t i = 0; i < PRIOR_MODELS; i++) /* quantiles of an exponential distribution */
		v[k + i] = -INFLATION_MIN * log(1 - ((double)i + 0.5) / PRIOR_MODELS);
	qsort(v, k + PRIOR_MODELS, sizeof(*v), mm_cmp_double);
	at = mm_sorted_quantile(v, k + PRIOR_MODELS, INFLATION_AT);
	mm_free(v);
	return INFLATION_MIN * fmax(at / prior, 1);
}

double mm_leak_p(double llr, double inflation)
{
	return llr > 0 ? fmax(exp(-llr / fmax(inflation, 1)), 1e-300) : 1;
}

double mm_leak_combine(const double *p, const double *weight, size_t n)
{
	double least = 1, all = 0;
	for (size_t i = 0; i < n; i++)
		all += weight[i];
	for (size_t i = 0; i < n; i++)
		if (weight[i] > 0)
			least = fmin(least, p[i] * all / weight[i]);
	return fmin(1, least);
}

/* ---- level ---- */

#define LEVEL_MIN 8

static double median_of(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), mm_cmp_double);
	return mm_sorted_quantile(v, n, 0.5);
}

/* Upper tail of Student's t by the incomplete beta function's continued fraction. */
static double student_tail(double t, double dof)
{
	double x = dof / (dof + t * t), a = dof / 2, b = 0.5;
	bool turn = x >= (a + 1) / (a + b + 2);
	if (turn) {
		double s = a;
		a = b;
		b = s;
		x = 1 - x;
	}
	double front =
		x > 0 ? exp(mm_log_gamma(a + b) - mm_log_gamma(a) - mm_log_gamma(b) + a * log(x) + b * log1p(-x)) / a
		      : 0;
	double c = 1, d = 1 - (a + b) * x / (a + 1);
	d = 1 / (fabs(d) < 1e-300 ? 1e-300 : d);
	double f = d;
	for (int m = 1; m < 300; m++) {
		for (int odd = 0; odd < 2; odd++) {
			double q = odd ? -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
				       : m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
			d = 1 + q * d;
			c = 1 + q / c;
			d = 1 / (fabs(d) < 1e-300 ? 1e-300 : d);
			c = fabs(c) < 1e-300 ? 1e-300 : c;
			f *= c * d;
		}
		if (fabs(c * d - 1) < 1e-14)
			break;
	}
	double both = turn ? 1 - front * f : front * f;
	return t > 0 ? both / 2 : 1 - both / 2;
}

bool mm_leak_level(const double *mean, const double *score, size_t k, size_t self, struct mm_leak_level *out)
{
	struct mm_err ignored;
	size_t n = 0, m = 0;
	double lo = INFINITY, hi = -INFINITY;
	memset(out, 0, sizeof(*out));
	out->p = 1;
	for (size_t i = 0; i < k; i++)
		if (i != self && isfinite(score[i])) {
			n++;
			lo = fmin(lo, score[i]);
			hi = fmax(hi, score[i]);
		}
	if (n < LEVEL_MIN || !isfinite(score[self]) || score[self] < lo || score[self] > hi || n > 2000)
		return false;
	double *v = mm_calloc(n * (n - 1) / 2 + n, sizeof(*v), &ignored);
	if (!v)
		return false;
	for (size_t i = 0; i < k; i++)
		for (size_t j = 0; j < i; j++)
			if (i != self && j != self && isfinite(score[i]) && isfinite(score[j]) && score[i] != score[j])
				v[m++] = (mean[i] - mean[j]) / (score[i] - score[j]);
	bool ok = m > 0;
	if (ok) {
		double slope = median_of(v, m), mid, mad;
		m = 0;
		for (size_t i = 0; i < k; i++)
			if (i != self && isfinite(score[i]))
				v[m++] = mean[i] - slope * score[i];
		mid = median_of(v, m);
		for (size_t i = 0; i < m; i++)
			v[i] = fabs(v[i] - mid);
		mad = 1.4826 * median_of(v, m);
		out->n = n;
		out->effect = mean[self] - slope * score[self] - mid;
		ok = mad > 0;
		if (ok) {
			out->statistic = out->effect / mad;
			out->p = fmax(student_tail(out->statistic, (double)n - 2), 1 / ((double)n + 1));
		}
	}
	mm_free(v);
	return ok;
}
