/* predict.c: benchmark scores from places on the map, with the protocol of the paper and one that leaks nothing.
 *
 *	predict		       for every benchmark how well it can be predicted: cross-validation in random folds and in
 *folds that keep a family together predict {bench}	       the same for one, and its prediction for every model
 *	predict {name}	       all benchmarks of one model
 *
 * "transductive" is the paper's way: threshold and centring from all models. "leak_free": each fold takes the threshold
 * from the other folds' models alone; column means drop out of the regression, so nothing else could leak. The penalty
 *is chosen inside the training part in both. Runs on a worker (inquiry.c): scores and families are copied first. */
#include "daemon/inquiry.h"
#include "daemon/metric.h"
#include "daemon/scores.h"

#include <math.h>
#include <string.h>

#define FOLDS	    5
#define REPEATS	    5	/* random divisions into folds */
#define REPEATS_MAX 300 /* models up to which there is more than one */

struct figure { /* of one benchmark, one way of centring, one way of folding */
	double pearson, pearson2, spearman, spearman2, rmse;
	size_t n, n_rep;
};

struct predict {
	size_t n_bench, k, who; /* who: SIZE_MAX: all models */
	char **bench;
	const double **score; /* [n_bench][k] NAN: none */
	double *cell;	      /* behind score */
	uint64_t *family;     /* [k] */
	bool *use;	      /* [k] has any score */
	double clip_q;
	size_t n_texts; /* what a squared distance is multiplied with; 0: the number of texts */
	size_t folds;
	uint64_t seed;
};

static void own_free(void *own)
{
	struct predict *p = own;
	if (!p)
		return;
	for (size_t b = 0; p->bench && b < p->n_bench; b++)
		mm_free(p->bench[b]);
	mm_free(p->bench);
	mm_free(p->score);
	mm_free(p->cell);
	mm_free(p->family);
	mm_free(p->use);
	mm_free(p);
}

/* ---- cross-validation, on the worker ---- */

/* Distances with the threshold of the models that are not held out. */
static int free_tri(const struct predict *p, const struct mm_mat *m, const uint32_t *fold, uint32_t held,
	struct mm_tri *t, struct mm_err *err)
{
	const float **row = mm_calloc(m->k, sizeof(*row), err);
	struct mm_mat rest = { row, 0, m->n };
	double clip = MM_NO_CLIP;
	if (!row)
		return -1;
	for (size_t i = 0; i < p->k; i++)
		if (fold[i] != held)
			row[rest.k++] = m->row[i];
	int rc = rest.k ? mm_quantile(&rest, p->clip_q, &clip, err) : 0;
	mm_free(row);
	return rc ? -1 : mm_dist_matrix(m, clip, t, err);
}

static int judge_all(const struct predict *p, double *const *out, struct figure *fig, struct mm_err *err)
{
	for (size_t b = 0; b < p->n_bench; b++) {
		struct mm_ridge r = { 0 };
		struct figure *f = &fig[b];
		if (mm_ridge_judge(p->score[b], out[b], p->k, &r, err))
			return -1;
		f->pearson += r.pearson;
		f->pearson2 += r.pearson * r.pearson;
		f->spearman += r.spearman;
		f->spearman2 += r.spearman * r.spearman;
		f->rmse += r.rmse;
		f->n = r.n;
		f->n_rep++;
	}
	return 0;
}

/* Both ways of centring for one division: fig[0] the paper's, fig[1] the other, [n_bench] each. */
static int folds_of(const struct predict *p, const struct mm_mat *m, const struct mm_tri *t, const uint32_t *fold,
	size_t n_fold, struct figure *fig[2], struct mm_err *err)
{
	double **out = mm_calloc(p->n_bench, sizeof(*out), err), *cell = NULL;
	int rc = out && (cell = mm_calloc(p->n_bench * p->k, sizeof(*cell), err)) ? 0 : -1;
	for (size_t b = 0; rc == 0 && b < p->n_bench; b++)
		out[b] = cell + b * p->k;
	for (int way = 0; way < 2 && rc == 0; way++) {
		for (size_t i = 0; i < p->n_bench * p->k; i++)
			cell[i] = NAN;
		for (uint32_t h = 0; h < n_fold && rc == 0; h++) {
			struct mm_tri own = { 0 };
			if (way == 1 && p->clip_q > 0)
				rc = free_tri(p, m, fold, h, &own, err);
			if (rc == 0)
				rc = mm_ridge_fold(own.k ? &own : t, p->n_texts ? p->n_texts : m->n, p->score,
					p->n_bench, fold, h, out, err);
			mm_tri_fini(&own);
		}
		if (rc == 0)
			rc = judge_all(p, out, fig[way], err);
	}
	mm_free(cell);
	mm_free(out);
	return rc;
}

/* Seeded random folds over the models with a score. */
static void random_folds(const struct predict *p, size_t n_fold, uint64_t seed, uint32_t *tmp, uint32_t *fold)
{
	size_t n = 0;
	for (size_t i = 0; i < p->k; i++)
		n += p->use[i];
	mm_ridge_folds(n, n_fold, seed, tmp);
	for (size_t i = 0, at = 0; i < p->k; i++)
		fold[i] = p->use[i] ? tmp[at++] : UINT32_MAX;
}

static bool is_constant(const struct predict *p, size_t b)
{
	double first = NAN;
	for (size_t i = 0; i < p->k; i++) {
		double v = p->score[b][i];
		if (isnan(first))
			first = v;
		else if (isfinite(v) && v != first)
			return false;
	}
	return true;
}

static json_t *real_or_null(bool known, double v)
{
	return known && isfinite(v) ? json_real(v) : json_null();
}

static json_t *figure_json(const struct figure *f, bool constant)
{
	double r = (double)MM_MAX(f->n_rep, (size_t)1);
	bool known = f->n >= 3 && !constant; /* two points always correlate */
	json_t *o = json_pack("{s:I, s:o, s:o, s:o}", "models", (json_int_t)f->n, "pearson",
		real_or_null(known, f->pearson / r), "spearman", real_or_null(known, f->spearman / r), "rmse",
		real_or_null(f->n > 0, f->rmse / r));
	if (o && f->n_rep > 1) {
		double p = f->pearson / r, s = f->spearman / r;
		json_object_set_new(o, "pearson_sd", real_or_null(known, sqrt(fmax(f->pearson2 / r - p * p, 0))));
		json_object_set_new(o, "spearman_sd", real_or_null(known, sqrt(fmax(f->spearman2 / r - s * s, 0))));
	}
	return o;
}

static json_t *way_json(const struct predict *p, struct figure *const fig[2], size_t b, size_t n_fold)
{
	bool constant = is_constant(p, b);
	return json_pack("{s:I, s:I, s:o, s:o}", "folds", (json_int_t)n_fold, "repeats", (json_int_t)fig[0][b].n_rep,
		"leak_free", figure_json(&fig[1][b], constant), "transductive", figure_json(&fig[0][b], constant));
}

struct cv {
	struct figure *fig;	    /* [4][n_bench]: random and grouped, each transductive and leak-free */
	size_t n_random, n_grouped; /* folds; below two: not possible */
};

static int cross_validate(
	const struct predict *p, const struct mm_mat *m, const struct mm_tri *t, struct cv *cv, struct mm_err *err)
{
	uint32_t *fold = mm_calloc(2 * p->k, sizeof(*fold), err);
	size_t n = 0;
	int rc = fold && (cv->fig = mm_calloc(4 * p->n_bench, sizeof(*cv->fig), err)) ? 0 : -1;
	for (size_t i = 0; i < p->k; i++)
		n += p->use[i];
	cv->n_random = MM_MIN(p->folds, n);
	size_t repeats = p->k <= REPEATS_MAX ? REPEATS : 1;
	struct figure *random[2] = { cv->fig, cv->fig + p->n_bench };
	for (size_t r = 0; rc == 0 && r < repeats && cv->n_random >= 2; r++) {
		random_folds(p, cv->n_random, p->seed + r, fold + p->k, fold);
		rc = folds_of(p, m, t, fold, cv->n_random, random, err);
	}
	if (rc == 0 && (cv->n_grouped = mm_ridge_groups(p->family, p->use, p->k, p->folds, fold, err)) == SIZE_MAX)
		rc = -1;
	if (rc == 0 && cv->n_grouped >= 2) {
		struct figure *grouped[2] = { random[1] + p->n_bench, random[1] + 2 * p->n_bench };
		rc = folds_of(p, m, t, fold, cv->n_grouped, grouped, err);
	}
	mm_free(fold);
	return rc;
}

static void set_cv(const struct predict *p, const struct cv *cv, size_t b, json_t *o)
{
	struct figure *random[2] = { cv->fig, cv->fig + p->n_bench };
	struct figure *grouped[2] = { random[1] + p->n_bench, random[1] + 2 * p->n_bench };
	json_object_set_new(o, "random", cv->n_random >= 2 ? way_json(p, random, b, cv->n_random) : json_null());
	json_object_set_new(o, "by_family", cv->n_grouped >= 2 ? way_json(p, grouped, b, cv->n_grouped) : json_null());
}

/* ---- answers, on the worker ---- */

struct fits {
	double **out, **sd, *cell;
	bool **outside, *flag;
	struct mm_ridge *r;
};

static void fits_free(struct fits *f)
{
	mm_free(f->out);
	mm_free(f->sd);
	mm_free(f->cell);
	mm_free(f->outside);
	mm_free(f->flag);
	mm_free(f->r);
}

static int fits_new(struct fits *f, size_t n_bench, size_t k, struct mm_err *err)
{
	*f = (struct fits){ 0 };
	if (!(f->out = mm_calloc(n_bench, sizeof(*f->out), err)) ||
		!(f->sd = mm_calloc(n_bench, sizeof(*f->sd), err)) ||
		!(f->outside = mm_calloc(n_bench, sizeof(*f->outside), err)) ||
		!(f->r = mm_calloc(n_bench, sizeof(*f->r), err)) ||
		!(f->cell = mm_calloc(2 * n_bench * k, sizeof(*f->cell), err)) ||
		!(f->flag = mm_calloc(n_bench * k, sizeof(*f->flag), err)))
		return -1;
	for (size_t b = 0; b < n_bench; b++) {
		f->out[b] = f->cell + 2 * b * k;
		f->sd[b] = f->out[b] + k;
		f->outside[b] = f->flag + b * k;
	}
	return 0;
}

/* What is told of benchmark b and model i; "prediction" null where there is none. */
static json_t *one_json(
	const struct predict *p, const struct fits *f, size_t b, size_t i, const char *key, const char *name)
{
	double v = f->out[b][i], half = f->r[b].t975 * f->sd[b][i], s = p->score[b][i];
	bool known = isfinite(v) && isfinite(half);
	json_t *o = json_pack("{s:s, s:o}", key, name, "prediction", real_or_null(known, v));
	if (o && known) {
		json_object_set_new(o, "stderr", json_real(f->sd[b][i]));
		json_object_set_new(o, "interval", json_pack("[f, f]", v - half, v + half));
		json_object_set_new(o, "outside", json_boolean(f->outside[b][i]));
	}
	if (o && isfinite(s))
		json_object_set_new(o, "score", json_real(s));
	return o;
}

static json_t *of_model(const struct mm_inquiry *q, const struct predict *p, const struct fits *f)
{
	json_t *list = json_array();
	for (size_t b = 0; list && b < p->n_bench; b++) {
		json_t *o = one_json(p, f, b, p->who, "bench", p->bench[b]);
		if (o)
			json_object_set_new(o, "models", json_integer((json_int_t)f->r[b].n));
		json_array_append_new(list, o);
	}
	return list ? json_pack("{s:s, s:o}", "model", q->who[p->who].name, "predictions", list) : NULL;
}

static json_t *of_benches(
	const struct mm_inquiry *q, const struct predict *p, const struct fits *f, const struct cv *cv)
{
	json_t *list = json_array();
	for (size_t b = 0; list && b < p->n_bench; b++) {
		json_t *o = json_pack("{s:s, s:I, s:b, s:o}", "bench", p->bench[b], "models", (json_int_t)f->r[b].n,
			"constant", is_constant(p, b) && f->r[b].n > 1, "alpha",
			real_or_null(f->r[b].n > 1, f->r[b].alpha[0]));
		if (o)
			set_cv(p, cv, b, o);
		json_array_append_new(list, o);
	}
	json_t *o = list ? json_pack("{s:o}", "benchmarks", list) : NULL;
	if (!o || p->n_bench != 1)
		return o;
	json_t *all = json_array();
	for (size_t i = 0; all && i < p->k; i++)
		json_array_append_new(all, one_json(p, f, 0, i, "name", q->who[i].name));
	json_object_set_new(o, "predictions", all);
	return o;
}

/* The penalties are made for log-likelihoods of some thousand texts: other distances are brought to that size. */
static size_t like_texts(const struct mm_tri *t)
{
	double sum = 0;
	for (size_t i = 1; i < t->k; i++)
		for (size_t j = 0; j < i; j++)
			sum += mm_tri_get(t, i, j);
	double mean = t->k > 1 ? 2 * sum / ((double)t->k * (double)(t->k - 1)) : 0;
	return mean > 1e-9 ? (size_t)fmax(1e6 / mean, 1) : 1;
}

static int answer_predict(struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_err *err)
{
	struct predict *p = q->own;
	struct cv cv = { 0 };
	struct fits f;
	size_t learned = 0;
	int rc = fits_new(&f, p->n_bench, p->k, err);
	bool all = p->who == SIZE_MAX;
	if (q->feats) { /* no threshold, so none that could leak */
		p->n_texts = like_texts(t);
		p->clip_q = 0;
	}
	if (rc == 0) /* besides the models with a score: nobody, one or all */
		rc = mm_ridge_fit(t, p->n_texts ? p->n_texts : m->n, p->score, p->n_bench,
			all ? (p->n_bench == 1 ? SIZE_MAX : p->k) : p->who, f.out, f.sd, f.outside, f.r, err);
	for (size_t b = 0; rc == 0 && b < p->n_bench; b++)
		learned += f.r[b].n > 1;
	if (rc == 0 && !learned)
		rc = mm_fail(err, MM_EINVAL,
			"fewer than two models on the map have a score: there is nothing to learn from; modelmap "
			"scores import "
			"FILE.csv");
	if (rc == 0 && all)
		rc = cross_validate(p, m, t, &cv, err);
	if (rc == 0) {
		q->body = all ? of_benches(q, p, &f, &cv) : of_model(q, p, &f);
		mm_metric_head(q->body, q->feats);
		rc = q->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
	}
	mm_free(cv.fig);
	fits_free(&f);
	return rc;
}

/* ---- the loop's side ---- */

static int copy_scores(
	const struct mm_daemon *d, const struct mm_inquiry *q, struct predict *p, size_t only, struct mm_err *err)
{
	if (!(p->bench = mm_calloc(p->n_bench, sizeof(*p->bench), err)) ||
		!(p->score = mm_calloc(p->n_bench, sizeof(*p->score), err)) ||
		!(p->cell = mm_calloc(p->n_bench * q->k, sizeof(*p->cell), err)) ||
		!(p->family = mm_calloc(q->k, sizeof(*p->family), err)) ||
		!(p->use = mm_calloc(q->k, sizeof(*p->use), err)))
		return -1;
	p->k = q->k;
	for (size_t b = 0; b < p->n_bench; b++) {
		if (!(p->bench[b] = mm_strdup(mm_scores_bench(d, only == SIZE_MAX ? b : only), err)))
			return -1;
		p->score[b] = p->cell + b * q->k;
	}
	for (size_t i = 0; i < q->k; i++) {
		const struct mm_model_entry *e = mm_reg_by_id(d, q->s[i].id);
		const char *family = e->rec.family ? e->rec.family : e->rec.architecture ? e->rec.architecture : "";
		p->family[i] = mm_hash64(family, strlen(family));
		for (size_t b = 0; b < p->n_bench; b++) {
			double *cell = &p->cell[b * q->k + i];
			*cell = NAN;
			if (mm_scores_get(d, e, only == SIZE_MAX ? b : only, cell))
				p->use[i] = true;
		}
	}
	return 0;
}

struct wish {
	size_t bench;	/* SIZE_MAX: all */
	uint64_t model; /* 0: all */
	int64_t folds, seed;
};

static int wish_of(const struct mm_daemon *d, const json_t *args, struct wish *w, struct mm_err *err)
{
	const char *bench = json_string_value(json_object_get(args, "bench"));
	*w = (struct wish){ .bench = SIZE_MAX, .folds = FOLDS };
	if (mm_json_get_i64(args, "folds", 2, 100, &w->folds, err) ||
		mm_json_get_i64(args, "seed", 0, INT64_MAX, &w->seed, err))
		return -1;
	if (json_object_get(args, "name")) {
		const struct mm_place *p = mm_map_place_arg(d, args, "name", err);
		if (!p)
			return -1;
		w->model = p->e->rec.id;
	}
	if (bench && (w->bench = mm_scores_find_arg(d, bench, err)) == SIZE_MAX)
		return -1;
	return mm_scores_n_bench(d)
		       ? 0
		       : mm_fail(err, MM_ENOENT, "no benchmark scores are known yet: modelmap scores import FILE.csv");
}

int mm_cmd_predict(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	struct wish w;
	if (wish_of(d, args, &w, err))
		return -1;
	struct mm_inquiry *q = mm_inquiry_of(d, args, reply, false, w.model, err);
	if (!q)
		return -1;
	struct predict *p = q->own = mm_calloc(1, sizeof(*p), err);
	q->own_free = own_free;
	q->answer = answer_predict;
	if (!p)
		goto fail;
	p->n_bench = w.bench == SIZE_MAX ? mm_scores_n_bench(d) : 1;
	p->clip_q = d->cfg.map.clip;
	p->folds = (size_t)w.folds;
	p->seed = (uint64_t)w.seed;
	p->who = SIZE_MAX;
	for (size_t i = 0; w.model && i < q->k; i++)
		if (q->s[i].id == w.model)
			p->who = i;
	if (copy_scores(d, q, p, w.bench, err) == 0)
		return mm_inquiry_submit(d, q, reply, err);
fail:
	mm_inquiry_free(q);
	return -1;
}
