/* anomaly_run.c: a model against knowing nothing, and against the other steps of its run. */
#include "stat/stat_anomaly.h"
#include "stat/stat_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool mm_near_unigram(const float *loglik, const double *unigram, size_t n, struct mm_unigram *out)
{
	double sx = 0, sy = 0, xx = 0, yy = 0, xy = 0;
	memset(out, 0, sizeof(*out));
	for (size_t s = 0; s < n; s++) {
		sx += (double)loglik[s];
		sy += unigram[s];
	}
	if (!n || !(sy < 0))
		return false;
	double mx = sx / (double)n, my = sy / (double)n;
	for (size_t s = 0; s < n; s++) {
		double x = (double)loglik[s] - mx, y = unigram[s] - my;
		xx += x * x;
		yy += y * y;
		xy += x * y;
	}
	out->excess = (mx - my) / -my;
	out->corr = xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
	return true;
}

static double median_without(const double *d, size_t n, size_t a, size_t b, double *tmp)
{
	size_t m = 0;
	for (size_t i = 0; i < n; i++)
		if (i != a && i != b)
			tmp[m++] = d[i];
	qsort(tmp, m, sizeof(*tmp), mm_cmp_double);
	return m ? mm_sorted_quantile(tmp, m, 0.5) : NAN;
}

/* A step whose neighbours are near each other and both far from it has gone away and come back; and a leg longer than
 * usual that lost likelihood is no progress. Long legs that gain are how training begins. */
void mm_run_jump(
	const double *d, const double *across, const double *mean, size_t n, size_t at, struct mm_run_step *out)
{
	struct mm_err ignored;
	*out = (struct mm_run_step){
		.before = NAN, .after = NAN, .across = NAN, .usual = NAN, .n_legs = n ? n - 1 : 0
	};
	double *tmp = n > 1 ? mm_calloc(n, sizeof(*tmp), &ignored) : NULL;
	if (!tmp)
		return;
	if (at > 0) {
		out->before = d[at - 1];
		out->fell = mean[at - 1] - mean[at];
	}
	if (at + 1 < n)
		out->after = d[at];
	out->usual = median_without(d, n - 1, at ? at - 1 : SIZE_MAX, at, tmp);
	if (at > 1)
		out->usual = fmax(out->usual, d[at - 2]);
	mm_free(tmp);
	if (out->n_legs < (size_t)mm_rules[MM_RULE_JUMP_LEGS].value)
		return;
	if (at > 0 && at + 1 < n) {
		out->across = across[at - 1];
		out->away = fmin(out->before, out->after) / fmax(out->across, 1e-12);
	}
	if (at > 0 && out->fell > 0)
		out->factor = out->before / fmax(out->usual, 1e-12);
}
