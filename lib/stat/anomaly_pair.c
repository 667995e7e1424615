/* anomaly_pair.c: one model against another: their weights, their domains. */
#include "stat/stat_anomaly.h"
#include "stat/stat_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDING  0.0055 /* 2^-7.5: half a unit in the last place of bf16 is 2^-9 of the number, on either side */
#define TINY	  1e-6	 /* of the sample's size: what f16 loses below its normal numbers */
#define TEXTS_MIN 10	 /* of a domain that is to say something */

void mm_weight_match(const float *a, const float *b, size_t n, struct mm_weight_match *out)
{
	double sa = 0, sb = 0, aa = 0, bb = 0, ab = 0, change = 0;
	size_t equal = 0, exact = 0;
	for (size_t i = 0; i < n; i++)
		bb += (double)b[i] * (double)b[i];
	double size = n ? sqrt(bb / (double)n) : 0;
	bb = 0;
	for (size_t i = 0; i < n; i++) {
		double x = (double)a[i], y = (double)b[i], diff = x - y;
		exact += x == y;
		/* a share of either side: a weight and its double are not equal, whoever is asked */
		if (fabs(diff) <= ROUNDING * fmin(fabs(x), fabs(y)) + TINY * size)
			equal++;
		else
			change += diff * diff;
		sa += x;
		sb += y;
		aa += x * x;
		bb += y * y;
		ab += x * y;
	}
	memset(out, 0, sizeof(*out));
	if (!n)
		return;
	double va = aa - sa * sa / (double)n, vb = bb - sb * sb / (double)n;
	out->equal = (double)equal / (double)n;
	out->exact = (double)exact / (double)n;
	out->change = n > equal && size > 0 ? sqrt(change / (double)(n - equal)) / size : 0;
	out->corr = va > 0 && vb > 0 ? (ab - sa * sb / (double)n) / sqrt(va * vb) : 0;
}

void mm_domain_gaps(
	const float *a, const float *b, size_t n, const uint32_t *domain, size_t n_domain, struct mm_domain_gap *gap)
{
	memset(gap, 0, n_domain * sizeof(*gap));
	for (size_t s = 0; s < n; s++) {
		struct mm_domain_gap *g = &gap[domain ? domain[s] : 0];
		g->mean += (double)a[s] - (double)b[s];
		g->n++;
	}
	for (size_t c = 0; c < n_domain; c++)
		gap[c].mean /= (double)MM_MAX(gap[c].n, (size_t)1);
	for (size_t s = 0; s < n; s++) {
		struct mm_domain_gap *g = &gap[domain ? domain[s] : 0];
		double e = (double)a[s] - (double)b[s] - g->mean;
		g->se += e * e;
	}
	for (size_t c = 0; c < n_domain; c++)
		gap[c].se = gap[c].n > 1 ? sqrt(gap[c].se / (double)(gap[c].n - 1) / (double)gap[c].n) : 0;
}

static double bits(const struct mm_domain_gap *g, double bytes)
{
	return bytes > 0 ? g->mean / (bytes * log(2)) : 0;
}

double mm_lost_everywhere(
	const struct mm_domain_gap *gap, const double *bytes, size_t n_domain, double sigmas, double *worst)
{
	double least = INFINITY;
	*worst = 0;
	for (size_t c = 0; c < n_domain; c++) {
		if (gap[c].n < TEXTS_MIN)
			continue;
		if (gap[c].mean > -sigmas * gap[c].se || gap[c].mean >= 0)
			return 0;
		least = fmin(least, -bits(&gap[c], bytes[c]));
		*worst = fmax(*worst, -bits(&gap[c], bytes[c]));
	}
	return isfinite(least) ? least : 0;
}

int mm_domain_fell(const struct mm_domain_gap *gap, const double *bytes, size_t n_domain, double fall, double others,
	double sigmas, double *by, double *gained)
{
	struct mm_err ignored;
	double *v = mm_calloc(n_domain + 1, sizeof(*v), &ignored);
	int found = -1;
	*by = *gained = 0;
	for (size_t c = 0; c < n_domain; c++)
		if (gap[c].n >= TEXTS_MIN)
			*gained = fmax(*gained, bits(&gap[c], bytes[c]));
	for (size_t c = 0; v && c < n_domain; c++) {
		size_t m = 0;
		double loss = -bits(&gap[c], bytes[c]);
		if (gap[c].n < TEXTS_MIN || loss <= *by || gap[c].mean > -sigmas * gap[c].se)
			continue;
		for (size_t o = 0; o < n_domain; o++)
			if (o != c && gap[o].n >= TEXTS_MIN)
				v[m++] = -bits(&gap[o], bytes[o]);
		if (m < 2)
			continue;
		qsort(v, m, sizeof(*v), mm_cmp_double);
		double usual = mm_sorted_quantile(v, m, 0.5);
		if (usual <= others && loss - fmax(usual, 0) >= fall) {
			found = (int)c;
			*by = loss;
		}
	}
	mm_free(v);
	return found;
}
