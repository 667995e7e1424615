/* metric_compare.c: do the metrics agree? Correlations over all pairs of models, in all and for each domain, and the
 * pairs that two metrics see most differently, with the domain and the probes that make the difference.
 *
 * Everything is compared as the length that a map draws: the root of kl, of jeffreys and of js, the others as they are.
 * A pair's rank is the share of all pairs that are shorter. Of many models an even choice is taken: the pairs of some
 * hundreds say the same. Part 0 of the arrays is the whole, part c + 1 is domain c. */
#include "daemon/metric.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MODELS	   250
#define TOP	   10
#define TOP_PROBES 3

struct compare {
	const uint32_t *by_domain, *start; /* the map's own, never changed */
	char **domain;			   /* the texts' own */
	size_t n_domain, n_part, top;
	size_t *pick, k, pairs; /* [k] models of the snapshot */
	float *length;		/* [metric][part][pair] */
	float *rank;		/* the same */
	struct odd {
		size_t pair, domain; /* domain SIZE_MAX: none */
		uint32_t probe[TOP_PROBES];
		double share[TOP_PROBES];
		size_t n_probe;
	} * odd; /* [n_odd] */
	size_t n_odd;
	double same_nearest; /* share of models with the same nearest one by kl and by the metric */
};

static void compare_free(void *own)
{
	struct compare *x = own;
	if (!x)
		return;
	mm_free(x->pick);
	mm_free(x->length);
	mm_free(x->rank);
	mm_free(x->odd);
	mm_free(x);
}

static float *at(const struct compare *x, float *v, int metric, size_t part)
{
	return v + ((size_t)metric * x->n_part + part) * x->pairs;
}

static void ends_of(size_t pair, size_t *i, size_t *j)
{
	size_t a = (size_t)((sqrt(8.0 * (double)pair + 1) - 1) / 2);
	while (a * (a + 1) / 2 > pair)
		a--;
	while ((a + 1) * (a + 2) / 2 <= pair)
		a++;
	*i = a + 1;
	*j = pair - a * (a + 1) / 2;
}

/* ---- lengths ---- */

static double mean_of(const double *v, const struct mm_probes *p, size_t m, size_t part, size_t *n)
{
	double sum = 0;
	*n = 0;
	for (size_t i = 0; i < m; i++)
		if (part == 0 || p->at[i].domain == part - 1) {
			sum += v[i];
			++*n;
		}
	return *n ? sum / (double)*n : 0;
}

struct pair_work {
	struct compare *x;
	struct mm_inquiry *q;
	float *row;  /* [k, m, stride] unpacked */
	float *text; /* [k, n texts] in the order of the domains */
};

static void lengths_of(const struct pair_work *w, size_t pair, double *v)
{
	struct compare *x = w->x;
	const struct mm_feats *f = w->q->feats;
	size_t i, j, n, N = w->q->n;
	ends_of(pair, &i, &j);
	for (size_t part = 0; part < x->n_part; part++) {
		size_t from = part ? x->start[part - 1] : 0, to = part ? x->start[part] : N;
		at(x, x->length, MM_METRIC_KL, part)[pair] = (float)sqrt(
			mm_dist_pair(w->text + i * N + from, w->text + j * N + from, to - from, w->q->clip) / 2);
	}
	for (int m = MM_METRIC_FISHER; m < MM_METRIC_COUNT; m++) {
		enum mm_metric metric = (enum mm_metric)m;
		mm_byte_terms(metric, w->row + i * f->m * MM_BYTE_STRIDE, w->row + j * f->m * MM_BYTE_STRIDE, f->m, v);
		for (size_t part = 0; part < x->n_part; part++) {
			double mean = mean_of(v, f->probes, f->m, part, &n);
			double value = mm_metric_value(metric, mean, n);
			at(x, x->length, m, part)[pair] = (float)sqrt(mm_metric_tri(metric, value));
		}
	}
}

static int lengths(struct pair_work *w, const _Atomic bool *cancel, struct mm_err *err)
{
	struct compare *x = w->x;
	const struct mm_feats *f = w->q->feats;
	struct mm_txn *t = mm_reader_begin(f->store, err);
	int rc = t ? 0 : -1, failed = 0;
	for (size_t c = 0; rc == 0 && c < x->k; c++) {
		const float *vec = w->q->s[x->pick[c]].vec;
		for (size_t s = 0; s < w->q->n; s++)
			w->text[c * w->q->n + s] = vec[x->by_domain[s]];
		rc = mm_feats_one(f, t, x->pick[c], w->row + c * f->m * MM_BYTE_STRIDE, err);
	}
	mm_reader_end(t);
	if (rc)
		return -1;
#pragma omp parallel num_threads((int)mm_threads())
	{
		struct mm_err mine;
		double *v = mm_calloc(f->m, sizeof(*v), &mine);
		if (!v) {
#pragma omp atomic write
			failed = 1;
		}
#pragma omp for schedule(dynamic, 64)
		for (size_t p = 0; p < x->pairs; p++)
			if (v && !*cancel)
				lengths_of(w, p, v);
		mm_free(v);
	}
	return failed ? mm_fail(err, MM_ENOMEM, "out of memory") : 0;
}

/* ---- ranks ---- */

struct item {
	float v;
	uint32_t i;
};

static int by_length(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	return x->v != y->v ? (x->v < y->v ? -1 : 1) : (x->i > y->i) - (x->i < y->i);
}

/* 0 .. 1; equal lengths share the middle of their places. */
static void ranks(const float *v, size_t n, struct item *tmp, float *out)
{
	for (size_t i = 0; i < n; i++)
		tmp[i] = (struct item){ v[i], (uint32_t)i };
	qsort(tmp, n, sizeof(*tmp), by_length);
	for (size_t i = 0, j; i < n; i = j) {
		for (j = i + 1; j < n && tmp[j].v == tmp[i].v; j++)
			;
		for (size_t c = i; c < j; c++)
			out[tmp[c].i] = (float)(((double)(i + j) - 1) / 2 / (double)(n > 1 ? n - 1 : 1));
	}
}

static double pearson(const float *a, const float *b, size_t n)
{
	double ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
	for (size_t i = 0; i < n; i++) {
		ma += (double)a[i] / (double)n;
		mb += (double)b[i] / (double)n;
	}
	for (size_t i = 0; i < n; i++) {
		aa += ((double)a[i] - ma) * ((double)a[i] - ma);
		bb += ((double)b[i] - mb) * ((double)b[i] - mb);
		ab += ((double)a[i] - ma) * ((double)b[i] - mb);
	}
	return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* ---- who is seen differently, and why ---- */

struct gap {
	double d;
	size_t pair;
};

static int by_gap(const void *a, const void *b)
{
	const struct gap *x = a, *y = b;
	return x->d != y->d ? (x->d > y->d ? -1 : 1) : (x->pair > y->pair) - (x->pair < y->pair);
}

/* The domain where the two metrics differ most in the same direction, and the probes that make most of the distance
 * there (when the metric sees more) or over all. */
static void reason(const struct pair_work *w, enum mm_metric metric, struct odd *o, double *v)
{
	struct compare *x = w->x;
	const struct mm_feats *f = w->q->feats;
	double whole = (double)at(x, x->rank, (int)metric, 0)[o->pair] - (double)at(x, x->rank, 0, 0)[o->pair],
	       most = 0;
	double sum = 0;
	size_t i, j;
	o->domain = SIZE_MAX;
	for (size_t part = 1; part < x->n_part; part++) {
		double d =
			(double)at(x, x->rank, (int)metric, part)[o->pair] - (double)at(x, x->rank, 0, part)[o->pair];
		d = whole < 0 ? -d : d;
		if (d > most) {
			most = d;
			o->domain = part - 1;
		}
	}
	ends_of(o->pair, &i, &j);
	mm_byte_terms(metric, w->row + i * f->m * MM_BYTE_STRIDE, w->row + j * f->m * MM_BYTE_STRIDE, f->m, v);
	for (size_t p = 0; p < f->m; p++)
		sum += v[p];
	for (o->n_probe = 0; o->n_probe < TOP_PROBES; o->n_probe++) {
		size_t best = SIZE_MAX;
		for (size_t p = 0; p < f->m; p++)
			if ((o->domain == SIZE_MAX || f->probes->at[p].domain == o->domain) && v[p] > 0 &&
				(best == SIZE_MAX || v[p] > v[best]))
				best = p;
		if (best == SIZE_MAX)
			break;
		o->probe[o->n_probe] = (uint32_t)best;
		o->share[o->n_probe] = v[best] / sum;
		v[best] = 0;
	}
}

static int oddest(const struct pair_work *w, struct mm_err *err)
{
	struct compare *x = w->x;
	enum mm_metric metric = w->q->feats->metric;
	struct gap *g = mm_calloc(x->pairs, sizeof(*g), err);
	double *v = g ? mm_calloc(w->q->feats->m, sizeof(*v), err) : NULL;
	int rc = v && (x->odd = mm_calloc(x->top, sizeof(*x->odd), err)) ? 0 : -1;
	for (size_t p = 0; rc == 0 && p < x->pairs; p++)
		g[p] = (struct gap){ fabs((double)at(x, x->rank, (int)metric, 0)[p] - (double)at(x, x->rank, 0, 0)[p]),
			p };
	if (rc == 0)
		qsort(g, x->pairs, sizeof(*g), by_gap);
	for (; rc == 0 && x->n_odd < MM_MIN(x->top, x->pairs); x->n_odd++) {
		x->odd[x->n_odd].pair = g[x->n_odd].pair;
		reason(w, metric, &x->odd[x->n_odd], v);
	}
	mm_free(v);
	mm_free(g);
	return rc;
}

static size_t nearest_of(const struct compare *x, const float *v, size_t i)
{
	size_t best = SIZE_MAX;
	float least = INFINITY;
	for (size_t j = 0; j < x->k; j++) {
		size_t hi = MM_MAX(i, j), lo = MM_MIN(i, j);
		float d = j == i ? INFINITY : v[(hi - 1) * hi / 2 + lo];
		if (d < least) {
			least = d;
			best = j;
		}
	}
	return best;
}

static int answer_compare(struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_err *err)
{
	struct compare *x = q->own;
	struct pair_work w = { .x = x, .q = q };
	size_t cells = (size_t)MM_METRIC_COUNT * x->n_part * x->pairs, same = 0;
	struct item *tmp = NULL;
	(void)m, (void)t;
	int rc = (x->length = mm_calloc(cells, sizeof(float), err)) &&
				 (x->rank = mm_calloc(cells, sizeof(float), err)) &&
				 (w.row = mm_calloc(x->k * q->feats->m * MM_BYTE_STRIDE, sizeof(float), err)) &&
				 (w.text = mm_calloc(x->k * q->n, sizeof(float), err)) &&
				 (tmp = mm_calloc(x->pairs, sizeof(*tmp), err))
			 ? lengths(&w, q->cancel, err)
			 : -1;
	for (int c = 0; rc == 0 && c < MM_METRIC_COUNT; c++)
		for (size_t part = 0; part < x->n_part; part++)
			ranks(at(x, x->length, c, part), x->pairs, tmp, at(x, x->rank, c, part));
	if (rc == 0)
		rc = oddest(&w, err);
	for (size_t i = 0; rc == 0 && i < x->k; i++)
		same += nearest_of(x, at(x, x->length, 0, 0), i) ==
			nearest_of(x, at(x, x->length, (int)q->feats->metric, 0), i);
	x->same_nearest = (double)same / (double)x->k;
	mm_free(tmp);
	mm_free(w.text);
	mm_free(w.row);
	return rc;
}

/* ---- loop ---- */

static const char *name_of(const struct mm_daemon *d, const struct mm_inquiry *q, size_t c)
{
	const struct compare *x = q->own;
	const struct mm_model_entry *e = mm_reg_by_id(d, q->s[x->pick[c]].id);
	return e ? e->rec.name : "";
}

static json_t *correlations(const struct compare *x)
{
	json_t *list = json_array();
	for (int a = 0; a < MM_METRIC_COUNT; a++)
		for (int b = a + 1; b < MM_METRIC_COUNT; b++) {
			json_t *o = json_pack("{s:s, s:s}", "a", mm_metrics[a].name, "b", mm_metrics[b].name);
			json_t *parts = json_array();
			for (size_t p = 0; o && parts && p < x->n_part; p++) {
				json_t *y = p ? json_pack("{s:s}", "domain", x->domain[p - 1]) : json_incref(o);
				json_object_set_new(y, "pearson",
					json_real(pearson(at(x, x->length, a, p), at(x, x->length, b, p), x->pairs)));
				json_object_set_new(y, "spearman",
					json_real(pearson(at(x, x->rank, a, p), at(x, x->rank, b, p), x->pairs)));
				if (p)
					json_array_append_new(parts, y);
				else
					json_decref(y);
			}
			json_object_set_new(o, "domains", parts);
			json_array_append_new(list, o);
		}
	return list;
}

static json_t *odd_json(const struct mm_daemon *d, const struct mm_inquiry *q, const struct odd *o)
{
	const struct compare *x = q->own;
	const struct mm_feats *f = q->feats;
	int m = (int)f->metric;
	size_t i, j;
	ends_of(o->pair, &i, &j);
	double kl = (double)at(x, x->length, 0, 0)[o->pair], v = (double)at(x, x->length, m, 0)[o->pair];
	json_t *probes = json_array();
	for (size_t p = 0; p < o->n_probe; p++) {
		const struct mm_probe_point *at_ = &f->probes->at[o->probe[p]];
		json_array_append_new(probes,
			json_pack("{s:I, s:I, s:s, s:f}", "text", (json_int_t)at_->text, "offset",
				(json_int_t)at_->offset, "domain", x->domain[at_->domain], "share", o->share[p]));
	}
	json_t *e = json_pack("{s:s, s:s, s:f, s:f, s:f, s:o}", "a", name_of(d, q, j), "b", name_of(d, q, i),
		"kl_bits_per_byte", mm_kl_bits_per_byte(2 * kl * kl, q->mean_bytes), "kl_rank",
		(double)at(x, x->rank, 0, 0)[o->pair], "rank", (double)at(x, x->rank, m, 0)[o->pair], "probes", probes);
	mm_metric_put(e, f->metric, mm_metric_of_tri(f->metric, v * v), NULL);
	if (e && o->domain != SIZE_MAX) {
		json_object_set_new(e, "domain", json_string(x->domain[o->domain]));
		json_object_set_new(e, "domain_kl_rank", json_real((double)at(x, x->rank, 0, o->domain + 1)[o->pair]));
		json_object_set_new(e, "domain_rank", json_real((double)at(x, x->rank, m, o->domain + 1)[o->pair]));
	}
	return e;
}

static int finish_compare(struct mm_daemon *d, struct mm_inquiry *q, struct mm_err *err)
{
	const struct compare *x = q->own;
	json_t *list = json_array();
	for (size_t i = 0; list && i < x->n_odd; i++)
		json_array_append_new(list, odd_json(d, q, &x->odd[i]));
	q->body = json_pack("{s:I, s:I, s:I, s:f, s:o, s:o}", "models", (json_int_t)x->k, "of", (json_int_t)q->k,
		"pairs", (json_int_t)x->pairs, "same_nearest", x->same_nearest, "correlations", correlations(x),
		"disagree", list);
	mm_metric_head(q->body, q->feats);
	return q->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
}

int mm_cmd_metrics_compare(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	enum mm_metric metric;
	int64_t top = TOP;
	json_t *with = args ? json_deep_copy(args) : json_object();
	if (!with || mm_metric_arg(args, &metric, err) || mm_json_get_i64(args, "k", 0, 10000, &top, err)) {
		json_decref(with);
		return -1;
	}
	if (metric == MM_METRIC_KL)
		json_object_set_new(with, "metric", json_string(mm_metrics[MM_METRIC_FISHER].name));
	struct mm_inquiry *q = mm_inquiry_new(d, with, reply, true, err);
	json_decref(with);
	if (!q)
		return -1;
	struct compare *x = q->own = mm_calloc(1, sizeof(*x), err);
	q->own_free = compare_free;
	q->answer = answer_compare;
	q->finish = finish_compare;
	if (!x || !(x->pick = mm_calloc(MODELS, sizeof(*x->pick), err)))
		goto fail;
	x->k = MM_MIN(q->k, (size_t)MODELS);
	x->pairs = x->k * (x->k - 1) / 2;
	if (x->k < 3 || !q->feats->probes) {
		mm_fail(err, MM_EINVAL, "%s",
			x->k < 3 ? "three models with features are the least that can be compared"
				 : "these features were made at places that are not known here");
		goto fail;
	}
	for (size_t i = 0; i < x->k; i++)
		x->pick[i] = i * q->k / x->k;
	x->by_domain = d->map->by_domain;
	x->start = d->map->domain_start;
	x->domain = d->texts.domain_name;
	x->n_domain = d->texts.n_domain;
	x->n_part = x->n_domain + 1;
	x->top = (size_t)MM_MAX(top, 1);
	return mm_inquiry_submit(d, q, reply, err);
fail:
	mm_inquiry_free(q);
	return -1;
}
