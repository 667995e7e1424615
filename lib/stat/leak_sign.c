/* leak_sign.c: texts that are known to be unseen, as a yardstick for the others. */
#include "stat/stat_leak.h"
#include "stat/stat_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const mm_leak_sign_name[MM_LEAK_SIGNS] = { "control", "level" };
const char *const mm_leak_sign_null[MM_LEAK_SIGNS] = {
	"texts declared to be unseen gained as much as the others of their domain",
	"the mean log-likelihood lies on the line of the other models over their benchmark scores",
};

struct ranked {
	double r;
	bool control;
};

static int by_r(const void *p, const void *q)
{
	const struct ranked *a = p, *b = q;
	return a->r < b->r ? -1 : a->r > b->r;
}

/* One domain's rank sum of the others, minus what it is expected to be, and its variance; ties share their ranks. */
static void stratum(struct ranked *v, size_t n, double *excess, double *variance)
{
	double sum = 0, ties = 0;
	size_t others = 0;
	qsort(v, n, sizeof(*v), by_r);
	for (size_t i = 0; i < n;) {
		size_t j = i;
		while (j < n && v[j].r == v[i].r)
			j++;
		double rank = ((double)i + (double)j + 1) / 2, t = (double)(j - i);
		ties += t * t * t - t;
		for (; i < j; i++)
			if (!v[i].control) {
				sum += rank;
				others++;
			}
	}
	double m = (double)others, c = (double)(n - others), all = (double)n;
	*excess = sum - m * (all + 1) / 2;
	*variance = m * c / 12 * (all + 1 - ties / (all * (all - 1)));
}

static double median_of(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), mm_cmp_double);
	return mm_sorted_quantile(v, n, 0.5);
}

/* Difference of the medians in domain c. */
static double gap_of(const struct ranked *v, size_t n, double *tmp)
{
	size_t m = 0;
	for (size_t i = 0; i < n; i++)
		if (!v[i].control)
			tmp[m++] = v[i].r;
	double others = median_of(tmp, m);
	m = 0;
	for (size_t i = 0; i < n; i++)
		if (v[i].control)
			tmp[m++] = v[i].r;
	return others - median_of(tmp, m);
}

int mm_leak_control(const double *r, const bool *control, const uint32_t *domain, size_t n, size_t n_domain,
	struct mm_leak_sign_result *out, struct mm_err *err)
{
	double z = 0, var = 0, effect = 0, weight = 0;
	memset(out, 0, sizeof(*out));
	out->p = 1;
	if (!control)
		return 0;
	struct ranked *v = mm_calloc(n + 1, sizeof(*v), err);
	double *tmp = v ? mm_calloc(n + 1, sizeof(*tmp), err) : NULL;
	if (!tmp) {
		mm_free(v);
		return -1;
	}
	for (size_t c = 0; c < (domain ? n_domain : 1); c++) {
		size_t m = 0, controls = 0;
		double e, w;
		for (size_t s = 0; s < n; s++)
			if (!domain || domain[s] == c) {
				controls += control[s];
				v[m++] = (struct ranked){ r[s], control[s] };
			}
		if (!controls || controls == m)
			continue; /* nothing to compare with in this domain */
		stratum(v, m, &e, &w);
		z += e / (double)(m + 1); /* van Elteren's weights: strata of all sizes speak for their texts */
		var += w / ((double)(m + 1) * (double)(m + 1));
		effect += (double)m * gap_of(v, m, tmp);
		weight += (double)m;
		out->n += controls;
	}
	mm_free(tmp);
	mm_free(v);
	if (out->n < MM_LEAK_MIN_CONTROLS || !(var > 0))
		return 0;
	out->known = true;
	out->statistic = z / sqrt(var);
	out->p = 0.5 * erfc(out->statistic / sqrt(2));
	out->effect = effect / weight;
	return 0;
}

bool mm_leak_refuted(const double *posterior, const bool *control, size_t n)
{
	size_t c = 0, c_hit = 0, o = 0, o_hit = 0;
	for (size_t s = 0; control && s < n; s++) {
		bool hit = posterior[s] > MM_LEAK_SUSPECT;
		c += control[s];
		o += !control[s];
		c_hit += control[s] && hit;
		o_hit += !control[s] && hit;
	}
	return c >= MM_LEAK_MIN_CONTROLS && o > 0 && o_hit > 0 &&
	       (double)c_hit / (double)c >= 0.5 * (double)o_hit / (double)o;
}
