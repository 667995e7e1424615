/* ridge.c: predicting a benchmark score from a model's place, in dual form.
 *
 * With q_i the doubly centred rows, the Gram matrix of a training set follows from its distances, G = -N/2 J D J; ridge
 * regression with a free intercept is then a K x K problem whatever N is:
 *
 *	c = (G + a)^-1 (y - mean y)	f(x) = mean y + sum_j c_j (g(x, j) - mean of row j)	g = -N/2 D
 *
 * One eigendecomposition serves all penalties. The direction of the intercept is not penalised: its eigenvalue is 0, so
 * its share 1 / (a n) is taken out of the inverse again. Leave-one-out errors are c_i / (inverse)_ii. */
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

static double alpha_of(size_t i)
{
	return pow(10, 0.25 * (double)i);
}

struct fit {
	size_t n;
	uint32_t *who; /* [n] training models */
	double *u;     /* [n, n] eigenvectors of the centred Gram matrix, one a row */
	double *w;     /* [n] */
	double *row;   /* [n] mean of g over the training set, for each training model */
	double *c;     /* [n] dual coefficients at the penalty chosen */
	double *inv;   /* [n] diagonal of the inverse there */
	double *uy;    /* [n] */
	double mean, grand, alpha, loo_rmse;
};

static void fit_fini(struct fit *f)
{
	mm_free(f->who);
	mm_free(f->u);
	memset(f, 0, sizeof(*f));
}

/* c and inv at penalty a; returns the sum of squared leave-one-out errors. */
static double solve(struct fit *f, double a)
{
	double sum = 0;
	memset(f->c, 0, f->n * sizeof(double));
	memset(f->inv, 0, f->n * sizeof(double));
	for (size_t e = 0; e < f->n; e++) {
		double g = 1 / (fmax(f->w[e], 0) + a);
		const double *u = f->u + e * f->n;
		for (size_t i = 0; i < f->n; i++) {
			f->c[i] += g * f->uy[e] * u[i];
			f->inv[i] += g * u[i] * u[i];
		}
	}
	for (size_t i = 0; i < f->n; i++) {
		f->inv[i] -= 1 / (a * (double)f->n);
		/* a single model, or one that the others cannot be told from: its error is what the mean leaves */
		double err = f->inv[i] > 1e-12 / a ? f->c[i] / f->inv[i] : 0;
		sum += err * err;
	}
	return sum;
}

/* who[n] in f is set; everything else is made here. */
static int train(struct fit *f, const struct mm_tri *t, double half_n, const double *score, struct mm_err *err)
{
	size_t n = f->n;
	f->u = mm_calloc(n * n + 5 * n, sizeof(double), err);
	if (!f->u)
		return -1;
	f->w = f->u + n * n;
	f->row = f->w + n;
	f->c = f->row + n;
	f->inv = f->c + n;
	f->uy = f->inv + n;
	for (size_t i = 0; i < n; i++) {
		f->mean += score[f->who[i]] / (double)n;
		for (size_t j = 0; j < n; j++) {
			double g = -half_n * mm_tri_get(t, f->who[i], f->who[j]);
			f->u[i * n + j] = g;
			f->row[i] += g / (double)n;
		}
		f->grand += f->row[i] / (double)n;
	}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			f->u[i * n + j] += f->grand - f->row[i] - f->row[j];
	if (mm_dsyevd(n, f->u, f->w, err))
		return mm_wrap(err, "ridge");
	for (size_t e = 0; e < n; e++)
		for (size_t i = 0; i < n; i++)
			f->uy[e] += f->u[e * n + i] * (score[f->who[i]] - f->mean);
	double best = INFINITY;
	for (size_t a = 0; a < MM_RIDGE_ALPHAS; a++) {
		double sum = solve(f, alpha_of(a));
		if (sum < best) {
			best = sum;
			f->alpha = alpha_of(a);
		}
	}
	f->loo_rmse = sqrt(solve(f, f->alpha) / (double)n);
	return 0;
}

static double predict(const struct fit *f, const struct mm_tri *t, double half_n, size_t x)
{
	double sum = f->mean;
	for (size_t j = 0; j < f->n; j++)
		sum += f->c[j] * (-half_n * mm_tri_get(t, x, f->who[j]) - f->row[j]);
	return sum;
}

/* The models with a score that `keep` lets through. */
static int choose(struct fit *f, size_t k, const double *score, const uint32_t *fold, uint32_t held, struct mm_err *err)
{
	memset(f, 0, sizeof(*f));
	f->who = mm_calloc(k, sizeof(*f->who), err);
	if (!f->who)
		return -1;
	for (size_t i = 0; i < k; i++)
		if (isfinite(score[i]) && (!fold || fold[i] != held))
			f->who[f->n++] = (uint32_t)i;
	if (f->n >= 2)
		return 0;
	fit_fini(f);
	return mm_fail(err, MM_EINVAL, "%s models with a score: at least two are needed to learn from",
		f->n ? "too few" : "no");
}

static int judge(const double *score, const double *out, size_t k, struct mm_ridge *r, struct mm_err *err)
{
	double *x = mm_calloc(2 * k, sizeof(*x), err), *y = x ? x + k : NULL, sum = 0;
	size_t n = 0;
	if (!x)
		return -1;
	for (size_t i = 0; i < k; i++)
		if (isfinite(score[i])) {
			x[n] = out[i];
			y[n] = score[i];
			sum += (x[n] - y[n]) * (x[n] - y[n]);
			n++;
		}
	r->n = n;
	r->rmse = n ? sqrt(sum / (double)n) : 0;
	r->pearson = mm_pearson(x, y, n);
	int rc = mm_spearman(x, y, n, &r->spearman, err);
	mm_free(x);
	return rc;
}

int mm_ridge_cv(const struct mm_tri *t, size_t n_texts, const double *score, const uint32_t *fold, size_t n_fold,
	double *out, struct mm_ridge *r, struct mm_err *err)
{
	double half_n = 0.5 * (double)n_texts;
	memset(r, 0, sizeof(*r));
	if (n_fold < 2)
		return mm_fail(err, MM_EINVAL, "%zu folds: at least two are needed", n_fold);
	for (size_t h = 0; h < n_fold; h++) {
		struct fit f;
		if (choose(&f, t->k, score, fold, (uint32_t)h, err) || train(&f, t, half_n, score, err)) {
			fit_fini(&f);
			return mm_wrap(err, "fold %zu", h);
		}
		if (h < MM_COUNT(r->alpha))
			r->alpha[h] = f.alpha;
		for (size_t i = 0; i < t->k; i++)
			if (fold[i] == h || (h + 1 == n_fold && !isfinite(score[i])))
				out[i] = predict(&f, t, half_n, i);
		fit_fini(&f);
	}
	return judge(score, out, t->k, r, err);
}

/* Leverage of x in feature space beyond the training set: |z|^2 of (G + a)^-1 g(x) with the intercept's 1 / n. */
static double leverage(const struct fit *f, const struct mm_tri *t, double half_n, size_t x, double *g)
{
	double own = 0, lev = 1 / (double)f->n;
	for (size_t j = 0; j < f->n; j++) {
		g[j] = -half_n * mm_tri_get(t, x, f->who[j]) - f->row[j];
		own += g[j] / (double)f->n;
	}
	for (size_t j = 0; j < f->n; j++)
		g[j] -= own;
	for (size_t e = 0; e < f->n; e++) {
		double dot = 0, w = fmax(f->w[e], 0);
		for (size_t j = 0; j < f->n; j++)
			dot += f->u[e * f->n + j] * g[j];
		lev += dot * dot * w / ((w + f->alpha) * (w + f->alpha) * (w > 0 ? w : 1));
	}
	return lev;
}

static double nearest_scored(const struct mm_tri *t, const struct fit *f, size_t x)
{
	double d = INFINITY;
	for (size_t j = 0; j < f->n; j++)
		if (f->who[j] != x)
			d = fmin(d, mm_tri_get(t, x, f->who[j]));
	return d;
}

int mm_ridge_fit(const struct mm_tri *t, size_t n_texts, const double *score, double *out, double *sd, bool *outside,
	struct mm_ridge *r, struct mm_err *err)
{
	double half_n = 0.5 * (double)n_texts, far = 0;
	struct fit f;
	memset(r, 0, sizeof(*r));
	if (choose(&f, t->k, score, NULL, 0, err))
		return -1;
	double *g = mm_calloc(f.n, sizeof(*g), err);
	if (!g || train(&f, t, half_n, score, err)) {
		mm_free(g);
		fit_fini(&f);
		return -1;
	}
	r->alpha[0] = f.alpha;
	for (size_t j = 0; j < f.n; j++)
		far = fmax(far, nearest_scored(t, &f, f.who[j]));
	size_t at = 0; /* who[] is ascending */
	for (size_t i = 0; i < t->k; i++) {
		bool known = at < f.n && f.who[at] == i;
		double lev = leverage(&f, t, half_n, i, g);
		out[i] = predict(&f, t, half_n, i);
		if (known && f.inv[at] > 1e-12 / f.alpha)
			out[i] = score[i] - f.c[at] / f.inv[at];
		at += known;
		sd[i] = f.loo_rmse * sqrt(1 + lev);
		outside[i] = nearest_scored(t, &f, i) > far;
	}
	mm_free(g);
	fit_fini(&f);
	return judge(score, out, t->k, r, err);
}

void mm_ridge_folds(size_t k, size_t n_fold, uint64_t seed, uint32_t *fold)
{
	struct mm_rng rng;
	mm_rng_init(&rng, seed);
	for (size_t i = 0; i < k; i++)
		fold[i] = (uint32_t)(i % n_fold);
	for (size_t i = k; i-- > 1;) {
		size_t j = mm_rng_below(&rng, i + 1);
		uint32_t tmp = fold[i];
		fold[i] = fold[j];
		fold[j] = tmp;
	}
}

/* ---- correlation ---- */

double mm_pearson(const double *x, const double *y, size_t n)
{
	double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
	for (size_t i = 0; i < n; i++) {
		mx += x[i] / (double)n;
		my += y[i] / (double)n;
	}
	for (size_t i = 0; i < n; i++) {
		xx += (x[i] - mx) * (x[i] - mx);
		yy += (y[i] - my) * (y[i] - my);
		xy += (x[i] - mx) * (y[i] - my);
	}
	/* what is left of a constant column after rounding is no variation */
	if (!(xx > 1e-24 * (double)n * mx * mx) || !(yy > 1e-24 * (double)n * my * my))
		return 0;
	return fmax(-1, fmin(1, xy / sqrt(xx * yy)));
}

struct ranked {
	double v;
	size_t i;
};

static int cmp_ranked(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	return (x->v > y->v) - (x->v < y->v);
}

static void ranks(const double *v, size_t n, struct ranked *s, double *out)
{
	for (size_t i = 0; i < n; i++)
		s[i] = (struct ranked){ v[i], i };
	qsort(s, n, sizeof(*s), cmp_ranked);
	for (size_t i = 0, j; i < n; i = j) {
		for (j = i + 1; j < n && s[j].v == s[i].v; j++)
			;
		for (size_t a = i; a < j; a++)
			out[s[a].i] = 0.5 * (double)(i + j - 1);
	}
}

int mm_spearman(const double *x, const double *y, size_t n, double *out, struct mm_err *err)
{
	*out = 0;
	struct ranked *s = mm_calloc(n, sizeof(*s), err);
	double *r = s ? mm_calloc(2 * n, sizeof(*r), err) : NULL;
	if (r) {
		ranks(x, n, s, r);
		ranks(y, n, s, r + n);
		*out = mm_pearson(r, r + n, n);
	}
	int rc = r ? 0 : -1;
	mm_free(s);
	mm_free(r);
	return rc;
}
