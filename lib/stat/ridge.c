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

/* who[n] in f is set: the basis, which does not depend on the scores. */
static int basis(struct fit *f, const struct mm_tri *t, double half_n, struct mm_err *err)
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
	return mm_dsyevd(n, f->u, f->w, err) ? mm_wrap(err, "ridge") : 0;
}

/* The coefficients for these scores, at the penalty with the least leave-one-out error. */
static void learn(struct fit *f, const double *score)
{
	size_t n = f->n;
	double best = INFINITY;
	f->mean = 0;
	for (size_t i = 0; i < n; i++)
		f->mean += score[f->who[i]] / (double)n;
	for (size_t e = 0; e < n; e++) {
		f->uy[e] = 0;
		for (size_t i = 0; i < n; i++)
			f->uy[e] += f->u[e * n + i] * (score[f->who[i]] - f->mean);
	}
	for (size_t a = 0; a < MM_RIDGE_ALPHAS; a++) {
		double sum = solve(f, alpha_of(a));
		if (sum < best) {
			best = sum;
			f->alpha = alpha_of(a);
		}
	}
	f->loo_rmse = sqrt(solve(f, f->alpha) / (double)n);
}

static int train(struct fit *f, const struct mm_tri *t, double half_n, const double *score, struct mm_err *err)
{
	if (basis(f, t, half_n, err))
		return -1;
	learn(f, score);
	return 0;
}

static double predict(const struct fit *f, const struct mm_tri *t, double half_n, size_t x)
{
	double sum = f->mean;
	for (size_t j = 0; j < f->n; j++)
		sum += f->c[j] * (-half_n * mm_tri_get(t, x, f->who[j]) - f->row[j]);
	return sum;
}

/* The models with a score that are not held out: f->n of them. */
static int pick(struct fit *f, size_t k, const double *score, const uint32_t *fold, uint32_t held, struct mm_err *err)
{
	memset(f, 0, sizeof(*f));
	f->who = mm_calloc(k, sizeof(*f->who), err);
	if (!f->who)
		return -1;
	for (size_t i = 0; i < k; i++)
		if (isfinite(score[i]) && (!fold || fold[i] != held))
			f->who[f->n++] = (uint32_t)i;
	return 0;
}

static int choose(struct fit *f, size_t k, const double *score, const uint32_t *fold, uint32_t held, struct mm_err *err)
{
	if (pick(f, k, score, fold, held, err))
		return -1;
	if (f->n >= 2)
		return 0;
	mm_fail(err, MM_EINVAL, "%s with a score: at least two are needed to learn from",
		f->n ? "a single model" : "no models");
	fit_fini(f);
	return -1;
}

int mm_ridge_judge(const double *score, const double *out, size_t k, struct mm_ridge *r, struct mm_err *err)
{
	double *x = mm_calloc(2 * k, sizeof(*x), err), *y = x ? x + k : NULL, sum = 0;
	size_t n = 0;
	if (!x)
		return -1;
	for (size_t i = 0; i < k; i++)
		if (isfinite(score[i]) && isfinite(out[i])) {
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

static bool same_who(const struct fit *a, const struct fit *b)
{
	return a->n == b->n && a->u && memcmp(a->who, b->who, a->n * sizeof(*a->who)) == 0;
}

/* f becomes the basis for this benchmark; the one it holds is kept when it is of the same models. With fewer than two
 * models there is none: f->n tells. */
static int renew(struct fit *f, const struct mm_tri *t, double half_n, const double *score, const uint32_t *fold,
	uint32_t held, struct mm_err *err)
{
	struct fit next;
	if (pick(&next, t->k, score, fold, held, err))
		return -1;
	if (same_who(f, &next)) {
		fit_fini(&next);
		return 0;
	}
	fit_fini(f);
	*f = next;
	return f->n < 2 ? 0 : basis(f, t, half_n, err);
}

int mm_ridge_fold(const struct mm_tri *t, size_t n_texts, const double *const *score, size_t n_score,
	const uint32_t *fold, uint32_t held, double *const *out, struct mm_err *err)
{
	double half_n = 0.5 * (double)n_texts;
	struct fit f = { 0 };
	int rc = 0;
	for (size_t b = 0; b < n_score && rc == 0; b++) {
		rc = renew(&f, t, half_n, score[b], fold, held, err);
		if (rc || f.n < 2)
			continue;
		learn(&f, score[b]);
		for (size_t i = 0; i < t->k; i++)
			if (fold[i] == held)
				out[b][i] = predict(&f, t, half_n, i);
	}
	fit_fini(&f);
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
	return mm_ridge_judge(score, out, t->k, r, err);
}

/* Leverage of x in feature space: |z|^2 of (G + a)^-1 g(x) with the intercept's 1 / n. `own`: x is the fit's model of
 * that number, whose g are a column of G. */
static double leverage(const struct fit *f, const struct mm_tri *t, double half_n, size_t x, size_t own, double *g)
{
	double mean = 0, lev = 1 / (double)f->n;
	for (size_t j = 0; own == SIZE_MAX && j < f->n; j++) {
		g[j] = -half_n * mm_tri_get(t, x, f->who[j]) - f->row[j];
		mean += g[j] / (double)f->n;
	}
	for (size_t j = 0; own == SIZE_MAX && j < f->n; j++)
		g[j] -= mean;
	for (size_t e = 0; e < f->n; e++) {
		double dot = 0, w = fmax(f->w[e], 0);
		if (own != SIZE_MAX)
			dot = w * f->u[e * f->n + own];
		for (size_t j = 0; own == SIZE_MAX && j < f->n; j++)
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

/* Predictions from the fit: of model x, `own` among the fit's or SIZE_MAX. */
static void tell(const struct fit *f, const struct mm_tri *t, double half_n, const double *score, size_t x, size_t own,
	double far, double *g, double *out, double *sd, bool *outside)
{
	out[x] = predict(f, t, half_n, x);
	if (own != SIZE_MAX && f->inv[own] > 1e-12 / f->alpha)
		out[x] = score[x] - f->c[own] / f->inv[own];
	sd[x] = f->loo_rmse * sqrt(1 + leverage(f, t, half_n, x, own, g));
	outside[x] = nearest_scored(t, f, x) > far;
}

static double free_of(const struct fit *f)
{
	double left = (double)f->n - 1;
	for (size_t e = 0; e < f->n; e++)
		left -= fmax(f->w[e], 0) / (fmax(f->w[e], 0) + f->alpha);
	return left;
}

static int fit_one(const struct fit *f, const struct mm_tri *t, double half_n, const double *score, size_t only,
	double *g, double *out, double *sd, bool *outside, struct mm_ridge *r, struct mm_err *err)
{
	double far = 0;
	r->alpha[0] = f->alpha;
	r->t975 = mm_t975(free_of(f));
	for (size_t j = 0; j < f->n; j++)
		far = fmax(far, nearest_scored(t, f, f->who[j]));
	size_t at = 0; /* who[] is ascending */
	for (size_t i = 0; i < t->k; i++) {
		bool known = at < f->n && f->who[at] == i;
		if (known || only == SIZE_MAX || i == only)
			tell(f, t, half_n, score, i, known ? at : SIZE_MAX, far, g, out, sd, outside);
		at += known;
	}
	return mm_ridge_judge(score, out, t->k, r, err);
}

int mm_ridge_fit(const struct mm_tri *t, size_t n_texts, const double *const *score, size_t n_score, size_t only,
	double *const *out, double *const *sd, bool *const *outside, struct mm_ridge *r, struct mm_err *err)
{
	double half_n = 0.5 * (double)n_texts, *g = mm_calloc(t->k, sizeof(*g), err);
	struct fit f = { 0 };
	int rc = g ? 0 : -1;
	for (size_t b = 0; b < n_score && rc == 0; b++) {
		memset(&r[b], 0, sizeof(r[b]));
		for (size_t i = 0; i < t->k; i++)
			out[b][i] = sd[b][i] = NAN;
		rc = renew(&f, t, half_n, score[b], NULL, 0, err);
		if (rc || f.n < 2)
			continue;
		learn(&f, score[b]);
		rc = fit_one(&f, t, half_n, score[b], only, g, out[b], sd[b], outside[b], &r[b], err);
	}
	mm_free(g);
	fit_fini(&f);
	return rc;
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

size_t mm_ridge_groups(
	const uint64_t *group, const bool *use, size_t k, size_t n_fold, uint32_t *fold, struct mm_err *err)
{
	struct class
	{
		uint64_t group;
		size_t n, first;
		uint32_t fold;
	} *c = mm_calloc(k, sizeof(*c), err);
	size_t *load = c ? mm_calloc(n_fold, sizeof(*load), err) : NULL, n = 0;
	for (size_t i = 0; load && i < k; i++) {
		size_t g = 0;
		while (use[i] && g < n && c[g].group != group[i])
			g++;
		if (use[i] && g == n)
			c[n++] = (struct class){ .group = group[i], .first = i };
		if (use[i])
			c[g].n++;
	}
	size_t folds = MM_MIN(n, n_fold);
	for (size_t left = load ? n : 0; left > 0; left--) { /* the largest that is left goes where least is */
		size_t big = SIZE_MAX;
		uint32_t least = 0;
		for (size_t g = 0; g < n; g++)
			if (c[g].first != SIZE_MAX && (big == SIZE_MAX || c[g].n > c[big].n))
				big = g;
		for (uint32_t h = 1; h < folds; h++)
			least = load[h] < load[least] ? h : least;
		load[least] += c[big].n;
		c[big].fold = least;
		c[big].first = SIZE_MAX;
	}
	for (size_t i = 0; load && i < k; i++) {
		fold[i] = UINT32_MAX;
		for (size_t g = 0; use[i] && g < n; g++)
			if (c[g].group == group[i])
				fold[i] = c[g].fold;
	}
	size_t out = load ? folds : SIZE_MAX;
	mm_free(load);
	mm_free(c);
	return out;
}
