/* leak_mix.c: one mode or two.
 *
 * Both hypotheses are fitted by expectation maximisation on residuals scaled by their median absolute deviation, with
 * Student modes of equal width and a few degrees of freedom in turn, so that heavy tails are no second mode. Several
 * starts: likelihoods of mixtures have local maxima. */
#include "stat/stat_leak.h"
#include "stat/stat_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_STEP_ONE 40
#define N_STEP_TWO 80
static const double dofs[] = { 5, 3, 9, 25 };
static const struct {
	double share, gain;
} starts[] = { { 0.3, 2.5 }, { 0.05, 4 }, { 0.5, 2.5 } };

struct mode {
	double nu, at, width, log_norm; /* log density at the mode */
};

static void mode_norm(struct mode *m)
{
	m->log_norm = mm_log_gamma((m->nu + 1) / 2) - mm_log_gamma(m->nu / 2) -
		      0.5 * log(m->nu * 3.14159265358979323846) - log(m->width);
}

static inline double mode_log(const struct mode *m, double x)
{
	double t = (x - m->at) / m->width;
	return m->log_norm - (m->nu + 1) / 2 * log1p(t * t / m->nu);
}

static inline double mode_weight(const struct mode *m, double x)
{
	double t = (x - m->at) / m->width;
	return (m->nu + 1) / (m->nu + t * t);
}

static double one_fit(const double *x, size_t n, struct mode *m)
{
	double ll = 0;
	m->at = 0;
	m->width = 1;
	for (int step = 0; step < N_STEP_ONE; step++) {
		double sw = 0, sx = 0, ss = 0;
		for (size_t i = 0; i < n; i++) {
			double w = mode_weight(m, x[i]);
			sw += w;
			sx += w * x[i];
			ss += w * x[i] * x[i];
		}
		double at = sx / sw;
		double width = sqrt(fmax(ss - at * at * sw, 0) / (double)n);
		m->at = at;
		m->width = fmax(width, 1e-6);
	}
	mode_norm(m);
	for (size_t i = 0; i < n; i++)
		ll += mode_log(m, x[i]);
	return ll;
}

struct two {
	struct mode lo, hi; /* equal width and dof */
	double share;
};

/* log likelihood of one residual; z: posterior of the upper mode */
static inline double two_log(const struct two *t, double la, double lb, double x, double *z)
{
	double a = la + mode_log(&t->lo, x), b = lb + mode_log(&t->hi, x);
	double top = fmax(a, b), e = exp(-fabs(a - b));
	*z = a > b ? e / (1 + e) : 1 / (1 + e);
	return top + log1p(e);
}

static double two_fit(const double *x, size_t n, struct two *t)
{
	double ll = -INFINITY;
	for (int step = 0; step <= N_STEP_TWO; step++) {
		double la = log(1 - t->share), lb = log(t->share), now = 0, z;
		double s0 = 0, x0 = 0, q0 = 0, s1 = 0, x1 = 0, q1 = 0, sz = 0;
		mode_norm(&t->lo);
		mode_norm(&t->hi);
		for (size_t i = 0; i < n; i++) {
			now += two_log(t, la, lb, x[i], &z);
			double w0 = (1 - z) * mode_weight(&t->lo, x[i]), w1 = z * mode_weight(&t->hi, x[i]);
			sz += z;
			s0 += w0;
			x0 += w0 * x[i];
			q0 += w0 * x[i] * x[i];
			s1 += w1;
			x1 += w1 * x[i];
			q1 += w1 * x[i] * x[i];
		}
		if (step == N_STEP_TWO || (step > 20 && now - ll < 1e-3))
			return now;
		ll = now;
		t->share = fmin(fmax(sz / (double)n, 2.0 / (double)n), MM_LEAK_SHARE_MAX);
		t->lo.at = x0 / fmax(s0, 1e-12);
		t->hi.at = fmax(x1 / fmax(s1, 1e-12), t->lo.at);
		double a = t->lo.at, b = t->hi.at;
		double ss = q0 - 2 * a * x0 + a * a * s0 + q1 - 2 * b * x1 + b * b * s1;
		t->lo.width = t->hi.width = fmax(sqrt(fmax(ss, 0) / (double)n), 1e-6);
	}
	return ll;
}

/* Starts with a middling number of degrees of freedom; the best of them again with the others. */
static double best_fit(const double *x, size_t n, struct two *best, double *ll_one)
{
	double top = -INFINITY;
	struct mode one = { .nu = dofs[0] };
	*ll_one = one_fit(x, n, &one);
	for (size_t s = 0; s < MM_COUNT(starts); s++) {
		struct two t = { .share = starts[s].share };
		t.lo = t.hi = one;
		t.lo.width = t.hi.width = 0.8 * one.width;
		t.lo.at = one.at - 0.7 * starts[s].share * starts[s].gain * one.width;
		t.hi.at = t.lo.at + starts[s].gain * one.width;
		double ll = two_fit(x, n, &t);
		if (ll > top) {
			top = ll;
			*best = t;
		}
	}
	struct two first = *best;
	for (size_t d = 1; d < MM_COUNT(dofs); d++) {
		struct two t = first;
		one.nu = t.lo.nu = t.hi.nu = dofs[d];
		*ll_one = fmax(*ll_one, one_fit(x, n, &one));
		double ll = two_fit(x, n, &t);
		if (ll > top) {
			top = ll;
			*best = t;
		}
	}
	return top;
}

int mm_leak_mixture(const double *r, size_t n, struct mm_leak_mix *out, double *posterior, struct mm_err *err)
{
	memset(out, 0, sizeof(*out));
	if (posterior)
		memset(posterior, 0, n * sizeof(*posterior));
	if (n < MM_LEAK_MIN_TEXTS)
		return mm_fail(err, MM_EINVAL, "one mode or two: needs %d texts", MM_LEAK_MIN_TEXTS);
	double *x = mm_calloc(2 * n, sizeof(*x), err), *v = x ? x + n : NULL;
	if (!x)
		return -1;
	memcpy(v, r, n * sizeof(*v));
	qsort(v, n, sizeof(*v), mm_cmp_double);
	double mid = mm_sorted_quantile(v, n, 0.5);
	for (size_t i = 0; i < n; i++)
		v[i] = fabs(r[i] - mid);
	qsort(v, n, sizeof(*v), mm_cmp_double);
	double scale = 1.4826 * mm_sorted_quantile(v, n, 0.5);
	if (scale > 0) { /* else most residuals are equal: nothing to tell apart */
		struct two t = { 0 };
		double one, z;
		for (size_t i = 0; i < n; i++)
			x[i] = (r[i] - mid) / scale;
		double two = best_fit(x, n, &t, &one);
		/* at the limit it is the rest that lost: texts that a model cannot read, or that were cut */
		out->llr = t.share < MM_LEAK_SHARE_MAX ? fmax(two - one, 0) : 0;
		out->share = t.share;
		out->width = t.lo.width * scale;
		out->gain = (t.hi.at - t.lo.at) * scale;
		out->separation = (t.hi.at - t.lo.at) / t.lo.width;
		out->dof = t.lo.nu;
		for (size_t i = 0; posterior && i < n; i++) {
			two_log(&t, log(1 - t.share), log(t.share), x[i], &z);
			posterior[i] = out->llr > 0 ? z : 0;
		}
	}
	mm_free(x);
	return 0;
}
